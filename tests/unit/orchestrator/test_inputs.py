"""An input by reference is the same job as the same input inline; what is wrong with it is said on the outcome."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetAside
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.orchestrator.core.view import Limits
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DependencyUnavailable, ErrorKind
from headrace.schemas.messages import JobStatus, ObjectRef
from tests.world import World

ONE: dict[str, Any] = {
    "name": "one",
    "version": 1,
    "input": {"type": "object", "required": ["word"], "properties": {"word": {"type": "string"}}},
    "steps": {"answer": {"llm": {"pool": "small", "prompt": "{{ input.word }}"}}},
}
GIVEN = {"word": "hi", "and": ["more", 1]}
SPACED = json.dumps(GIVEN, indent=2).encode()
"""The same input, not in the one form that hashes are taken of."""


def test_a_job_whose_input_came_by_reference_runs_like_one_whose_input_came_inline() -> None:
    world = World()
    world.submit("inline", ONE, GIVEN)
    world.submit("canonical", ONE, input_ref=world.keep(canonical_json(GIVEN)))
    world.submit("spaced", ONE, input_ref=world.keep(SPACED))
    world.run()
    for job_id in ("inline", "canonical", "spaced"):
        assert (world.outcome(job_id).status, world.outcome(job_id).output) == (JobStatus.SUCCEEDED, "hi")


@pytest.mark.parametrize("content", [canonical_json(GIVEN), SPACED])
def test_whichever_way_the_input_comes_again_it_is_a_repetition(content: bytes) -> None:
    for by_reference_first in (True, False):
        world = World()
        ref = world.keep(content)
        ways: list[dict[str, Any]] = [{"input_ref": ref}, {"input": GIVEN}]
        for way in ways if by_reference_first else reversed(ways):
            world.submit("a", ONE, **way)
            world.run()
        first, again = world.outcomes("a")
        assert first == again
        assert not [effect for effect in world.effects if isinstance(effect, SetAside)]


def test_another_input_by_reference_under_the_same_id_is_a_conflict() -> None:
    world = World()
    world.submit("a", ONE, GIVEN)
    world.run()
    for content in (canonical_json({"word": "other"}), b'{"word": "other"}'):
        world.effects.clear()
        world.submit("a", ONE, input_ref=world.keep(content))
        assert [effect.reason for effect in world.effects if isinstance(effect, SetAside)] == ["job_conflict"]


def test_a_repetition_of_what_headrace_wrote_reads_nothing() -> None:
    world = World()
    ref = world.keep(canonical_json(GIVEN))
    world.submit("a", ONE, input_ref=ref)
    world.run()
    world.loaded.clear()
    world.down = True
    world.submit("a", ONE, input_ref=ref)
    assert len(world.outcomes("a")) == 2


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b'{"word": ', ErrorKind.INVALID_INPUT, "is not JSON"),
        (b'{"word": NaN}', ErrorKind.INVALID_INPUT, "NaN is no JSON number"),
        (b"[1]", ErrorKind.INVALID_INPUT, "a JSON object is needed"),
        (b'{"word": "\xff"}', ErrorKind.INVALID_INPUT, "is not JSON"),
        (b'{"word": "\\ud800"}', ErrorKind.INVALID_INPUT, "surrogate"),
        (b'{"word": ' + b"[" * 100_000, ErrorKind.INVALID_INPUT, "nests too deeply"),
        (b'{"word": 1}', ErrorKind.INVALID_INPUT, "does not fit one@1"),
        (b'{"word": "' + b"x" * 1_000 + b'"}', ErrorKind.TOO_LARGE, "the limit is 1,000"),
    ],
)
def test_an_input_that_cannot_be_taken_is_rejected_with_its_reason(content: bytes, kind: ErrorKind, said: str) -> None:
    world = World(limits=Limits(max_job_bytes=1_000) if kind is ErrorKind.TOO_LARGE else Limits())
    world.submit("a", ONE, input_ref=world.keep(content))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, kind)
    assert said in outcome.message


def test_an_input_above_the_limit_is_rejected_before_it_is_read() -> None:
    world = World()
    world.submit("a", ONE, input_ref=ObjectRef(key="sha256/x", size_bytes=16_777_217, sha256="x"))
    assert world.outcome("a").reason is ErrorKind.TOO_LARGE
    assert not world.loaded


@pytest.mark.parametrize("content", [None, b"other"])
def test_an_input_that_is_gone_or_another_is_rejected_and_names_the_object(content: bytes | None) -> None:
    world = World()
    ref = world.keep(canonical_json(GIVEN))
    world.objects.clear()
    if content is not None:
        world.objects[ref.key] = content
    world.submit("a", ONE, input_ref=ref)
    assert world.outcome("a").reason is ErrorKind.PAYLOAD_LOST
    assert ref.key in world.outcome("a").message


def test_a_store_that_does_not_answer_rejects_nothing() -> None:
    world = World()
    ref = world.keep(canonical_json(GIVEN))
    world.down = True
    with pytest.raises(DependencyUnavailable):
        world.submit("a", ONE, input_ref=ref)
    assert not world.records
    world.down = False
    world.submit("a", ONE, input_ref=ref)
    world.run()
    assert world.outcome("a").output == "hi"


def test_a_job_keeps_a_copy_of_its_input_that_its_producer_cannot_change() -> None:
    world = World(limits=Limits(inline_bytes=1_000))
    content = b'{ "word": "' + b"x" * 2_000 + b'" }'
    ref = world.keep(content).model_copy(update={"key": "producers/own"})
    world.objects["producers/own"] = content
    world.submit("a", ONE, input_ref=ref)
    world.objects["producers/own"] = b"{}"
    header = world.records[job_key("a")]
    assert isinstance(header, JobHeader)
    assert header.spec.input_ref is not None
    assert header.spec.input_ref.key != ref.key
    world.memos.clear()
    world.run()
    assert world.outcome("a").status is JobStatus.SUCCEEDED


def test_an_input_by_reference_goes_with_items_by_reference_but_does_not_name_them_too() -> None:
    llm = {"pool": "small", "prompt": "{{ input.a }}{{ item }}"}
    workflow = {
        "name": "each",
        "version": 1,
        "steps": {"s": {"for_each": "{{ input.items }}", "llm": llm}},
    }
    world = World()
    items = world.keep_items([1, 2])
    world.submit("good", workflow, input_ref=world.keep(b'{"a": "x"}'), items=items)
    world.submit("twice", workflow, input_ref=world.keep(b'{"items": []}'), items=items)
    world.run()
    assert world.outcome("good").output == ["x1", "x2"]
    assert "given twice" in world.outcome("twice").message
