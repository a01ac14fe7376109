"""Functions that the tests of the tool `python` name."""

from __future__ import annotations

import asyncio
import threading
import time

from headrace.schemas.errors import AdapterError, ErrorKind

released = threading.Event()
not_a_function = 7


def twice(n: int) -> int:
    return 2 * n


async def twice_later(n: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * n


def charge(amount: int, *, idempotency_key: str) -> dict:
    return {"amount": amount, "key": idempotency_key}


def fails(how: str):
    raise {"value": ValueError("no such\ncustomer"), "exit": SystemExit(3), "stop": StopIteration("x")}[how]


def refuses():
    raise AdapterError(ErrorKind.RATE_LIMITED, "later", retry_after_ms=5)


def hangs():
    released.wait(10)


async def blocks_its_loop():
    time.sleep(0.5)  # noqa: ASYNC251


def not_json():
    return {1, 2}
