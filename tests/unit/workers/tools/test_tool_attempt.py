"""An attempt at a tool: one answer whatever happens, and no call that the contract forbids."""

from __future__ import annotations

import asyncio
import math

import pytest

from headrace.schemas.codec import decode, encode
from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.messages import ChatMessage, LlmCall, Result, Sensitivity, ToolCall
from headrace.workers.shell.tool_attempt import OpenTool
from headrace.workers.tools.base import ToolAnswer
from tests.unit.workers.tools.kit import config_of, runner_of, tool_task

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}, "additionalProperties": False}


class Probe:
    """A tool that does what the test says, and notes its calls."""

    def __init__(self, act=lambda arguments: arguments, *, delay_s=0.0):
        self.act, self.delay_s, self.calls, self.closed = act, delay_s, [], False

    async def start(self):
        pass

    async def call(self, arguments, *, timeout_s, idempotency_key):
        self.calls.append((arguments, timeout_s, idempotency_key))
        await asyncio.sleep(self.delay_s)
        return ToolAnswer(self.act(arguments))

    async def close(self):
        self.closed = True


def attempt(probe, task=None, *, store=None, cancelled=(), inline_bytes=262_144, **spec):
    fields = {"kind": "python", "function": "a:b", "arguments": SCHEMA, "public": False, **spec}
    runner = runner_of(
        {"t": OpenTool.of(config_of(**fields).spec, probe)}, store=store, cancelled=cancelled, inline_bytes=inline_bytes
    )
    begun = []

    async def begin():
        begun.append(True)

    async def main():
        ended = await runner.run(task or tool_task(arguments={"n": 1}), begin)
        await runner.close()
        return ended

    ended = asyncio.run(main())
    assert decode(Result, ended.value, {}) == ended.result
    return ended, bool(begun)


def raising(error):
    def act(arguments):
        raise error

    return act


def test_an_answer_is_the_result_with_its_static_price():
    ended, begun = attempt(Probe(lambda arguments: {"twice": arguments["n"] * 2}), price_microusd=250)
    result = ended.result
    assert (result.failure, result.output, result.cost_microusd) == (None, {"twice": 2}, 250)
    assert (result.endpoint, result.pool, begun, ended.called) == ("t", "p", True, True)


def test_all_attempts_of_what_changes_something_have_one_key_and_others_each_its_own():
    keys = []
    for side_effect in (True, False):
        probe = Probe()
        for number in (1, 2):
            attempt(probe, tool_task(arguments={"n": 1}, attempt=number), side_effect=side_effect)
        keys.append([key for _, _, key in probe.calls])
    assert keys == [["j/s/0", "j/s/0"], ["j/s/0:1", "j/s/0:2"]]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (tool_task(tool="other", arguments={"n": 1}), "unknown tool 'other'; this pool's tools: t"),
        (tool_task(arguments={"n": "one"}), "break their schema at /n"),
        (tool_task(arguments={}), "break their schema"),
        (tool_task(arguments={"n": 1, "to": "x"}), "break their schema"),
        (
            tool_task(arguments={"n": 1}, call=LlmCall(messages=(ChatMessage(role="user", content="x"),))),
            "a model call in a pool of tools",
        ),
    ],
)
def test_what_may_not_be_called_is_refused_before_it_begins(task, said):
    probe = Probe()
    ended, begun = attempt(probe, task)
    assert ended.result.failure.kind is ErrorKind.BAD_REQUEST
    assert said in ended.result.failure.message
    assert (probe.calls, begun, ended.called, ended.result.unconfirmed) == ([], False, False, False)


def test_nothing_confidential_reaches_a_public_tool():
    task = tool_task(arguments={"n": 1}, sensitivity=Sensitivity.CONFIDENTIAL)
    probe = Probe()
    assert attempt(probe, task)[0].result.failure is None
    ended, begun = attempt(probe, task, public=True)
    assert (ended.result.failure.kind, len(probe.calls), begun) == (ErrorKind.BAD_REQUEST, 1, False)


