"""The judges of a chaos run can fail: an honest run passes, and each lie about it is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.evidence import Call, Done, Evidence, Exit, Expectation, Letter, Probe, Run, Seen, Submitted
from tests.chaos.judge import judge
from tests.chaos.plan import SESSION_S, Act, Fault, Shape, draw_plan
from tests.chaos.record import record

KILL = Done(Fault(0, 10.0, Act.KILL, "http", ("http-0",), 1.0), 10.0, 15.0)
ROLL = Done(Fault(1, 30.0, Act.ROLL, "http", ("http-1",)), 30.0, 34.0)


def outcome(job_id, output, *, attempts=1, microusd=6, ce_id=None, repeat=False, **more):
    receipt = {"tasks": 1, "cost_microusd": microusd, "pools": {"http": {"attempts": attempts}}}
    body = {"status": "succeeded", "output": output, "receipt": receipt, **more}
    return Seen(job_id, ce_id or f"o-{job_id}", repeat, json.dumps(body).encode())


def call(job_id, *, attempt=1, caller="http-1", at_s=1.0, ended_s=1.5, status=200, fault=""):
    return Call(f"{job_id}/say/0", attempt, caller, at_s, ended_s, status, fault, 6 if status == 200 else 0)


def honest():
    """Two jobs; one call was in flight when its worker was killed, and was made again as another attempt."""
    jobs = {name: Submitted("one-http", Expectation(output=name), 0.5, 1) for name in ("a", "b")}
    probes = [Probe(f"p-{n}", n % 2, n % 2, float(n), n + 0.3) for n in range(40)]
    jobs |= {probe.job_id: Submitted("probe", Expectation(output=probe.job_id), 0.5, 1) for probe in probes}
    return Evidence(
        run=Run("2026-01-01 00:00", "0.1.0", "4.1.0", "classic", 7, 60.0),
        submitted=jobs,
        outcomes=[
            outcome("a", "a"),
            outcome("b", "b", attempts=2, microusd=12),
            *(outcome(probe.job_id, probe.job_id, attempts=0, microusd=0) for probe in probes),
        ],
        calls=[
            call("a"),
            call("b", caller="http-0", at_s=9.5, ended_s=10.2),
            call("b", attempt=2, at_s=17.0, ended_s=17.5),
        ],
        done=[KILL, ROLL],
        probes=probes,
        exits=[Exit("http-0", 10.0, -9, "kill", ""), Exit("http-1", 30.0, 0, "term", "")],
        state_keys=["owner", "cursor/chaos.jobs", "marker/a"],
        settled_s=3.0,
    )


def test_an_honest_run_has_no_finding_and_its_duplicates_are_counted_by_cause():
    found = judge(honest())
    assert found.violations == ()
    assert (found.jobs, found.lost, found.doubled, found.calls, found.tasks) == (42, 0, 0, 3, 42)
    assert (found.repeated_keys, found.duplicates, found.in_flight) == (0, {"kill": 1}, 1)
    assert found.stall is not None
    assert found.stall.seconds < 1


def without(job_id):
    def lie(seen):
        seen.outcomes = [each for each in seen.outcomes if each.job_id != job_id]

    return lie


def adding(field, *things):
    def lie(seen):
        getattr(seen, field).extend(things)

    return lie


def changing(job_id, **fields):
    def lie(seen):
        seen.outcomes = [outcome(job_id, job_id, **fields) if each.job_id == job_id else each for each in seen.outcomes]

    return lie


def standing(seconds, *, partition, task_partition, from_s):
    """No probe of a partition ends for so long."""

    def lie(seen):
        def late(probe):
            there = probe.partition == partition or probe.task_partition == task_partition
            return there and from_s <= probe.acknowledged_s < from_s + seconds

        seen.probes = [replace(each, done_s=from_s + seconds) if late(each) else each for each in seen.probes]

    return lie


def never_answered(seen):
    seen.probes[-1] = replace(seen.probes[-1], done_s=None)
    seen.settled_s = 100.0


def expecting_a_letter(seen):
    seen.submitted["a"].expects = Expectation(output="a", letters=("exhausted",), must_letters=("exhausted",))


def of_a_small_budget(seen):
    seen.submitted["b"].expects = Expectation(output="b", budget_microusd=10)


def late_to_settle(seen):
    seen.settled_s = seen.settle_limit_s + 1


LIES = {
    "a job without an outcome": (without("a"), "a (one-http), accepted at 0.5 s, has no outcome"),
    "a second outcome": (adding("outcomes", outcome("a", "a", ce_id="other")), "a has 2 outcomes"),
    "an outcome twice": (adding("outcomes", outcome("a", "a")), "a has 2 outcomes that are not marked"),
    "a repetition that differs": (adding("outcomes", outcome("a", "z", repeat=True)), "not byte for byte"),
    "an outcome of nobody's job": (adding("outcomes", outcome("x", "x")), "x has an outcome and was never submitted"),
    "a job that failed": (changing("a", status="failed"), "a (one-http) failed"),
    "a stray dead letter": (adding("letters", Letter("internal", "a", "t[0]@1", "boom")), "dead letter internal of a"),
    "a dead letter that is missing": (expecting_a_letter, "a (one-http) has no dead letter exhausted"),
    "one key called twice": (adding("calls", call("a", at_s=2.0)), "a/say/0:1 at 2.00 s"),
    "a call after a good answer": (adding("calls", call("a", attempt=2, at_s=2.0)), "the receipt knows 1"),
    "a duplicate by a rolling restart": (
        adding("calls", call("a", at_s=29.5, ended_s=30.5), call("a", at_s=32.0, ended_s=33.0)),
        "roll http-1",
    ),
    "a kill that cost more than was in flight": (
        adding("calls", call("b", attempt=3, at_s=18.0, ended_s=18.5)),
        "2 calls too many, 1 were in flight",
    ),
    "money that the receipt does not have": (changing("b", attempts=2, microusd=6), "the receipt has 6"),
    "a budget that was exceeded": (of_a_small_budget, "its budget has 10"),
    "a partition that stood still": (standing(13, partition=0, task_partition=0, from_s=9.0), "stood still for 12."),
    "a probe without an answer": (never_answered, "stood still for"),
    "lag": (lambda seen: seen.lags.update({"g t[0]": 2}), "lag of g t[0]: 2 records"),
    "state that stayed": (adding("state_keys", "task/a/say/0"), "state still has task/a/say/0"),
    "an end that took too long": (late_to_settle, "not everything was over"),
    "a crash": (adding("exits", Exit("http-0", 20.0, 1, "", "Traceback …")), "http-0 ended with 1"),
    "an unclean stop": (adding("exits", Exit("http-0", 20.0, -9, "term", "")), "http-0 ended with -9"),
    "a fault that went wrong": (adding("done", replace(ROLL, note="did not end")), "did not end"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_was_promised_and_not_kept_is_found(lie):
    seen = honest()
    change, said = LIES[lie]
    change(seen)
    found = judge(seen)
    assert any(said in line for line in found.violations), found.violations


def test_a_wrong_answer_is_found():
    seen = honest()
    seen.outcomes[0] = outcome("a", "z")
    assert judge(seen).violations == ("a (one-http) put out z, expected a",)


def test_a_queue_that_moves_is_no_stall():
    """The last probe waits 20 s, and yet one ends every second and a half."""
    seen = honest()
    seen.probes = [replace(each, done_s=each.acknowledged_s * 1.5 + 0.5) for each in seen.probes]
    found = judge(seen)
    assert found.violations == ()
    assert found.longest_wait_s == 20.0


def test_only_one_of_two_task_partitions_standing_still_is_found():
    """By the partitions of `jobs` alone it would not be: their probes with a task elsewhere go on."""
    seen = honest()
    seen.probes = [replace(each, task_partition=n // 2 % 2) for n, each in enumerate(seen.probes)]
    standing(13, partition=None, task_partition=1, from_s=9.0)(seen)
    (said,) = judge(seen).violations
    assert said.startswith("tasks.noop[1] stood still for 1")


def test_what_the_provider_refuses_after_a_kill_is_not_the_kills_duplicate():
    seen = honest()
    seen.calls += [call("b", attempt=3, at_s=18.0, ended_s=18.5)]
    seen.calls[2] = replace(seen.calls[2], status=429, fault="rate_limited", cost_microusd=0)
    seen.outcomes[1] = outcome("b", "b", attempts=3, microusd=12)
    found = judge(seen)
    assert found.violations == ()
    assert found.duplicates == {"kill": 1}


def test_a_member_that_is_alone_may_take_its_time_to_start_and_no_more():
    seen = honest()
    seen.done = [replace(KILL, fault=replace(KILL.fault, alone=True), ended_s=18.5)]
    seen.calls = seen.calls[:1]
    standing(14, partition=0, task_partition=0, from_s=9.0)(seen)
    assert [line for line in judge(seen).violations if "stood still" in line] == []
    standing(17, partition=0, task_partition=0, from_s=9.0)(seen)
    assert any("stood still" in line for line in judge(seen).violations)


@pytest.mark.parametrize("seed", range(50))
def test_a_plan_is_the_same_for_the_same_seed_and_pauses_outlast_the_session(seed):
    plan = draw_plan(seed, 300.0)
    assert plan == draw_plan(seed, 300.0)
    assert {each.act for each in plan} == set(Act)
    assert {each.role for each in plan if each.act is Act.KILL} == {"orchestrator", "http", "noop", "broker"}
    assert all(each.down_s > SESSION_S for each in plan if each.act is Act.PAUSE)
    scaled = [each.count for each in plan if each.act is Act.SCALE and each.role == "http"]
    assert scaled == [dict(Shape().large)["http"], dict(Shape().small)["http"]] == [4, 1]


def test_the_record_says_the_figures_and_every_finding():
    bad = honest()
    without("a")(bad)
    bad.run = replace(bad.run, protocol="consumer")
    page = record([honest(), bad])
    assert "|  | classic | consumer |" in page
    assert "| **lost** | **0** | **1** |" in page
    assert "None: every bar was kept." in page
    assert "- a (one-http), accepted at 0.5 s, has no outcome" in page
    assert "python -m tests.chaos --seed 7 --seconds 60 --protocol consumer" in page
