"""The orchestrator on a real broker: what is visible, what survives a kill, and what a zombie can do (nothing)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.orchestrator.core.record_codec import decode_record
from headrace.orchestrator.core.state import Cursor
from headrace.runtime.kafka import admin_client
from headrace.schemas.codec import header_map
from headrace.schemas.errors import ErrorKind
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Failure, Lane, Task
from tests.orchestrators import Site, answer_to, site, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

BREAK = """
import os, signal
from headrace.runtime.transaction import TransactionSession as S
from headrace.orchestrator.shell.writer import Writer as W
from headrace.schemas.errors import CommitFailed
state = {"armed": False, "done": False}
write = W.write
def armed(self, batch):
    state["armed"] = not state["done"] and (WHEN(batch))
    state["done"] = state["done"] or state["armed"]
    return write(self, batch)
W.write = armed
call = S.PLACE
def broken(self, *args):
    if state["armed"]:
        state["armed"] = False
        ACT
    return call(self, *args)
S.PLACE = broken
"""
FLUSHED, BEGUN = "_sent", "_send_offsets"
"""The records are with the broker, and its offsets too or soon; nothing is with it yet."""


def breaking(when: str, act: str, place: str = FLUSHED) -> str:
    """Return a script that does something between begin and commit of the transaction that `when` chooses."""
    return BREAK.replace("WHEN(batch)", when).replace("ACT", act).replace("PLACE", place)


DISPATCHES = "batch.dispatched > 0"
TIMER_ONLY = "batch.read == 0 and batch.dispatched > 0"


@pytest.fixture
def here(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Iterator[Site]:
    with site(bootstrap_servers, topic_prefix, tmp_path) as made:
        yield made


def first_tasks(here: Site, count: int, timeout_s: float = 30.0) -> list[Task]:
    found: list[Task] = []

    def there() -> bool:
        found[:] = here.tasks()
        return len(found) >= count

    wait_until(there, f"{count} tasks", timeout_s)
    return found


def test_a_job_runs_end_to_end_and_results_in_any_order_or_twice_change_nothing(here: Site) -> None:
    here.start("a")
    here.submit("fan-1", "fan", input={"items": list(range(40))})
    tasks = first_tasks(here, 40)
    for task in reversed(tasks):
        here.answer(task, copies=2)
    outcome = here.wait_for_outcome("fan-1")
    assert (outcome["status"], outcome["output"]) == ("succeeded", 40)
    here.answer(tasks[0])
    here.submit("one-1")
    first_tasks(here, 41)
    here.answer(_task_of(here, "one-1"))
    here.wait_for_outcome("one-1")
    assert len(here.outcomes("fan-1")) == 1
    assert outcome["receipt"]["attempts"] == 40
    assert not here.dead_letters()


def _task_of(here: Site, job_id: str) -> Task:
    return next(task for task in here.tasks() if task.job_id == job_id)


def test_nothing_of_an_aborted_transaction_is_visible_and_its_batch_appears_once(here: Site) -> None:
    act = "os.kill(os.getpid(), signal.SIGSTOP); raise CommitFailed('on purpose')"
    process = here.start("a", script=breaking(DISPATCHES, act))
    here.submit("one-1")
    topic = here.settings.topic_names
    everything = topic.tasks("noop", Lane.BATCH)
    wait_until(lambda: len(here.read(everything, committed=False)) == 1, "an open transaction")
    assert not here.read(everything)
    assert not here.read(topic.events)
    process.send_signal(signal.SIGCONT)
    here.answer(first_tasks(here, 1)[0])
    assert here.wait_for_outcome("one-1")["status"] == "succeeded"
    assert len(here.tasks()) == 1
    assert len(here.outcomes("one-1")) == 1


def test_a_transaction_that_expired_is_decided_again_and_its_batch_appears_once(here: Site) -> None:
    # The broker aborts it after orchestrator.transaction_timeout_ms and a scan; the process wakes up with it open.
    process = here.start("a", script=breaking(DISPATCHES, "__import__('time').sleep(8)"))
    here.submit("one-1")
    here.answer(first_tasks(here, 1)[0])
    assert here.wait_for_outcome("one-1")["status"] == "succeeded"
    assert "work.postponed" in here.log("a")
    assert process.poll() is None
    assert len(here.tasks()) == len(here.outcomes("one-1")) == 1


@pytest.mark.parametrize("successor", ["a", "b"])
def test_a_killed_orchestrator_is_succeeded_and_its_open_transaction_aborted_at_once(
    here: Site, successor: str, record_property: Callable[[str, object], None]
) -> None:
    here.extra["HEADRACE_ORCHESTRATOR__TRANSACTION_TIMEOUT_MS"] = "60000"
    killed = here.start("a", script=breaking(DISPATCHES, "os.kill(os.getpid(), signal.SIGKILL)"))
    here.submit("one-1")
    killed.wait(30)
    began = time.monotonic()
    here.start(successor)
    task = first_tasks(here, 1)[0]
    took = time.monotonic() - began
    record_property("takeover_s", took)
    print(f"take-over by {successor}: {took:.1f} s")
    here.answer(task)
    assert here.wait_for_outcome("one-1")["status"] == "succeeded"
    assert len(here.tasks()) == 1
    # Start-up of a process and its session timeout of 6 s, not the transaction's time-out on top.
    assert took < 12


def test_two_orchestrators_share_the_partitions_and_one_takes_over_all(here: Site) -> None:
    first = here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    here.start("b")
    here.wait_for_log("b", "partitions.taken_over")
    for number in range(6):
        here.submit(f"one-{number}")
    for task in first_tasks(here, 6):
        here.answer(task)
    for number in range(6):
        assert here.wait_for_outcome(f"one-{number}")["status"] == "succeeded"
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    jobs = [f"late-{number}" for number in range(6)]
    for job in jobs:
        here.submit(job)
    for task in first_tasks(here, 12)[6:]:
        here.answer(task)
    for task in here.tasks():
        here.answer(task)
    for job in jobs:
        here.wait_for_outcome(job)
        assert len(here.outcomes(job)) == 1


@pytest.mark.parametrize("where", ["before the transaction", "after its begin", "before its commit"])
def test_a_zombie_that_only_timers_woke_changes_nothing(here: Site, where: str) -> None:
    stop = "os.kill(os.getpid(), signal.SIGSTOP)"
    script = breaking(TIMER_ONLY, stop, BEGUN if where == "after its begin" else FLUSHED)
    if where == "before the transaction":
        script = script.replace('return write(self, batch)', f"state['armed'] and {stop}; state['armed'] = False; "
                                "return write(self, batch)")  # fmt: skip
    zombie = here.start("a", script=script)
    here.submit("retry-1", "retry")
    task = first_tasks(here, 1)[0]
    failed = answer_to(task).model_copy(
        update={"failure": Failure(kind=ErrorKind.OVERLOADED, message="busy"), "output": None}
    )
    here.result(failed, task.reply_partition)
    wait_until(lambda: _stopped(zombie.pid), "a stop in a transaction of timers alone")
    here.start("b")
    second = next(task for task in first_tasks(here, 2) if task.attempt == 2)
    zombie.send_signal(signal.SIGCONT)
    time.sleep(3)
    assert [task.attempt for task in here.tasks()] == [1, 2]
    here.answer(second)
    assert here.wait_for_outcome("retry-1")["status"] == "succeeded"
    time.sleep(1)
    assert len(here.outcomes("retry-1")) == 1
    assert [task.attempt for task in here.tasks()] == [1, 2]
    assert zombie.poll() is None, here.log("a")


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_record_of_a_client_with_another_partitioner_reaches_its_home(here: Site) -> None:
    here.start("a")
    homes = here.settings.topics.partitions
    away = (home_partition("stray", homes) + 1) % homes
    here.produce(json.dumps({"workflow": "one", "input": {"who": "me"}}).encode(), key=b"stray", partition=away)
    here.answer(first_tasks(here, 1)[0])
    assert here.wait_for_outcome("stray")["status"] == "succeeded"
    forwarded = [m for m in here.read(here.settings.topic_names.jobs) if "x-forwarded-from" in header_map(m.headers())]
    assert [(m.partition(), m.key()) for m in forwarded] == [(home_partition("stray", homes), b"stray")]


def test_the_id_rules_of_the_contract_hold(here: Site) -> None:
    here.start("a")

    def write(value: object, key: bytes | None, *, home: str | None = None) -> tuple[int, int]:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        return here.produce(raw, key=key, partition=0 if home is None else -1)

    place = write({"workflow": "one", "input": {"who": "x"}}, None)
    task = first_tasks(here, 1)[0]
    assert task.job_id == f"j-{place[0]}-{place[1]}"
    write({"type": "cancel"}, None)
    write({"workflow": "one", "job_id": "value", "input": {}}, b"key")
    write({"workflow": "one", "job_id": "not legal!", "input": {}}, None)
    write(b"{not json", b"broken")
    write(b"{not json", None)
    write({"job_id": "typo", "workflw": "one"}, None)
    for job in ("value", "broken", "typo"):
        assert here.wait_for_outcome(job)["status"] == "rejected"
    assert "workflow" in here.wait_for_outcome("typo")["message"]
    wait_until(lambda: len(here.dead_letters()) >= 3, "3 dead letters")
    reasons = sorted(letter["reason"] for letter in here.dead_letters())
    assert reasons == ["invalid_job_id", "invalid_json", "missing_job_id"]
    here.answer(task)
    assert here.wait_for_outcome(task.job_id)["status"] == "succeeded"


def test_the_cursor_beats_group_offsets_that_expired(here: Site) -> None:
    first = here.start("a")
    here.submit("one-1")
    here.answer(first_tasks(here, 1)[0])
    here.wait_for_outcome("one-1")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    cursors = [
        decode_record((m.key() or b"").decode(), m.value() or b"")
        for m in here.read(here.settings.topic_names.state)
        if (m.key() or b"").startswith(b"cursor/jobs")
    ]
    assert max(cursor.offset for cursor in cursors if isinstance(cursor, Cursor)) == 1
    admin = admin_client(here.settings)
    group = here.settings.topic_names.orchestrator_group
    wait_until(lambda: _deleted(admin, group), "the group's deletion")
    here.start("a")
    here.wait_for_log("a", "partitions.taken_over", times=2)
    here.submit("one-2")
    wait_until(lambda: len(here.tasks()) == 2, "the second task")
    time.sleep(1)
    assert [task.job_id for task in here.tasks() if task.job_id == "one-1"] == ["one-1"]
    assert len(here.outcomes("one-1")) == 1
    assert "job.resubmitted" not in str([m.value() for m in here.read(here.settings.topic_names.events)])


def _deleted(admin: Any, group: str) -> bool:
    try:
        for future in admin.delete_consumer_groups([group]).values():
            future.result()
    except Exception:
        return False
    return True


def test_a_paid_answer_that_lay_unread_during_an_outage_comes_before_the_deadline(here: Site) -> None:
    first = here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    deadline = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    here.submit("one-1", deadline=deadline)
    task = first_tasks(here, 1)[0]
    first.kill()
    first.wait(10)
    assert not here.outcomes("one-1")
    here.answer(task)
    time.sleep(5)
    here.start("a")
    assert here.wait_for_outcome("one-1")["status"] == "succeeded"


def test_a_step_that_breaks_sets_the_record_aside_and_the_partition_goes_on(here: Site) -> None:
    script = """
