"""The scripted provider in this process, over real HTTP, and a runner that calls it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from headrace.runtime.objects import ObjectStore
from headrace.schemas.messages import ChatMessage, Lane, LlmCall, Task
from headrace.schemas.pools import Endpoint, Pool, Price
from headrace.workers.adapters.base import AdapterConfig, open_adapter
from headrace.workers.adapters.faulty.provider import ScriptedProvider
from headrace.workers.adapters.faulty.script import parse_script
from headrace.workers.adapters.faulty.server import serve
from headrace.workers.shell.attempt import AttemptRunner
from headrace.workers.shell.workplace import Workplace


@asynccontextmanager
async def served(script: str):
    provider = ScriptedProvider(parse_script(script), now_s=time.monotonic, keep_bodies=True)
    port = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(provider, host="127.0.0.1", port=0, ready=port.set_result))
    try:
        yield provider, f"http://127.0.0.1:{await port}/v1"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def make_task(**fields):
    call = LlmCall(
        messages=(ChatMessage(role="user", content=fields.pop("prompt", "hello")),), **fields.pop("call", {})
    )
    base = {"task_id": "j/s/0", "job_id": "j", "step": "s", "attempt": 1, "pool": "p", "lane": Lane.BATCH}
    return Task(**{**base, "reply_partition": 0, "timeout_ms": 5_000, "call": call, **fields})


PRICE = Price(input=1_000_000, cached_input=500_000, output=2_000_000)


def make_runner(
    base_url,
    *,
    store=None,
    cancelled=(),
    called_off=(),
    inline_bytes=262_144,
    key=None,
    price=PRICE,
    model="m",
    refuses_confidential=False,
    **endpoint,
):
    config = Endpoint(base_url=base_url, **endpoint)
    adapter = open_adapter(AdapterConfig("here", config, key))
    place = Workplace(
        pool_name="p",
        pool=Pool(endpoint="here", model=model, price=price),
        worker="w",
        is_cancelled=cancelled.__contains__,
        objects=lambda: store,
        inline_bytes=inline_bytes,
        is_called_off=called_off.__contains__,
        public=refuses_confidential,
    )
    return AttemptRunner(adapter, place), adapter


async def begin():
    """A call that begins at once, as in a pool without a price."""


@pytest.fixture
def attempt():
    """Return a function that makes one attempt against a script: (result, provider, whether the provider was asked)."""

    def run(script, task=None, **options):
        async def main():
            async with served(script) as (provider, base_url):
                runner, adapter = make_runner(base_url, **options)
                try:
                    ended = await runner.run(task or make_task(), begin)
                finally:
                    await adapter.close()
                return ended.result, provider, ended.called

        return asyncio.run(main())

    return run


@pytest.fixture
def memory_store():
    from obstore.store import MemoryStore

    return ObjectStore(MemoryStore(), "memory")
