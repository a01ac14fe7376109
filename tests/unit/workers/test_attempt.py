"""One attempt against the scripted provider over real HTTP: every ending, as the orchestrator will see it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from headrace.schemas.calls import MAX_WRONG_ANSWER
from headrace.schemas.codec import decode, encode
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Lane, LlmCall, ObjectRef, Result, Sensitivity, Task, ToolCall, Usage
from headrace.schemas.pools import Price
from headrace.workers.adapters.base import Completion
from headrace.workers.adapters.openai import _confidence
from headrace.workers.adapters.openai_errors import failure_of
from headrace.workers.shell.report import AttemptReport

from .conftest import begin, make_runner, make_task, served

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}, "required": ["label"]}


def fault(**fields):
    return json.dumps({"faults": [fields]})


@pytest.mark.parametrize(
    ("script", "kind", "retry_after_ms"),
    [
        (fault(kind="rate_limited", retry_after="7"), ErrorKind.RATE_LIMITED, 7_000),
        (fault(kind="rate_limited", headers={"retry-after-ms": "250"}, retry_after="7"), ErrorKind.RATE_LIMITED, 250),
        (fault(kind="rate_limited", retry_after="999999"), ErrorKind.RATE_LIMITED, 600_000),
        (fault(kind="rate_limited", retry_after="soon"), ErrorKind.RATE_LIMITED, None),
        (fault(kind="rate_limited", type="insufficient_quota"), ErrorKind.AUTH, None),
        (fault(kind="rate_limited", headers={"x-should-retry": "false"}), ErrorKind.BAD_REQUEST, None),
        (fault(kind="error", headers={"x-should-retry": "true"}), ErrorKind.SERVER_ERROR, None),
        (fault(kind="overloaded"), ErrorKind.OVERLOADED, None),
        (fault(kind="overloaded", status=529), ErrorKind.OVERLOADED, None),
        (fault(kind="error", status=408), ErrorKind.TIMEOUT, None),
        (fault(kind="server_error"), ErrorKind.SERVER_ERROR, None),
        (fault(kind="server_error", status=502), ErrorKind.SERVER_ERROR, None),
        (fault(kind="error", code="context_length_exceeded"), ErrorKind.CONTEXT_TOO_LONG, None),
        (
            fault(kind="error", message="the request exceeds the available context size"),
            ErrorKind.CONTEXT_TOO_LONG,
            None,
        ),
        (fault(kind="error", code="content_filter"), ErrorKind.CONTENT_FILTERED, None),
        (fault(kind="content_filter"), ErrorKind.CONTENT_FILTERED, None),
        (fault(kind="error", status=401), ErrorKind.AUTH, None),
        (fault(kind="error", status=403), ErrorKind.AUTH, None),
        (fault(kind="error", status=422), ErrorKind.BAD_REQUEST, None),
        (fault(kind="error", status=302, headers={"location": "http://127.0.0.1:1/"}), ErrorKind.BAD_REQUEST, None),
        (fault(kind="garbage"), ErrorKind.SERVER_ERROR, None),
        (fault(kind="wrong_content_type"), ErrorKind.SERVER_ERROR, None),
        (fault(kind="reset"), ErrorKind.NETWORK, None),
        (fault(kind="half"), ErrorKind.NETWORK, None),
    ],
)
def test_what_a_provider_answers_becomes_one_error_kind(attempt, script, kind, retry_after_ms):
    result, provider, called = attempt(script)
    assert result.failure is not None
    assert (result.failure.kind, result.failure.retry_after_ms, called) == (kind, retry_after_ms, True)
    assert len(provider.calls) == 1, "an attempt is exactly one call"


@pytest.mark.parametrize(
    ("script", "unconfirmed"),
    [
        ("{}", False),
        (fault(kind="rate_limited"), False),
        (fault(kind="server_error", status=504), False),
        (fault(kind="error", status=302, headers={"location": "http://127.0.0.1:1/"}), False),
        (fault(kind="content_filter"), False),
        (fault(kind="truncated"), False),
        (fault(kind="garbage"), True),
        (fault(kind="wrong_content_type"), True),
        (fault(kind="reset"), True),
        (fault(kind="half"), True),
        (fault(kind="stall"), True),
    ],
)
def test_a_call_whose_bill_is_not_known_is_unconfirmed_and_no_other(attempt, script, unconfirmed):
    result, _, _ = attempt(script, make_task(timeout_ms=300))
    assert result.unconfirmed is unconfirmed


def test_another_success_than_200_may_have_been_billed():
    assert failure_of(202, {}, b"").unconfirmed
    assert not failure_of(302, {}, b"").unconfirmed


def test_what_a_refused_content_cost_is_on_its_result(attempt):
    result, _, _ = attempt(fault(kind="content_filter"))
    assert result.failure.kind is ErrorKind.CONTENT_FILTERED
    assert result.cost_microusd > 0


def test_an_answer_that_counts_no_tokens_is_unconfirmed_where_tokens_cost_money():
    class Uncounted:
        async def call(self, request, **_):
            return Completion("hello", "stop")

        async def close(self):
            pass

    async def main(price):
        runner, adapter = make_runner("http://127.0.0.1:9/v1", price=price)
        await adapter.close()
        runner._adapter = Uncounted()
        return (await runner.run(make_task(), begin)).result

    for price, unconfirmed in ((Price(input=1), True), (Price(), False)):
        result = asyncio.run(main(price))
        assert (result.output, result.failure, result.unconfirmed) == ("hello", None, unconfirmed)


@pytest.mark.parametrize(
    ("price", "cost", "failure"),
    [
        (Price(cached_input=1_000_000), 8, None),
        (Price(input=1 << 62), None, ErrorKind.INTERNAL),
    ],
)
def test_a_price_on_cached_input_alone_counts_and_a_bill_that_nobody_would_read_is_not_sent(price, cost, failure):
    class Cached:
        async def call(self, request, **_):
            return Completion(
                "hello", "stop", Usage(input_tokens=8 if cost else 1 << 50, cached_tokens=8 if cost else 0)
            )

    async def main():
        runner, adapter = make_runner("http://127.0.0.1:9/v1", price=price)
        await adapter.close()
        runner._adapter = Cached()
        return await runner.run(make_task(), begin)

    ended = asyncio.run(main())
    kind = ended.result.failure and ended.result.failure.kind
    assert (kind, ended.result.cost_microusd) == (failure, cost or 0)
    assert decode(Result, ended.value) == ended.result


def test_a_call_that_may_not_begin_any_more_when_its_start_is_written_is_not_made():
    async def main():
        async with served("{}") as (provider, base_url):
            cancelled = []
            runner, adapter = make_runner(base_url, cancelled=cancelled)

            async def begin_late():
                cancelled.append("j")

            ended = await runner.run(make_task(), begin_late)
            await adapter.close()
            return ended, len(provider.calls)

    ended, calls = asyncio.run(main())
    assert (ended.result.failure.kind, ended.result.unconfirmed) == (ErrorKind.CANCELLED, False)
    assert (ended.called, calls) == (False, 0)


def test_a_retry_after_date_is_counted_from_now(attempt):
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    result, _, _ = attempt(fault(kind="rate_limited", retry_after=at))
    assert 25_000 < result.failure.retry_after_ms <= 30_000


def test_a_call_that_stalls_ends_at_its_timeout(attempt):
    started = time.monotonic()
    result, _, _ = attempt(fault(kind="stall"), make_task(timeout_ms=200))
    assert result.failure.kind is ErrorKind.TIMEOUT
    assert time.monotonic() - started < 2
    assert 150 <= result.call_ms <= 1_500


def test_a_closed_port_is_a_network_failure():
    async def main():
        runner, adapter = make_runner("http://127.0.0.1:9/v1")
        ended = await runner.run(make_task(), begin)
        await adapter.close()
        return ended.result

    result = asyncio.run(main())
    assert (result.failure.kind, result.unconfirmed) == (ErrorKind.NETWORK, False)


def test_a_good_answer_carries_output_usage_cost_and_model(attempt):
    result, provider, _ = attempt("rules: [{match: hel, answer: 'you said {last} to {model}'}]")
    assert result.output == "you said hello to m"
    assert (result.usage.input_tokens, result.usage.output_tokens, result.cost_microusd) == (2, 5, 12)
    assert (result.model, result.endpoint, result.pool, result.worker) == ("m", "here", "p", "w")
    assert result.finish_reason == "stop"
    (call,) = provider.calls
    assert call.key == "j/s/0:1"
    assert set(call.body) == {"model", "messages"}, "no sampling parameter unless it was given"


@pytest.mark.parametrize(("said", "known"), [("confidence: 0.25,", 0.25), ("", None)])
def test_how_sure_a_model_was_is_on_the_result_where_it_was_asked_and_the_provider_says_it(attempt, said, known):
    script = f"rules: [{{{said} answer: 'yes and no'}}]"
    result, provider, _ = attempt(script, make_task(call={"logprobs": True}))
    assert result.confidence == (known if known is None else pytest.approx(known))
    assert provider.calls[0].body["logprobs"] is True
    assert attempt(script)[0].confidence is None


@pytest.mark.parametrize(
    "logprobs", [None, [], {}, {"content": None}, {"content": []}, {"content": [{"logprob": 1}]}, {"content": ["x"]}]
)
def test_log_probabilities_of_another_form_say_nothing(logprobs):
    assert _confidence(logprobs) is None


def test_what_was_given_is_sent_and_the_limit_has_the_servers_own_name(attempt):
    call = {"max_output_tokens": 9, "temperature": 0.5, "seed": 3, "stop": ("x",), "output_schema": SCHEMA}
    _, provider, _ = attempt("{}", make_task(call=call), output_tokens_field="max_tokens", extra_body={"top_k": 1})
    body = provider.calls[0].body
    assert (body["max_tokens"], body["temperature"], body["seed"], body["stop"], body["top_k"]) == (9, 0.5, 3, ["x"], 1)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_an_answer_that_holds_its_schema_is_parsed(attempt):
    result, _, _ = attempt("{}", make_task(call={"output_schema": SCHEMA}))
    assert result.failure is None
    assert result.output["label"] in ("a", "b")
    fenced, _, _ = attempt(
        json.dumps({"rules": [{"answer": '```json\n{"label": "a"}\n```'}]}), make_task(call={"output_schema": SCHEMA})
    )
    assert fenced.output == {"label": "a"}


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("rules: [{json_answer: {label: c}}]", ErrorKind.MALFORMED_OUTPUT, "at /label"),
        ("faults: [{kind: malformed}]", ErrorKind.MALFORMED_OUTPUT, "not JSON"),
        ("rules: [{answer: '{\"label\": NaN}'}]", ErrorKind.MALFORMED_OUTPUT, "NaN"),
        ("faults: [{kind: truncated}]", ErrorKind.TRUNCATED, "max_output_tokens"),
    ],
)
def test_an_answer_that_breaks_its_schema_is_paid_and_says_where(attempt, script, kind, said):
    result, _, _ = attempt(script, make_task(call={"output_schema": SCHEMA}))
    assert result.failure.kind is kind
    assert said in result.failure.message
    assert len(result.failure.message) < 500
    assert result.output is None
    assert result.cost_microusd > 0
    assert bool(result.wrong_answer) == (kind is ErrorKind.MALFORMED_OUTPUT)


def test_a_wrong_answer_travels_cut(attempt):
    result, _, _ = attempt(
        json.dumps({"rules": [{"answer": "no JSON " * 1_000}]}), make_task(call={"output_schema": SCHEMA})
    )
    assert result.wrong_answer == ("no JSON " * 1_000)[:MAX_WRONG_ANSWER]


def test_a_schema_that_refers_to_the_network_is_refused_without_asking_the_network(attempt):
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    result, _, _ = attempt("{}", make_task(call={"output_schema": schema}))
    assert result.failure.kind is ErrorKind.BAD_REQUEST
    assert "outside" in result.failure.message


def test_a_truncated_text_is_a_success_that_says_so(attempt):
    result, _, _ = attempt("faults: [{kind: truncated}]")
    assert (result.failure, result.truncated, result.output) == (None, True, "he")


def test_a_task_that_was_called_off_is_answered_without_a_call(attempt):
    result, _, called = attempt("{}", called_off=["j/s/0"])
    assert (result.failure.kind, result.unconfirmed, called) == (ErrorKind.CANCELLED, False, False)
    assert attempt("{}", called_off=["j/s/1"])[2]


@pytest.mark.parametrize(
    ("task", "options", "kind"),
    [
        (make_task(), {"cancelled": ["j"]}, ErrorKind.CANCELLED),
        (make_task(not_after_ms=1), {}, ErrorKind.DEADLINE_EXCEEDED),
        (make_task(call_ref=None).model_copy(update={"call": None}), {}, ErrorKind.INTERNAL),
    ],
)
def test_what_may_not_be_called_is_answered_without_a_call(attempt, task, options, kind):
    result, provider, called = attempt("{}", task, **options)
    assert (result.failure.kind, result.unconfirmed, called, len(provider.calls)) == (kind, False, False, 0)


def test_a_call_by_reference_is_fetched_and_a_large_answer_leaves_by_reference(attempt, memory_store):
    call = make_task(prompt="x" * 5_000).call
    ref = memory_store.put(encode(call))
    task = make_task(call_ref=ref).model_copy(update={"call": None})
    result, _, _ = attempt("{}", task, store=memory_store, inline_bytes=1_024)
    assert result.output is None
    assert json.loads(memory_store.get(result.output_ref)) == "x" * 5_000


def test_a_reference_whose_content_is_gone_or_wrong_fails_for_good(attempt, memory_store):
    ref = memory_store.put(encode(LlmCall(messages=())))
    for wrong in (ref.model_copy(update={"sha256": "0" * 64}), ObjectRef(key="sha256/00", size_bytes=1, sha256="00")):
        task = make_task(call_ref=wrong).model_copy(update={"call": None})
        result, provider, _ = attempt("{}", task, store=memory_store)
        assert (result.failure.kind, len(provider.calls)) == (ErrorKind.PAYLOAD_LOST, 0)
        assert wrong.key in result.failure.message


def test_a_key_the_provider_echoes_never_reaches_the_result(attempt):
    key = SecretStr("sk-very-secret-123456")
    script = fault(kind="error", status=401, message="wrong key sk-very-secret-123456")
    result, _, _ = attempt(script, key=key)
    assert "very-secret" not in encode(result).decode()
    assert "***" in result.failure.message


def test_the_first_calls_of_a_task_fail_and_then_it_succeeds():
    async def main():
        async with served("faults: [{kind: server_error, first_calls: 2}]") as (_, base_url):
            runner, adapter = make_runner(base_url)
            ended = [await runner.run(make_task(attempt=number), begin) for number in (1, 2, 3)]
            await adapter.close()
            return [one.result.failure and one.result.failure.kind for one in ended]

    assert asyncio.run(main()) == [ErrorKind.SERVER_ERROR, ErrorKind.SERVER_ERROR, None]


def test_an_adapter_that_breaks_still_gives_a_result():
    async def main():
        runner, adapter = make_runner("http://127.0.0.1:9/v1")
        adapter.call = None
        return (await runner.run(make_task(), begin)).result

    with capture_logs() as logs:
        result = asyncio.run(main())
    assert (result.failure.kind, result.unconfirmed) == (ErrorKind.INTERNAL, True)
    assert [line["event"] for line in logs] == ["attempt.crashed"]


@pytest.mark.parametrize(("script", "event"), [("{}", "attempt.finished"), (fault(kind="reset"), "attempt.failed")])
def test_an_attempt_leaves_one_canonical_line_with_ids_and_without_prompts(attempt, script, event):
    task: Task = make_task(prompt="a private prompt")
    result: Result = attempt(script, task)[0]
    trace = [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    with capture_logs() as logs:
        AttemptReport("p", "here", quiet=False).ended(task, result, called=True, trace=trace)
    (line,) = logs
    assert line["event"] == event
    assert (line["job_id"], line["task_id"], line["attempt"], line["lane"]) == ("j", "j/s/0", 1, Lane.BATCH.value)
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert "private" not in str(line)


@pytest.mark.parametrize("public", [False, True])
def test_nothing_confidential_reaches_a_public_endpoint_whoever_dispatched_it(public):
    async def main():
        async with served("{}") as (provider, base_url):
            runner, adapter = make_runner(base_url, refuses_confidential=public)
            ended = await runner.run(make_task(sensitivity=Sensitivity.CONFIDENTIAL), begin)
            await adapter.close()
            return ended.result.failure, len(provider.calls)

    failure, calls = asyncio.run(main())
    assert calls == (0 if public else 1)
    assert (failure is None) is not public
    assert not public or failure.kind is ErrorKind.BAD_REQUEST


def test_a_tools_call_in_a_pool_of_models_is_refused(attempt):
    task = make_task(tool=ToolCall(tool="t", arguments={})).model_copy(update={"call": None})
    result, _, called = attempt("{}", task)
    assert (result.failure.kind, called, result.unconfirmed) == (ErrorKind.BAD_REQUEST, False, False)
