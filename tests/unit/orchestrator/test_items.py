"""Items by reference: read part by part as they are dispatched, and what becomes of bad ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetAside
from headrace.orchestrator.core.parts import LinesCache
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.schemas.errors import DependencyUnavailable, ErrorKind
from headrace.schemas.messages import Failure, ItemsPart, ItemsRef, JobStatus, Result, Task
from tests.world import World, echo


def each(output: Any = "{{ notes }}", **step: Any) -> dict[str, Any]:
    """Return a workflow that says something about each of the job's items."""
    note = {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "{{ index }}: {{ item }}"}, **step}
    note = {key: value for key, value in note.items() if value is not None}
    return {"name": "each", "version": 1, "steps": {"notes": note}, "output": output}


def reduced(with_: str | None = None) -> dict[str, Any]:
    merge = {"llm": {"pool": "large", "prompt": "{{ items | join('+') }}"}, "fan_in": 3}
    step = {"reduce": "{{ input.items }}", **({"with": with_} if with_ else merge)}
    return {"name": "reduced", "version": 1, "steps": {"sum": step}}


def test_one_workflow_gives_the_same_for_an_inline_list_and_for_items_by_reference() -> None:
    items = [{"n": 1}, "two", 3, [4], None, 6.5]
    for workflow in (each(), each("{{ input.items | length }} of {{ notes | length }}"), reduced(), reduced("count")):
        world = World()
        world.submit("inline", workflow, {"items": items})
        world.submit("parts", workflow, items=world.keep_items(items[:1], items[1:4], items[4:]))
        world.run()
        assert world.outcome("inline").status is JobStatus.SUCCEEDED, world.outcome("inline")
        assert world.outcome("parts").output == world.outcome("inline").output


def test_a_part_is_read_when_its_first_item_goes_out_and_once() -> None:
    world = World()
    items = world.keep_items(["a", "b", "c"], ["d", "e", "f"], ["g"])
    world.submit("a", each(max_in_flight=2), items=items)
    assert world.loaded == []
    keys = [part.key for part in items.parts]
    seen = []
    while not world.outcomes("a"):
        world.deal()
        seen.append([keys.index(key) for key in world.loaded])
        world.result(echo(world.tasks.pop(0)))
    assert seen == [[0], [0], [0, 1], [0, 1], [0, 1], [0, 1, 2], [0, 1, 2]]
    assert world.outcome("a").output == ["0: a", "1: b", "2: c", "3: d", "4: e", "5: f", "6: g"]


def test_a_retry_that_comes_long_after_reads_its_part_again() -> None:
    world = World()
    world.environment.lines._capacity_bytes = 1
    items = world.keep_items(["a"], ["b"], ["c"])
    world.submit("a", each(), items=items)
    world.deal()
    first = world.tasks.pop(0)
    world.result(failed(first))
    world.run()
    assert world.outcome("a").output == ["0: a", "1: b", "2: c"]
    assert world.loaded == [part.key for part in (*items.parts, items.parts[0])]


def failed(task: Task) -> Result:
    failure = Failure(kind=ErrorKind.OVERLOADED, message="busy")
    return echo(task).model_copy(update={"failure": failure, "output": None})


def lines(world: World, *texts: bytes, items: int | None = None) -> ItemsRef:
    ref = world.keep(b"\n".join(texts))
    count = len(texts) if items is None else items
    return ItemsRef(parts=(ItemsPart(key=ref.key, size_bytes=ref.size_bytes, sha256=ref.sha256, items=count),))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": ', "not JSON"),
        (b"", "empty"),
        (b"  \r", "empty"),
        (b"NaN", "NaN is no JSON number"),
        (b"\xff\xfe", "not JSON"),
        (b'"\\ud800"', "surrogate"),
        (b"[" * 5_000, "deep"),
        (b"[" * 200 + b"]" * 200, "deeper than"),
        (b"1" * 5_000, "not JSON"),
        (b"12345678901234567890123", "64 bits"),
    ],
)
def test_a_line_that_is_no_json_fails_its_item_with_line_and_part_and_no_other(line: bytes, said: str) -> None:
    world = World()
    good, bad = world.keep_items(["a", "b"]), lines(world, b'"c"', line, b'"e"')
    items = ItemsRef(parts=(*good.parts, *bad.parts))
    world.submit("a", each(require={"at_least": 4}), items=items)
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.partial, outcome.failed_items_total) == (JobStatus.SUCCEEDED, True, 1)
    assert outcome.output == ["0: a", "1: b", "2: c", None, "4: e"]
    failure = outcome.failed_items[0].failure
    assert failure.kind is ErrorKind.INVALID_INPUT
    assert failure.message.startswith(f"item 3, line 2 of part 2 ({bad.parts[0].key}): ")
    assert said in failure.message


