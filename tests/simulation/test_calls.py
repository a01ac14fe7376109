"""What the judge of calls excuses, and the session on which it rests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.schemas.topics import Topics, TopicSpec
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import HOUSE, SESSION_MS
from tests.simulation.groups import Committed, Group, Membership, Silence
from tests.simulation.history import History
from tests.simulation.judges.calls import calls
from tests.simulation.process import Process
from tests.simulation.provider import Call
from tests.simulation.world import World

TASKS, ATTEMPT = "sim.tasks.house.batch", ("job-1/only/0", 1)
OWNER, STALE = "house-1.6", "house-0.5"
"""The partition's owner, and a worker that the group has dropped and that has not heard of it."""
OPENED_US, DROPPED_US, HEARD_US = 5_620_000, 5_408_000, 5_808_000


def cluster() -> Cluster:
    return Cluster(World(1), [TopicSpec(TASKS, 1, {})])


def judged(*made: tuple[str, int], started_us: dict[str, int]) -> list[str]:
    """Return what the judge says of calls of one attempt: by whom, and when."""
    kafka = cluster()
    kafka.log(TASKS, 0).ends_told += [(STALE, 210_000), (OWNER, OPENED_US)]
    kafka.group("sim.workers.house").silences["m-1"] = Silence(STALE, (TASKS,), DROPPED_US, HEARD_US)
    processes = {name: Process(kafka.world, name) for name in (OWNER, STALE)}
    usage: Any = None
    history = History(
        kafka,
        Topics("sim"),
        calls=[Call(*ATTEMPT, processes[name], at_us, usage, "ok") for name, at_us in made],
        served=[],
        chaos=SimpleNamespace(),  # type: ignore[arg-type]
        objects={},
    )
    vars(history).update(
        dispatched={ATTEMPT: {"pool": HOUSE}},
        places={ATTEMPT: (TASKS, 0)},
        starts={(*ATTEMPT, name): at_us for name, at_us in started_us.items()},
        results={},
    )
    return list(calls(history))


@pytest.mark.parametrize("made", [((STALE, 5_699_000), (OWNER, 5_750_000)), ((OWNER, 5_699_000), (STALE, 5_750_000))])
def test_a_worker_that_does_not_know_that_it_was_dropped_calls_beside_the_owner(made: tuple[tuple[str, int]]) -> None:
    """The simulation's seed 246, with offsets beside records: the judge excused the first order and not the other."""
    assert not judged(*made, started_us={name: at_us + 1_000 for name, at_us in made})


def test_a_call_that_the_opening_could_read_of_is_not_made_again() -> None:
    made = ((STALE, OPENED_US - 10_000), (OWNER, 5_699_000))
    assert judged(*made, started_us={STALE: OPENED_US - 9_000})


def test_a_worker_that_heard_that_it_was_dropped_calls_no_more() -> None:
    assert judged((OWNER, 5_699_000), (STALE, HEARD_US + 1), started_us={OWNER: 5_700_000})


def test_a_worker_does_not_make_its_own_call_again() -> None:
    assert judged((STALE, 5_699_000), (STALE, 5_750_000), started_us={STALE: 5_700_000})


def joined(group: Group) -> Membership:
    """Return a group's only member, with its assignment."""
    said: list[Any] = []
    group.join(Membership("", -1, None), (TASKS,), "cooperative-sticky", SESSION_MS * 1_000, (), said.append)
    who = Membership(said[0].member_id, said[0].generation, None)
    group.sync(who, said.append)
    assert said[1] == ((TASKS, 0),)
    return who


@pytest.mark.parametrize(("in_transaction", "kept"), [(False, True), (True, False)])
def test_a_commit_keeps_a_session_and_one_in_a_transaction_does_not(in_transaction: bool, kept: bool) -> None:
    kafka = cluster()
    group, offsets = kafka.group("g"), {(TASKS, 0): Committed(1, "")}
    who = joined(group)
    kafka.world.run((SESSION_MS - 100) * 1_000)
    assert not (group.commit_in_transaction(1, 0, who, offsets) if in_transaction else group.commit(who, offsets))
    kafka.world.run((SESSION_MS + 100) * 1_000)
    assert (who.member_id in group.members) == kept
    kafka.world.run(2 * SESSION_MS * 1_000)
    assert not group.members
