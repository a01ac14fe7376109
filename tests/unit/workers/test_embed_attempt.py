"""Attempts in a pool that serves embeddings, over real HTTP against the scripted provider."""

from __future__ import annotations

import asyncio
import json

import pytest

from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ChatMessage, EmbedCall, Examples, Lane, LlmCall, Task
from headrace.schemas.pools import Endpoint, Pool, Price
from headrace.schemas.vectors import unpacked
from headrace.workers.adapters.base import AdapterConfig, Embedding, open_embedder
from headrace.workers.adapters.hashed_words import hashed_vector
from headrace.workers.shell.embed_attempt import EmbedRunner
from headrace.workers.shell.workplace import Workplace
from tests.unit.workers.conftest import begin, served

ROUTES = (
    Examples(route="card", texts=("my card was stolen", "block my credit card")),
    Examples(route="travel", texts=("book a flight to rome", "which hotel is near the airport")),
)


def task(number=0, *, timeout_ms=5_000, **call):
    fields = {"texts": ("please block the card",), **call}
    base = {"task_id": f"j/s/{number}", "job_id": "j", "step": "s", "attempt": 1, "pool": "p", "lane": Lane.BATCH}
    return Task(**base, reply_partition=0, timeout_ms=timeout_ms, embed=EmbedCall(**fields))


def runner_at(base_url, *, store=None, texts_per_request=256, embedder=None, inline_bytes=262_144, **endpoint):
    pool = Pool(
        endpoint="here", model="m", serves="embeddings", texts_per_request=texts_per_request,
        price=Price(input=1_000_000),
    )  # fmt: skip
    embedder = embedder or open_embedder(AdapterConfig("here", Endpoint(base_url=base_url, **endpoint)))
    place = Workplace("p", pool, "w", is_cancelled=lambda _: False, objects=lambda: store, inline_bytes=inline_bytes)
    return EmbedRunner(embedder, place)


def run(*tasks, script="{}", at_once=False, **options):
    """Return the results of attempts, one after the other or at once, and the provider."""

    async def main():
        async with served(script) as (provider, base_url):
            runner = runner_at(base_url, **options)
            try:
                if at_once:
                    ended = await asyncio.gather(*(runner.run(one, begin) for one in tasks))
                else:
                    ended = [await runner.run(one, begin) for one in tasks]
            finally:
                await runner._embedder.close()
            return [one.result for one in ended], provider

    return asyncio.run(main())


@pytest.mark.parametrize("extra", [{}, {"extra_body": {"encoding_format": "base64"}}])
def test_texts_come_back_as_vectors_with_tokens_and_price(extra):
    (result,), provider = run(task(texts=("one", "two words")), **extra)
    assert [unpacked(text) for text in result.output["float32"]] == [hashed_vector("one"), hashed_vector("two words")]
    assert (result.usage.input_tokens, result.cost_microusd, result.unconfirmed, result.model) == (4, 4, False, "m")
    assert provider.calls[0].body["input"] == ["one", "two words"]
    assert provider.calls[0].key == "j/s/0:1"


def test_examples_are_embedded_once_with_the_first_text_and_then_never_again():
    results, provider = run(task(0, examples=ROUTES), task(1, examples=ROUTES, texts=("a flight to paris",)))
    assert [list(one.output["scores"][0]) for one in results] == [["card", "travel"]] * 2
    first, second = (one.output["scores"][0] for one in results)
    assert first["card"] > first["travel"]
    assert second["travel"] > second["card"]
    assert [len(call.body["input"]) for call in provider.calls] == [5, 1]
    assert results[0].usage.input_tokens > 3 * results[1].usage.input_tokens  # Who brought them in pays for them.


def test_attempts_side_by_side_bring_examples_in_once():
    results, provider = run(*(task(number, examples=ROUTES) for number in range(8)), at_once=True)
    assert len({json.dumps(one.output) for one in results}) == 1
    assert sorted(len(call.body["input"]) for call in provider.calls) == [1] * 7 + [5]


def test_other_examples_are_other_examples():
    other = (ROUTES[0], Examples(route="travel", texts=("please block the card",)))
    results, provider = run(task(0, examples=ROUTES), task(1, examples=other))
    assert [max(one.output["scores"][0].items(), key=lambda each: each[1])[0] for one in results] == ["card", "travel"]
    assert [len(call.body["input"]) for call in provider.calls] == [5, 4]


def test_examples_beyond_one_request_are_brought_in_by_several_and_what_came_is_kept():
    script = json.dumps(
        {"rules": [{"match": "near the airport", "faults": [{"kind": "server_error", "first_calls": 1}]}]}
    )
    results, provider = run(task(0, examples=ROUTES), task(0, examples=ROUTES), script=script, texts_per_request=2)
    failed, good = results
    assert failed.failure.kind is ErrorKind.SERVER_ERROR
    assert failed.unconfirmed  # Its first request was paid.
    assert good.output["scores"][0]["card"] > 0
    assert [call.body["input"] for call in provider.calls] == [
        list(ROUTES[0].texts),
        list(ROUTES[1].texts),
        list(ROUTES[1].texts),
        ["please block the card"],
    ]


