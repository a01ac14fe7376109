"""A result as it travels. The usual one, an answer and its usage, is written out field by field. Pure.

`codec.encode` compares every field with its default, which takes twice as long.
"""

from __future__ import annotations

from functools import lru_cache

from pydantic_core import to_json

from headrace.schemas.codec import encode
from headrace.schemas.messages import Result, Usage

MAX_NAME = 200
"""Characters of a name that is kept with its JSON."""


def result_text(result: Result) -> bytes:
    """Return what `codec.encode` returns.

    Raises:
        PydanticSerializationError: a text in it cannot be written as UTF-8.
    """
    has = result.__dict__
    output, finish_reason, model = has["output"], has["finish_reason"], has["model"]
    if (
        type(output) is not str
        or has["failure"] is not None
        or has["output_ref"] is not None
        or has["wrong_answer"]
        or has["truncated"]
        or has["unconfirmed"]
        or has["journalled"]
        or has["cause"]
        or has["confidence"] is not None
        or has["nested"] is not None
        or len(model) > MAX_NAME
        or len(finish_reason) > MAX_NAME
    ):
        return encode(result)
    cost, call_ms = has["cost_microusd"], has["call_ms"]
    tail = (
        _member("finish_reason", finish_reason)
        + _usage(has["usage"])
        + (f',"cost_microusd":{cost}' if cost else "")
        + _names(model, has["endpoint"], has["pool"], has["worker"])
        + (f',"call_ms":{call_ms}}}' if call_ms else "}")
    )
    return b'{"task_id":%b,"job_id":%b,"attempt":%d,"output":%b%b' % (
        to_json(has["task_id"]),
        _kept(has["job_id"]),
        has["attempt"],
        to_json(output),
        tail.encode(),
    )


_kept = lru_cache(maxsize=64)(to_json)


@lru_cache(maxsize=64)
def _member(name: str, value: str) -> str:
    return f',"{name}":{to_json(value).decode()}' if value else ""


@lru_cache(maxsize=64)
def _names(model: str, endpoint: str, pool: str, worker: str) -> str:
    named = {"model": model, "endpoint": endpoint, "pool": pool, "worker": worker}
    return "".join([_member(name, value) for name, value in named.items()])


def _usage(usage: Usage) -> str:
    has = usage.__dict__
    if has["cached_tokens"] or has["cache_write_tokens"] or has["reasoning_tokens"]:
        return f',"usage":{encode(usage).decode()}'
    read, written = has["input_tokens"], has["output_tokens"]
    if read and written:
        return f',"usage":{{"input_tokens":{read},"output_tokens":{written}}}'
    return f',"usage":{encode(usage).decode()}' if read or written else ""