def test_an_item_above_the_size_of_a_jobs_input_fails_alone() -> None:
    world = World()
    world.submit("a", each(require={"at_least": 1}), items=lines(world, b'"' + b"x" * 17_000_000 + b'"', b"1"))
    world.run()
    outcome = world.outcome("a")
    assert outcome.output == [None, "1: 1"]
    assert outcome.failed_items[0].failure.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("claimed", [1, 3, 999_999])
def test_a_part_with_another_number_of_lines_fails_the_job_before_anything_of_it_is_paid(claimed: int) -> None:
    world = World()
    bad = lines(world, b"1", b"2", items=claimed)
    world.submit("a", each(), items=ItemsRef(parts=(*world.keep_items(["a"]).parts, *bad.parts)))
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INVALID_INPUT)
    said = f"part 2 of the items ({bad.parts[0].key}) has 2 lines, and the submission says {claimed:,}"
    assert outcome.message == said
    assert not world.dispatched


@pytest.mark.parametrize("content", [None, b"other content"])
def test_a_part_that_is_gone_or_another_fails_the_job_and_nothing_is_set_aside(content: bytes | None) -> None:
    world = World()
    items = world.keep_items(["a"], ["b"])
    world.submit("a", each(max_in_flight=1, require={"share": 0.1}), items=items)
    world.deal()
    world.objects.pop(items.parts[1].key)
    if content is not None:
        world.objects[items.parts[1].key] = content
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.PAYLOAD_LOST)
    assert outcome.message.startswith(f"part 2 of the items: object {items.parts[1].key} is not ")
    assert outcome.receipt.attempts == 1
    assert not [effect for effect in world.effects if isinstance(effect, SetAside)]


def test_items_whose_part_is_read_go_out_while_the_next_part_cannot_be_read() -> None:
    world = World()
    world.submit("a", each(), items=world.keep_items(["a", "b"], ["c"]))
    world.environment.lines.lines(world_part(world, 0).ref, world.environment.load)
    world.down = True
    world.deal_once()
    assert [task.call.messages[0].content for task in world.tasks if task.call] == ["0: a", "1: b"]
    with pytest.raises(DependencyUnavailable):
        world.deal_once()
    world.down = False
    world.run()
    assert world.outcome("a").output == ["0: a", "1: b", "2: c"]


def world_part(world: World, number: int) -> ItemsPart:
    reference = world.records["items/a/0"]
    return ItemsRef.model_validate_json(reference.text).parts[number]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("workflow", "place"),
    [
        (each("{{ input.items }}"), "output"),
        (each({"first": "{{ input.items[0] }}"}), "output"),
        (each(llm={"pool": "small", "prompt": "{{ item }} of {{ input.items }}"}), "steps.notes.llm"),
        (each(for_each="{{ input.items[:3] }}"), "steps.notes.for_each"),
        (each(for_each="{{ input.items | list }}"), "steps.notes.for_each"),
        (
            each(split={"from": "{{ input.items }}", "by": "lines", "size": 1}, for_each=None, llm=None),
            "steps.notes.split",
        ),
    ],
)
def test_another_use_of_the_items_is_refused_at_submission_and_says_what_can_be_done(
    workflow: dict[str, Any], place: str
) -> None:
    world = World()
    world.submit("a", workflow, items=world.keep_items(["a"]))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, ErrorKind.INVALID_INPUT)
    assert outcome.message.startswith(f"{place}: items by reference can be the source of a for_each or a reduce")
    assert not world.loaded


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ input }}",
        "{{ input | tojson }}",
        "{{ input['it' ~ 'ems'] }}",
        "{{ input['it' ~ 'ems'] | default([]) }}",
        "{% for i in input['it' ~ 'ems'] %}{{ i }}{% endfor %}",
        "{{ input.values() | list }}",
        "{{ input['it' ~ 'ems'][0] }}",
        "{% if input['it' ~ 'ems'] %}x{% endif %}",
    ],
)
def test_a_use_of_the_items_that_only_rendering_shows_fails_there(prompt: str) -> None:
    world = World()
    world.submit("a", each(llm={"pool": "small", "prompt": prompt}), items=world.keep_items(["a"]))
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INVALID_INPUT)
    assert "step notes: " in outcome.message
    assert not world.dispatched


def test_items_that_no_template_reads_are_refused() -> None:
    world = World()
    world.submit("a", each(for_each="{{ input.rows }}"), {"rows": [1]}, items=world.keep_items(["a"]))
    assert world.outcome("a").reason is ErrorKind.INVALID_INPUT
    assert "no template of each@1 reads input.items" in world.outcome("a").message