def test_an_attempt_that_runs_out_of_time_leaves_what_it_brought_in():
    script = json.dumps({"rules": [{"match": "rome", "faults": [{"kind": "stall", "first_calls": 1}]}]})
    results, provider = run(
        task(0, examples=ROUTES, timeout_ms=300), task(0, examples=ROUTES), script=script, texts_per_request=2
    )
    assert results[0].failure.kind is ErrorKind.TIMEOUT
    assert results[1].failure is None
    assert [len(call.body["input"]) for call in provider.calls] == [2, 2, 2, 1]


def test_examples_by_reference_are_read_once(memory_store):
    ref = memory_store.put(canonical_json([each.model_dump() for each in ROUTES]))
    inline, by_ref = task(0, examples=ROUTES), task(1, examples_ref=ref)
    results, provider = run(inline, by_ref, task(2, examples_ref=ref), store=memory_store)
    assert len({json.dumps(one.output) for one in results}) == 1
    assert [len(call.body["input"]) for call in provider.calls] == [5, 1, 1]


def test_a_call_by_reference_is_read(memory_store):
    whole = EmbedCall(texts=("x",), examples=ROUTES)
    ref = memory_store.put(whole.model_dump_json().encode())
    (result,), _ = run(task().model_copy(update={"embed": None, "call_ref": ref}), store=memory_store)
    assert result.output["scores"][0].keys() == {"card", "travel"}


@pytest.mark.parametrize("content", [b"no json", b"[]", b"{}", b'[{"route": "a", "texts": []}]', b"[[[]]]"])
def test_objects_that_hold_no_examples_fail_the_attempt_without_a_call(memory_store, content):
    ref = memory_store.put(content)
    (result,), provider = run(task(examples_ref=ref), store=memory_store)
    assert result.failure.kind is ErrorKind.PAYLOAD_LOST
    assert not provider.calls


def test_what_one_request_cannot_take_is_refused_before_it_is_made():
    results, provider = run(task(texts=("x",) * 3), task(texts=("x" * 30_000,) * 20), texts_per_request=2)
    assert [one.failure.kind for one in results] == [ErrorKind.BAD_REQUEST] * 2
    assert not provider.calls


def test_a_prompt_in_a_pool_of_embeddings_is_refused():
    chat = task().model_copy(update={"embed": None, "call": LlmCall(messages=(ChatMessage(role="user", content="x"),))})
    (result,), provider = run(chat)
    assert result.failure.kind is ErrorKind.BAD_REQUEST
    assert not provider.calls


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limited", ErrorKind.RATE_LIMITED),
        ("garbage", ErrorKind.SERVER_ERROR),
        ("malformed", ErrorKind.SERVER_ERROR),
        ("wrong_content_type", ErrorKind.SERVER_ERROR),
        ("half", ErrorKind.NETWORK),
        ("reset", ErrorKind.NETWORK),
    ],
)
def test_a_provider_that_fails_is_a_failed_attempt(kind, expected):
    (result,), _ = run(task(examples=ROUTES), script=json.dumps({"faults": [{"kind": kind}]}))
    assert result.failure.kind is expected


class Changing:
    """An endpoint that has another model after its second call."""

    def __init__(self):
        self.calls = 0

    async def embed(self, texts, *, model, timeout_s, idempotency_key):
        self.calls += 1
        size = 256 if self.calls < 2 else 100
        return Embedding([hashed_vector(text)[:size] for text in texts])

    async def close(self):
        pass


def test_examples_of_another_model_are_embedded_again():
    embedder = Changing()
    results, _ = run(*(task(number, examples=ROUTES) for number in range(3)), embedder=embedder)
    assert [one.failure.kind if one.failure else None for one in results] == [None, ErrorKind.SERVER_ERROR, None]
    assert embedder.calls == 3


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("headrace.workers.shell.embed_attempt.KEPT_SETS", 2)
    sets = [(Examples(route="a", texts=(f"text {number}",)),) for number in range(3)]
    _, provider = run(*(task(number, examples=sets[number % 3]) for number in (0, 1, 0, 2, 0, 1)))
    assert [len(call.body["input"]) for call in provider.calls] == [2, 2, 1, 2, 1, 2]


def test_vectors_that_are_too_large_to_travel_inline_go_by_reference(memory_store):
    texts = tuple(f"text {number}" for number in range(250))
    (result,), _ = run(task(texts=texts), store=memory_store, inline_bytes=100_000)
    assert result.output is None
    assert len(json.loads(memory_store.get(result.output_ref))["float32"]) == 250
