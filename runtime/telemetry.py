"""Logs and trace context. Events, not prose: ``noun.past_verb`` with bound ids, JSON lines on standard error.

Standard output belongs to what a command answers, so that ``--json`` can be piped.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import structlog
from pydantic_core import to_json

from headrace.runtime.settings import Settings
from headrace.schemas.codec import TRACE_HEADERS, Headers

SECRET_NAMES = re.compile(r"(?i)(password|passwd|secret|authorization|api[-_]?key|credential|bearer)")
SECRET_TEXT = re.compile(r"(?i)(bearer\s+|\bsk-)[A-Za-z0-9._~+/=-]{6,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
MASK = "***"
_PARENT, _STATE = TRACE_HEADERS
PARENT_CHARS, MAX_STATE = 55, 512
TRACESTATE = re.compile(rf"[ -~]{{0,{MAX_STATE}}}")
"""Printable ASCII, as long as every party must carry it (W3C Trace Context, 3.3.1.5)."""
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging, once in a process's entry point."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        add_timestamp,
        mask_secrets,
    ]
    render: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=out.isatty())]
        if settings.log_format == "console"
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(_json)]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    # Libraries log each request at info; our own canonical line says the same with more.
    logging.root.setLevel(max(level, logging.WARNING))


def add_timestamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the time in UTC, RFC 3339 with microseconds. Cheap: a worker writes a line an attempt."""
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    event["timestamp"] = f"{_second(seconds)}.{rest // 1_000:06d}Z"
    return event


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(event: Any, **_: Any) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except ValueError:  # For example a lone surrogate, or bytes that are no UTF-8.
        return json.dumps(event, default=repr)


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose name or look is a secret's. A last net: secrets are not logged in the first place."""
    for name, value in event.items():
        if _is_secret(name):
            event[name] = MASK
        elif isinstance(value, str) and ("://" in value or "sk-" in value or "earer" in value):
            event[name] = SECRET_TEXT.sub(MASK, value)
    return event


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None


def new_traceparent() -> str:
    """Return a W3C trace context for work that came without one (sampled; version 00)."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_headers(headers: Mapping[str, str]) -> Headers:
    """Return the trace context of a record as headers for what follows from it; what is malformed or long is dropped.

    By hand, because the instrumentation package breaks pause and transactions (docs/architecture.md, traps).
    """
    parent, state = headers.get(_PARENT, ""), headers.get(_STATE, "")
    return [*_trace(parent, state if len(state) <= MAX_STATE else "")] if len(parent) == PARENT_CHARS else []


@lru_cache(maxsize=64)  # All tasks of a job have the same.
def _trace(parent: str, state: str) -> tuple[tuple[str, bytes], ...]:
    if not TRACEPARENT.fullmatch(parent):
        return ()
    found = [(_PARENT, parent.encode())]
    if state and TRACESTATE.fullmatch(state):
        found.append((_STATE, state.encode()))
    return tuple(found)


def trace_id(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """Return the trace id of `trace_headers`, for logs."""
    for name, value in headers:
        if name == TRACE_HEADERS[0]:
            return value.decode().split("-")[1]
    return None