def test_the_input_schema_is_checked_without_the_items() -> None:
    schema = {
        "type": "object",
        "required": ["items", "language"],
        "properties": {"items": {"type": "array", "minItems": 1}, "language": {"type": "string"}},
        "additionalProperties": False,
    }
    world = World()
    items = world.keep_items(["a"])
    for job_id, given in (("good", {"language": "en"}), ("missing", {}), ("more", {"language": "en", "x": 1})):
        world.submit(job_id, {**each(), "input": schema}, given, items=items)
    world.run()
    assert world.outcome("good").status is JobStatus.SUCCEEDED
    for job_id, said in (("missing", "language"), ("more", "Additional properties")):
        assert world.outcome(job_id).reason is ErrorKind.INVALID_INPUT
        assert said in world.outcome(job_id).message
        assert "items" not in world.outcome(job_id).message


def test_more_than_a_million_items_are_refused() -> None:
    world = World()
    part = ItemsPart(key="lists/a", size_bytes=10, sha256="0" * 64, items=600_000)
    world.submit("a", each(), items=ItemsRef(parts=(part, part)))
    assert world.outcome("a").reason is ErrorKind.TOO_LARGE
    assert "1,200,000 items; the limit is 1,000,000" in world.outcome("a").message


def test_a_reducer_without_a_model_takes_no_more_items_than_could_have_come_inline() -> None:
    world = World()
    part = ItemsPart(key="lists/a", size_bytes=9_000_000, sha256="0" * 64, items=10)
    world.submit("large", reduced("concat"), items=ItemsRef(parts=(part, part)))
    assert world.outcome("large").reason is ErrorKind.TOO_LARGE
    assert "at most 16,777,216 bytes of items by reference, and these have 18,000,000" in world.outcome("large").message
    world.submit("small", reduced("concat"), items=world.keep_items(["a", "b"], ["c"]))
    assert world.outcome("small").output == "abc"


def test_the_header_of_a_job_does_not_grow_with_its_parts() -> None:
    world = World()
    one = world.keep_items(["a"]).parts[0]
    for job_id, count in (("few", 1), ("many", 2_000)):
        world.submit(job_id, each(), items=ItemsRef(parts=(one,) * count))
    few, many = (world.records[job_key(job_id)] for job_id in ("few", "many"))
    assert isinstance(few, JobHeader)
    assert isinstance(many, JobHeader)
    assert len(repr(many)) - len(repr(few)) < 20
    assert (many.spec.items_total, many.spec.items_parts) == (2_000, 6)
    for key, record in world.records.items():
        if key.startswith("items/many/"):
            assert len(json.dumps(record.text)) <= 262_144  # type: ignore[union-attr]


def test_nothing_of_the_items_is_left_when_the_job_is_closed() -> None:
    world = World()
    world.submit("a", each(), items=world.keep_items(["a"]))
    assert "items/a/0" in world.records
    world.run()
    assert [key.partition("/")[0] for key in world.records] == ["workflow", "marker"]


def test_an_event_of_a_job_by_reference_costs_the_same_whatever_its_size() -> None:
    most = []
    for count in (10, 10_000):
        world = World()
        world.submit("a", each("{{ notes | length }}"), items=world.keep_items(*([0] * 10 for _ in range(count // 10))))
        world.touched.clear()
        for _ in range(10):
            world.deal_once(at_most=1)
            world.result(echo(world.tasks.pop()))
        most.append(max(world.touched[:-1]))
    assert most[0] == most[1]


def test_the_same_submission_again_is_a_repetition_and_other_items_are_a_conflict() -> None:
    world = World()
    items = world.keep_items(["a"], ["b"])
    world.submit("a", each(), items=items)
    world.run()
    moved = tuple(part.model_copy(update={"key": f"copies/{at}"}) for at, part in enumerate(items.parts))
    world.submit("a", each(), items=ItemsRef(parts=moved))
    assert len(world.outcomes("a")) == 2
    for other in (world.keep_items(["a", "b"]), world.keep_items(["a"], ["c"]), None):
        world.effects.clear()
        world.submit("a", each(), items=other)
        assert [effect.reason for effect in world.effects if isinstance(effect, SetAside)] == ["job_conflict"]


def test_the_lines_that_are_kept_are_bounded_by_their_bytes() -> None:
    cache, world = LinesCache(1_000), World()
    refs = [world.keep(str(number).encode() * 300) for number in range(8)]
    for ref in refs:
        cache.lines(ref, world.environment.load)
        assert cache.size_bytes <= 1_000
    large = world.keep(b"x" * 5_000)
    assert len(cache.lines(large, world.environment.load)) == 1
    assert len(cache._kept) == 1
    cache.lines(refs[0], world.environment.load)
    assert cache.size_bytes <= 1_000
