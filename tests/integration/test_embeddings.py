"""A pool that serves embeddings on a real broker: routes by example utterances, by a real model in the worker."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer

from headrace.orchestrator.core.semantic import SemanticPlan, choose, embed_call, upper_bound
from headrace.orchestrator.shell.large_calls import by_reference
from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.codec import encode
from headrace.schemas.messages import EmbedCall, Examples
from headrace.schemas.vectors import unpacked
from tests.integration.worker_fixtures import World, headers_of, task

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

PLAN = SemanticPlan(
    "embed",
    "{{ input }}",
    (
        Examples(route="card", texts=("my credit card was stolen", "please block my debit card")),
        Examples(route="travel", texts=("book me a flight to rome", "which hotel is near the airport")),
        Examples(route="cooking", texts=("how long do i boil an egg", "give me a recipe for soup")),
    ),
)
QUESTIONS = {
    "someone took my visa, stop it please": "card",
    "i need a plane ticket to lisbon on friday": "travel",
    "how many minutes do i boil rice": "cooking",
    "who won the chess championship in 1972": None,
}


@pytest.fixture
def world(bootstrap_servers, topic_prefix, tmp_path):
    made = World(bootstrap_servers, topic_prefix, tmp_path, pool="embed")
    yield made
    made.close()


def pools_file(world):
    content = {
        "endpoints": {"here": {"adapter": "minilm", "public": False}},
        "pools": {"embed": {"endpoint": "here", "serves": "embeddings", "price": {"input": 20_000}}},
    }
    path = world.folder / "pools.yaml"
    path.write_text(json.dumps(content))
    return path


def asked(number, call):
    return task(number, pool="embed", call=None).model_copy(update={"embed": call})


def test_texts_are_routed_by_their_meaning_and_vectors_come_back(world, monkeypatch):
    pytest.importorskip("onnxruntime")
    url = f"file://{world.folder}/objects"
    monkeypatch.setenv("HEADRACE_OBJECTS__URL", url)
    monkeypatch.setenv("HEADRACE_TOPICS__PREFIX", world.prefix)
    store = open_objects(Settings())
    inline = [asked(number, embed_call(PLAN, text)) for number, text in enumerate(QUESTIONS)]
    by_ref = by_reference(asked(10, embed_call(PLAN, next(iter(QUESTIONS)))), store)
    plain = asked(11, EmbedCall(texts=("one", "two")))
    assert by_ref.embed is not None
    assert not by_ref.embed.examples

    world.worker(pools_file(world), HEADRACE_OBJECTS__URL=url)
    world.produce([*inline, by_ref, plain])
    results = {name: found[0] for name, found in world.results(6).items()}

    choices = [choose(PLAN, results[one.task_id].output) for one in inline]
    assert [choice.route for choice in choices] == list(QUESTIONS.values())
    assert results[by_ref.task_id].output == results[inline[0].task_id].output
    assert [len(unpacked(text)) for text in results[plain.task_id].output["float32"]] == [384, 384]
    # The examples were embedded once, by one of the attempts, and no attempt took more than was to be set aside for it.
    tokens = sorted(results[one.task_id].usage.input_tokens for one in [*inline, by_ref])
    assert tokens[-1] > 50 > 20 > tokens[-2]
    assert tokens[-1] < upper_bound(embed_call(PLAN, max(QUESTIONS, key=len)), _pool())[0]
    assert {one.model for one in results.values()} == {"all-MiniLM-L6-v2-int8"}
    assert all(not one.unconfirmed and one.cost_microusd >= 1 for one in results.values())


def _pool():
    from headrace.schemas.pools import Pool

    return Pool(endpoint="here", serves="embeddings")


def test_a_call_that_is_none_is_set_aside_and_the_next_is_answered(world):
    pytest.importorskip("onnxruntime")
    world.worker(pools_file(world))
    bad, good = asked(0, EmbedCall(texts=())), asked(1, EmbedCall(texts=("x",)))
    producer = Producer({"bootstrap.servers": world.servers})
    for one in (bad, good):
        topic = world.topics.tasks("embed", one.lane)
        producer.produce(topic, encode(one), one.task_id.encode(), headers=[*headers_of(one)])
    assert producer.flush(20) == 0
    results = world.results(2)
    assert results[bad.task_id][0].failure.kind.value == "internal"
    assert results[good.task_id][0].failure is None
    assert world.dead_letters(1)[0].reason == "out_of_range"