from headrace.orchestrator.core import machine
step = machine.step
def broken(view, event, now_ms):
    if view.job_id == "bad" and type(event).__name__ == "JobSubmitted":
        raise ZeroDivisionError("on purpose")
    return step(view, event, now_ms)
machine.step = broken
"""
    here.start("a", script=script)
    here.submit("bad")
    here.submit("good")
    assert here.wait_for_outcome("bad")["reason"] == "internal"
    here.answer(first_tasks(here, 1)[0])
    assert here.wait_for_outcome("good")["status"] == "succeeded"
    letters = here.dead_letters()
    assert [(letter["reason"], letter["job_id"]) for letter in letters] == [("internal", "bad")]


def test_wrong_settings_end_with_one_message_and_its_exit_code(here: Site) -> None:
    (here.folder / "workflows" / "bad.yaml").write_text("name: bad\nversion: 1\nsteps: {a: {llm: {pool: nope}}}\n")
    process = here.start("a")
    assert process.wait(30) == 2
    assert "Traceback" not in here.log("a")
    os.remove(here.folder / "workflows" / "bad.yaml")


def test_a_slot_that_is_taken_ends_the_second_process_with_a_message(here: Site) -> None:
    here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    second = here.start("a")
    assert second.wait(30) == 2
    assert "another orchestrator of this machine runs under slot 'a'" in here.log("a")


def test_a_slot_that_two_machines_have_ends_one_of_their_processes_with_a_message(here: Site) -> None:
    older = here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    elsewhere = here.folder / "elsewhere"
    both = [older, here.start("a", script=f"import os; os.environ['HEADRACE_DATA_DIR'] = {str(elsewhere)!r}")]
    wait_until(lambda: any(process.poll() is not None for process in both), "one gives way", 60)
    assert [process.poll() for process in both if process.poll() is not None] == [1], here.log("a")
    assert "--slot" in here.log("a")
    assert "Traceback" not in here.log("a")
    here.submit("one-1")
    here.answer(first_tasks(here, 1)[0])
    assert here.wait_for_outcome("one-1")["status"] == "succeeded"
