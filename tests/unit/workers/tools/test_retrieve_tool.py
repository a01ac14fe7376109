"""The tool `retrieve` on real folders, with hashed words and with an endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from headrace.schemas.errors import AdapterError, ConfigError, DependencyUnavailable, ErrorKind
from headrace.schemas.pools import Endpoint
from headrace.workers.adapters.hashed_words import HashedWords, features_of
from headrace.workers.core.chunks import chunks_of
from tests.unit.workers.tools.kit import call, opened
from tests.unit.workers.tools.web import served

PAGES = {
    "returns.md": "# Returns\n\nGoods may be sent back within 30 days. The refund arrives on your account.",
    "delivery.md": "# Delivery\n\nParcels are delivered by courier. Tracking numbers come by e-mail.",
    "deep/schema.txt": "TABLE customer_orders: one row an order, with orderTotal and the customer's id.",
    "notes.bin": "never read",
}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "handbook"
    for name, text in PAGES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def ask(folder, query, *, top_k=None, **fields):
    arguments = {"query": query, **({"top_k": top_k} if top_k else {})}
    return call(arguments, kind="retrieve", folder=str(folder), **fields).output


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("How do I get a refund?", "returns.md"),
        ("when will my parcel be delivered", "delivery.md"),
        ("the deliveries of couriers", "delivery.md"),
        ("total of each order", "deep/schema.txt"),
        ("CUSTOMER ORDERS", "deep/schema.txt"),
    ],
)
def test_the_passage_that_is_about_it_comes_first(folder, query, source):
    found = ask(folder, query)
    assert found[0]["source"] == source
    assert found[0]["text"] in PAGES[source]
    assert sorted([one["score"] for one in found], reverse=True) == [one["score"] for one in found]


def test_a_call_says_how_many_it_wants_and_what_is_far_is_left_out(folder):
    assert len(ask(folder, "refund", top_k=1)) == 1
    assert [one["source"] for one in ask(folder, "refund", min_score=0.1)] == ["returns.md"]
    assert ask(folder, "", min_score=0.1) == ask(folder, "!?", min_score=0.1) == []


def test_an_answer_is_the_same_every_time(folder):
    assert ask(folder, "refund of an order") == ask(folder, "refund of an order")


def test_no_link_in_the_folder_leads_out_of_it(folder, tmp_path):
    (tmp_path / "secret.md").write_text("the refund password is swordfish")
    os.symlink(tmp_path / "secret.md", folder / "link.md")
    os.symlink(tmp_path, folder / "up")
    assert all("swordfish" not in one["text"] for one in ask(folder, "refund password", top_k=100))


def test_what_is_no_text_does_not_stop_the_start(folder):
    (folder / "broken.md").write_bytes(b"refund \xff\xfe\x00 refund")
    (folder / "empty.md").write_text(" \n ")
    assert ask(folder, "refund refund")[0]["source"] == "broken.md"


def test_a_folder_without_documents_is_said_at_the_start(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError):
            ask(place, "x")


def test_the_start_says_what_it_read(folder):
    with capture_logs() as logs:
        ask(folder, "x")
    assert [(one["files"], one["passages"]) for one in logs if one["event"] == "retrieve.indexed"] == [(3, 3)]


def test_ten_thousand_passages_are_searched_in_milliseconds(tmp_path):
    items = [number * 7919 % 10_007 for number in range(10_000)]
    lines = [f"order {number} of customer {number % 97}: item{item} delivered" for number, item in enumerate(items)]
    (tmp_path / "orders.txt").write_text("\n\n".join(line.ljust(60) for line in lines))
    fields = {"kind": "retrieve", "folder": str(tmp_path), "chunk_characters": 62, "overlap_characters": 0}

    async def main():
        took = []
        async with opened(**fields) as tool:
            for number in range(50):
                began = time.perf_counter()
                answer = await tool.call({"query": f"item{items[number]}"}, timeout_s=5, idempotency_key="k")
                took.append(time.perf_counter() - began)
                assert f"order {number} " in answer.output[0]["text"]
            return len(tool._passages), sorted(took)[25]

    passages, median_s = asyncio.run(main())
    assert passages >= 10_000
    assert median_s < 0.05


# Through an endpoint


def vector(text):
    return [float("refund" in text), float("parcel" in text.lower()), 0.1]


async def embeddings(web, respond=None):
    """Serve ``/v1/embeddings``; `respond` turns the texts into a body."""

    async def act(writer):
        body = json.loads(web.last_body)
        made = respond(body["input"]) if respond else None
        data = [{"index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]
        content = json.dumps(made if made is not None else {"data": data[::-1]}).encode()
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()

    web.raw("/v1/embeddings", act)


def through_endpoint(folder, query="a refund", *, respond=None, status=None):
    async def main():
        async with served() as web:
            await embeddings(web, respond)
            if status:
                web.answer("/v1/embeddings", {"error": {"message": "key sk-1 is wrong"}}, status=status)
            endpoints = {"e": (Endpoint(base_url=f"{web.url}/v1", public=False), SecretStr("sk-1"))}
            fields = {"kind": "retrieve", "folder": str(folder), "endpoint": "e", "model": "small"}
            async with opened(endpoints=endpoints, **fields) as tool:
                answer = await tool.call({"query": query}, timeout_s=5, idempotency_key="k")
                return answer.output, web.asked

    return asyncio.run(main())


def test_an_endpoint_embeds_documents_in_batches_and_the_question(folder):
    for number in range(130):
        (folder / f"more{number}.txt").write_text(f"page {number}")
    found, asked = through_endpoint(folder)
    assert found[0]["source"] == "returns.md"
    sent = [json.loads(body) for _, _, _, body in asked]
    assert [len(one["input"]) for one in sent] == [64, 64, 5, 1]
    assert sent[0]["model"] == "small"
    assert asked[0][2]["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize(
    "answer",
    [
        {}, [], {"data": []}, {"data": [{"index": 0, "embedding": [1.0]}]}, {"data": "abc"},
        {"data": [{"index": at, "embedding": ["x"]} for at in range(3)]},
        {"data": [{"index": at, "embedding": []} for at in range(3)]},
    ],
)  # fmt: skip
def test_an_endpoint_that_answers_nonsense_is_said_at_the_start(folder, answer, monkeypatch):
    monkeypatch.setattr("headrace.workers.tools.embedders.TRIES", 1)
    with pytest.raises(DependencyUnavailable):
        through_endpoint(folder, respond=lambda texts: answer)


def test_an_endpoint_that_refuses_the_key_is_said_without_it(folder):
    with pytest.raises(DependencyUnavailable) as caught:
        through_endpoint(folder, status=401)
    assert "sk-1" not in caught.value.message


def test_an_endpoint_that_fails_for_a_moment_is_asked_again(folder, monkeypatch):
    monkeypatch.setattr("headrace.workers.tools.embedders.asyncio.sleep", lambda seconds: asyncio.gather())
    left = [2]

    def respond(texts):
        left[0] -= 1
        return {} if left[0] >= 0 else None

    assert through_endpoint(folder, respond=respond)[0][0]["source"] == "returns.md"


def test_a_question_that_the_endpoint_does_not_embed_is_a_failure(folder):
    with pytest.raises(AdapterError) as caught:
        through_endpoint(folder, respond=lambda texts: {} if len(texts) == 1 else None)
    assert caught.value.kind is ErrorKind.SERVER_ERROR


# What is pure


@given(st.text(st.sampled_from("ab .\n"), max_size=400), st.integers(20, 60), st.integers(0, 10))
def test_passages_hold_the_whole_document_in_order(text, most, overlap):
    found = chunks_of(text, most=most, overlap=overlap)
    assert all(0 < len(one.text) <= most and text[one.start :].startswith(one.text) for one in found)
    assert [one.start for one in found] == sorted({one.start for one in found})
    covered = {at for one in found for at in range(one.start, one.start + len(one.text))}
    assert all(at in covered for at, letter in enumerate(text) if not letter.isspace())


@given(st.lists(st.text(max_size=60), max_size=5), st.text(max_size=60))
def test_a_vector_has_the_length_one_or_none_whatever_the_text(documents, text):
    found = HashedWords(map(features_of, documents)).vector(features_of(text))
    length = sum(value * value for value in found.values())
    assert length == pytest.approx(1.0) if found else not features_of(text) or length == 0