def test_a_call_by_reference_is_fetched_and_a_long_answer_goes_by_one(memory_store):
    ref = memory_store.put(encode(ToolCall(tool="t", arguments={"n": 3})))
    task = tool_task(call_ref=ref).model_copy(update={"tool": None})
    ended, _ = attempt(Probe(lambda arguments: "x" * 2_000), task, store=memory_store, inline_bytes=1_000)
    assert ended.result.output is None
    assert memory_store.get(ended.result.output_ref) == b'"' + b"x" * 2_000 + b'"'


def test_an_object_that_is_no_tool_call_is_lost(memory_store):
    ref = memory_store.put(b'{"messages": []}')
    ended, begun = attempt(Probe(), tool_task(call_ref=ref).model_copy(update={"tool": None}), store=memory_store)
    assert (ended.result.failure.kind, begun) == (ErrorKind.PAYLOAD_LOST, False)


@pytest.mark.parametrize(("side_effect", "unconfirmed"), [(True, True), (False, False)])
def test_what_hangs_is_a_timeout_and_in_doubt_where_it_changes_something(side_effect, unconfirmed):
    task = tool_task(arguments={"n": 1}, timeout_ms=50)
    ended, _ = attempt(Probe(delay_s=5), task, side_effect=side_effect)
    assert (ended.result.failure.kind, ended.result.unconfirmed) == (ErrorKind.TIMEOUT, unconfirmed)


def test_a_tool_has_a_little_less_time_than_its_caller():
    probe = Probe()
    attempt(probe, tool_task(arguments={"n": 1}, timeout_ms=1_000))
    attempt(probe, tool_task(arguments={"n": 1}, timeout_ms=60_000))
    assert [timeout_s for _, timeout_s, _ in probe.calls] == [pytest.approx(0.9), pytest.approx(59)]


@pytest.mark.parametrize(
    ("error", "kind", "unconfirmed"),
    [
        (AdapterError(ErrorKind.OVERLOADED, "busy", retry_after_ms=7), ErrorKind.OVERLOADED, False),
        (AdapterError(ErrorKind.NETWORK, "broke", unconfirmed=True), ErrorKind.NETWORK, True),
        (ZeroDivisionError("secret"), ErrorKind.INTERNAL, True),
    ],
)
def test_each_failure_is_a_result_of_its_kind(error, kind, unconfirmed):
    result = attempt(Probe(raising(error)))[0].result
    assert (result.failure.kind, result.unconfirmed) == (kind, unconfirmed)
    assert "secret" not in result.failure.message
    if kind is ErrorKind.OVERLOADED:
        assert result.failure.retry_after_ms == 7


@pytest.mark.parametrize("answer", [{1, 2}, math.nan, b"x", "\ud800", {"a": object()}])
def test_an_answer_that_is_no_json_is_a_failure(answer):
    result = attempt(Probe(lambda arguments: answer))[0].result
    assert (result.failure.kind, result.unconfirmed) == (ErrorKind.SERVER_ERROR, True)


def test_an_answer_above_the_limit_is_refused():
    result = attempt(Probe(lambda arguments: "x" * 2_000), max_answer_bytes=1_000)[0].result
    assert result.failure.kind is ErrorKind.TOO_LARGE
    assert "2,002 bytes" in result.failure.message


def test_a_cancelled_job_makes_no_call():
    probe = Probe()
    ended, begun = attempt(probe, cancelled={"j"})
    assert (ended.result.failure.kind, begun, probe.calls) == (ErrorKind.CANCELLED, False, [])


def test_the_journal_goes_first_where_a_call_changes_something_or_costs():
    def notes_first(**spec):
        return runner_of({"t": config_of(kind="noop", **spec)}).notes_first

    assert (notes_first(), notes_first(side_effect=True), notes_first(price_microusd=1)) == (False, True, True)


def test_every_tool_is_closed():
    probe = Probe()
    attempt(probe)
    assert probe.closed
