"""Records of `state` that cannot be read: set aside once, their jobs ended once, nothing left for the next restart."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.orchestrator.core.state import Cursor, InputPart, Marker, Owner, TaskRecord, TaskStatus, WorkflowRecord
from headrace.orchestrator.shell import mender as mender_module
from headrace.orchestrator.shell.damage import Damage, load
from headrace.orchestrator.shell.store import PartitionStore
from headrace.schemas.codec import Record, decode
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.messages import DeadLetter, JobStatus, Outcome
from tests.instance import NOW_MS, TOPICS, Instance, Raw
from tests.unit.orchestrator.test_machine import FAN
from tests.world import World


def world_of(*jobs: str) -> World:
    world = World()
    for job_id in jobs:
        world.submit(job_id, FAN, {"items": [1, 2, 3]})
    world.deal()
    return world


def changelog(world: World, **broken: bytes | None) -> Raw:
    raw: Raw = {key: (at, encode_record(record)) for at, (key, record) in enumerate(world.records.items())}
    raw.update({key: (500 + at, value) for at, (key, value) in enumerate(broken.items())})
    return raw


def restarted(world: World, broken: dict[str, bytes | None]) -> Instance:
    return Instance(world.environment, changelog(world, **broken))


def submitted(instance: Instance, job_id: str) -> list[Record]:
    """Submit a job of the same content again and return what goes out."""
    value = {"job_id": job_id, "workflow": FAN, "input": {"items": [1, 2, 3]}}
    return instance.read(TOPICS.jobs, None, json.dumps(value).encode())


def test_a_state_that_is_whole_has_no_damage() -> None:
    instance = restarted(world_of("a", "b"), {"owner": encode_record(Owner("x")), "cursor/jobs": b'{"offset":4}'})
    assert instance.partition.damage is None
    assert not instance.transaction()
    assert instance.records == []


@pytest.mark.parametrize("key", ["job/a", "input/a/0", "task/a/notes/1"])
def test_a_record_that_cannot_be_read_ends_its_job_once_and_no_other(key: str) -> None:
    instance = restarted(world_of("a", "b"), {key: b"{not json"})
    instance.mend()
    (letter,) = instance.letters
    assert (letter.reason, letter.job_id) == ("broken_state", "a")
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == (TOPICS.state, 0, 500)
    assert b64decode(letter.value_base64 or "") == b"{not json"
    (outcome,) = instance.outcomes
    assert (outcome.job_id, outcome.status, outcome.reason) == ("a", JobStatus.FAILED, ErrorKind.INTERNAL)
    assert [order.subject for order in instance.on(TOPICS.control)] == ["job/a"], "what is in flight is stopped"
    assert instance.store.running() == ["b"]


@pytest.mark.parametrize("key", ["job/a", "input/a/0", "task/a/notes/1", "marker/a", "foo/bar", "cursor/foo"])
def test_nothing_is_left_to_mend_at_the_next_restart(key: str) -> None:
    instance = restarted(world_of("a", "b"), {key: b"[]"})
    instance.mend()
    assert len(instance.letters) == 1
    instance.restart()
    assert instance.partition.damage is None
    records = len(instance.records)
    instance.mend()
    assert len(instance.records) == records


def test_a_lost_header_leaves_no_records_behind_and_its_id_answers_with_the_outcome() -> None:
    instance = restarted(world_of("a"), {"job/a": b"\xff"})
    instance.mend()
    left = {key for key, (_, value) in instance.log.items() if value is not None}
    assert {key.partition("/")[0] for key in left} == {"workflow", "marker"}
    (repeated,) = submitted(instance, "a")
    assert repeated.topic == TOPICS.outcomes
    assert decode(Outcome, repeated.value) == instance.outcomes[0]


def test_a_lost_marker_is_replaced_so_that_the_job_does_not_run_again() -> None:
    world = World()
    world.submit("a", FAN, {"items": [1]})
    world.run()
    instance = restarted(world, {"marker/a": b'{"hash": 3}'})
    instance.mend()
    assert instance.outcomes == []
    marker = decode_record("marker/a", instance.log["marker/a"][1] or b"")
    assert isinstance(marker, Marker)
    assert (marker.outcome, marker.due_ms) == ("", NOW_MS + world.limits.retention_ms)
    (letter,) = submitted(instance, "a")
    assert decode(DeadLetter, letter.value).reason == "outcome_lost", "neither a second run nor a second outcome"


def test_a_lost_workflow_ends_every_job_that_runs_from_it() -> None:
    world = world_of("a", "b")
    key = next(key for key in world.records if key.startswith("workflow/"))
    instance = restarted(world, {key: encode_record(WorkflowRecord("another text"))})
    instance.mend()
    assert sorted(outcome.job_id for outcome in instance.outcomes) == ["a", "b"]
    assert {outcome.reason for outcome in instance.outcomes} == {ErrorKind.INTERNAL}
    assert len(instance.letters) == 1


def test_what_nobody_knows_is_set_aside_under_its_own_bytes() -> None:
    instance = restarted(world_of("a"), {"no\udcff/thing": b"x", "": b"y", "owner/two": b'{"id":"z"}'})
    instance.mend()
    keys = {b64decode(letter.key_base64 or "") for letter in instance.letters}
    assert keys == {b"no\xff/thing", b"", b"owner/two"}
    tombstones = {record.key for record in instance.records if record.topic == TOPICS.state and record.value is None}
    assert tombstones == keys
    assert instance.outcomes == []


def test_owner_and_cursors_are_written_anew_anyway_and_set_nothing_aside() -> None:
    instance = restarted(world_of("a"), {"owner": b"\xff", "cursor/jobs": b"{}", "cursor/results": b'{"offset":"x"}'})
    assert instance.partition.damage is None
    assert instance.store.cursor("jobs") is None


def test_records_of_jobs_that_are_not_there_are_tombstoned_in_silence() -> None:
    forged = {"task/ghost/s/0": encode_record(TaskRecord(TaskStatus.RETRYING, 1, 0, due_ms=1)),
              "input/ghost/0": encode_record(InputPart("{}"))}  # fmt: skip
    instance = restarted(world_of("a"), dict(forged))
    instance.mend()
    assert (instance.letters, instance.outcomes) == ([], [])
    assert all(instance.log[key][1] is None for key in forged)


def test_a_kill_between_two_transactions_of_mending_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mender_module, "MAX_FAULTS", 3)
    broken: dict[str, bytes | None] = {f"job/j{number}": b"x" for number in range(5)} | {"job/a": b"x"}
    instance = restarted(world_of("a", "b"), broken)
    steps = 0
    while instance.partition.damage is not None and instance.partition.damage.faults:
        instance.transaction()
        instance.restart()
        steps += 1
        assert steps < 50
    assert sorted(outcome.job_id for outcome in instance.outcomes) == ["a", *(f"j{number}" for number in range(5))]
    assert len(instance.letters) == 6
    assert {key for key, (_, value) in instance.log.items() if value and key.split("/")[1] == "a"} == {"marker/a"}


def test_a_warm_partition_forgets_the_version_before_the_broken_one() -> None:
    world = world_of("a")
    store = PartitionStore(0, world.environment)
    assert load(store, changelog(world), 10) is None
    damage = load(store, {"job/a": (11, b"broken")}, 12)
    assert isinstance(damage, Damage)
    assert store.running() == []


HEADER = json.loads(encode_record(world_of("a").records["job/a"]))
TASK = {"s": "live", "a": 1, "t": 5}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task/a/s/0", {**TASK, "due": "soon"}),
        ("task/a/s/0", {**TASK, "due": 10**30}),
        ("task/a/s/0", {**TASK, "due": True}),
        ("task/a/s/0", {**TASK, "a": 1.5}),
        ("task/a/s/0", {**TASK, "r": [1]}),
        ("task/a/s/0", {**TASK, "r": ["1", "2"]}),
        ("task/a/s/0", {**TASK, "s": "lost"}),
        ("task/a/s/0", {**TASK, "f": {"kind": "rate_limited"}}),
        ("task/a/s/0", {**TASK, "ref": {"key": "../x", "size_bytes": 1, "sha256": "x"}}),
        ("task/a/s/0", []),
        ("task/a/s", TASK),
        ("task/a/s/00", TASK),
        ("job/b", HEADER),
        ("job/a", {**HEADER, "budget": []}),
        ("job/a", {**HEADER, "close": [0]}),
        ("job/a", {**HEADER, "deadline_ms": 10**400}),
        ("job/a", {**HEADER, "steps": {"notes": {"status": "running", "next": 10**12}}}),
        ("job/a", {**HEADER, "steps": {"notes": {"status": "running", "unknown": 1}}}),
        ("job/a", {**HEADER, "labels": {"a": 1}}),
        ("job/a", {**HEADER, "labels": []}),
        ("job/a", {**HEADER, "spent": {"p": {"models": [1]}}}),
        ("job/a", {name: value for name, value in HEADER.items() if name != "tenant"}),
        ("marker/a", {"hash": "h", "status": "s", "outcome": None, "at": 1, "due": 2, "cancelled": False}),
        ("workflow/" + "0" * 64, {"text": "{}"}),
        ("cursor/jobs", {"offset": "4"}),
        ("cursor/elsewhere", {"offset": 4}),
        ("owner", {"id": 4}),
        ("input/a/-1", {"text": "x"}),
        ("galaxy/a", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_record_that_would_fail_later_is_refused_when_it_is_read(key: str, value: Any) -> None:
    with pytest.raises(DecodeError):
        decode_record(key, json.dumps(value).encode())


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"nul", b"[" * 100_000, b'{"offset": %s}' % (b"9" * 5_000), b'{"text": "\\ud800"}', b"NaN"]
)
def test_bytes_that_are_no_json_are_an_error_of_ours(value: bytes) -> None:
    for key in ("cursor/jobs", "input/a/0", "job/a"):
        with pytest.raises(DecodeError):
            decode_record(key, value)


def test_what_is_whole_is_read() -> None:
    assert decode_record("cursor/jobs", b'{"offset":4}') == Cursor(4)
    assert decode_record("task/a/s/0", json.dumps(TASK).encode()) == TaskRecord(TaskStatus.LIVE, 1, 5)
