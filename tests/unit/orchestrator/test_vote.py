"""A vote asks several and gives one answer of theirs, as soon as those that are missing can change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import PublishControl
from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import by_index, events, refusal, reply, text, workflow
from tests.world import POOLS, World

THREE = [{"pool": "small"}, {"pool": "large"}, {"pool": "tiny"}]
JUDGE = {"judge": {"pool": "large", "prompt": "{% for a in answers %}{{ loop.index0 }}: {{ a }}\n{% endfor %}"}}
AFTER = {"llm": {"pool": "small", "prompt": "{{ s }}"}}


def vote(voters: Any = THREE, **fields: Any) -> dict[str, Any]:
    return {"vote": {"voters": voters, "prompt": "{{ input.q }}", **fields}}


def ran(step: dict[str, Any], *outputs: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"q": "why?"})
    world.run(by_index(*outputs))
    return world


def decided(world: World) -> dict[str, Any]:
    (data,) = events(world, "vote.decided")
    return data


def test_more_than_half_decide_and_the_rest_is_called_off() -> None:
    world = World()
    world.submit("j", workflow(vote(), ["{{ s }}", "{{ t }}"], t=AFTER), {"q": "why?"})
    world.deal()
    assert [task.pool for task in world.tasks] == ["small", "large", "tiny"]
    one, two, three = world.tasks
    world.result(reply(two, "Yes"))
    world.result(reply(one, "yes "))
    assert decided(world) == {"task": 0, "votes": 2, "voters": 3, "saved_calls": 0, "called_off": 1}
    world.tasks = [task for task in world.tasks if task.step == "t"]
    world.result(refusal(three, ErrorKind.CANCELLED))  # Its worker had not begun it.
    world.run(lambda task: reply(task, "then"))
    outcome = world.outcome("j")
    assert (outcome.output, outcome.failed_items_total, outcome.partial) == (["yes ", "then"], 0, False)
    pattern = outcome.receipt.steps["s"].pattern
    assert pattern is not None
    assert pattern.saved_calls == 1
    orders = [e for e in world.effects if isinstance(e, PublishControl) and e.subject == "task/j/s/2"]
    assert [order.control is not None for order in orders] == [True, False]


def test_as_needed_asks_no_more_than_can_decide() -> None:
    world = ran(vote(ask="as_needed"), "a", "a")
    assert (world.outcome("j").output, len(world.dispatched)) == ("a", 2)
    assert decided(world) == {"task": 0, "votes": 2, "voters": 3, "saved_calls": 1, "called_off": 0}


def test_as_needed_asks_on_while_votes_are_missing() -> None:
    five = [{"pool": "small", "samples": 5}]
    world = ran(vote(five, ask="as_needed"), "a", "b", "c", "a", "a")
    assert (world.outcome("j").output, decided(world)["votes"]) == ("a", 3)
    assert ran(vote(five, ask="as_needed"), "a", "b", "a", "a").outcome("j").output == "a"
    first = ran(vote(ask="as_needed", pick="first_valid"), ErrorKind.BAD_REQUEST, "second")
    assert (first.outcome("j").output, decided(first)["saved_calls"]) == ("second", 1)
    judged = ran(vote(ask="as_needed", **JUDGE), "a", "b", "c", {"best": 2})
    assert judged.outcome("j").output == "c"


def test_a_job_that_ends_with_its_vote_stops_what_is_out() -> None:
    world = World()
    world.submit("j", workflow(vote()), {"q": "why?"})
    world.deal()
    world.result(reply(world.tasks[0], "a"))
    world.result(reply(world.tasks[1], "a"))
    assert world.outcome("j").output == "a"
    assert world.outcome("j").receipt.unconfirmed.attempts == 1
    assert any(isinstance(e, PublishControl) and e.subject == "job/j" and e.control for e in world.effects)


def test_failed_voters_abstain_and_the_most_votes_win() -> None:
    five = [{"pool": "small", "samples": 5}]
    world = ran(vote(five), "b", ErrorKind.BAD_REQUEST, "a", "c", "a")
    assert (world.outcome("j").output, decided(world)["votes"]) == ("a", 2)
    assert world.outcome("j").status is JobStatus.SUCCEEDED
    world = ran(vote(), "c", "a", "b")
    assert (world.outcome("j").output, decided(world)["tied"]) == ("c", True)


def test_a_tie_goes_to_the_judge_where_there_is_one() -> None:
    world = ran(vote(**JUDGE), "c", "a", "b", {"best": 1})
    assert text(world.dispatched[3]) == "0: c\n1: a\n2: b\n"
    assert (world.outcome("j").output, decided(world)["by"]) == ("a", "judge")


def test_a_quorum_that_was_asked_for_must_be_reached() -> None:
    world = ran(vote(quorum=3), "a", "a", "b")
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.MALFORMED_OUTPUT)
    assert "no quorum: 2 of 3 votes are the same, 3 must be" in outcome.message
    world = ran({**vote(quorum=3), "on_error": {"default": "none"}}, "a", "a", "b")
    assert (world.outcome("j").output, world.outcome("j").partial) == ("none", True)
    world = ran(vote(quorum=3, **JUDGE), "a", "a", "b", {"best": 0})
    assert world.outcome("j").output == "a"


def test_votes_can_be_compared_by_a_part_of_them() -> None:
    step = vote(compare="{{ answer.n }}", output={"type": "object"})
    world = ran(step, {"n": 1, "why": "x"}, {"m": 2}, {"n": 1, "why": "y"})
    assert world.outcome("j").output == {"n": 1, "why": "x"}


def test_the_first_valid_answer_will_do() -> None:
    world = World()
    world.submit("j", workflow(vote(pick="first_valid"), ["{{ s }}", "{{ t }}"], t=AFTER), {"q": "why?"})
    world.deal()
    one, two, three = world.tasks
    world.result(refusal(one))
    world.result(reply(three, "third"))
    world.result(reply(two, "second"))
    world.tasks = [task for task in world.tasks if task.step == "t"]
    world.memos.clear()
    world.run(lambda task: reply(task, "then"))
    assert world.outcome("j").output == ["third", "then"]


def test_the_best_is_what_the_judge_says() -> None:
    world = ran(vote(pick="best_of", **JUDGE), "a", ErrorKind.BAD_REQUEST, "b", {"best": 1})
    assert text(world.dispatched[3]) == "0: a\n1: b\n"
    assert world.dispatched[3].call is not None
    assert world.dispatched[3].call.output_schema is not None
    assert world.outcome("j").output == "b"
    alone = ran(vote(pick="best_of", **JUDGE), ErrorKind.BAD_REQUEST, ErrorKind.BAD_REQUEST, "b")
    assert (alone.outcome("j").output, len(alone.dispatched)) == ("b", 3)


@pytest.mark.parametrize("best", [{"best": 2}, {"best": -1}, {"best": True}, {"best": "0"}, "0", {}])
def test_a_judge_that_names_no_answer_fails_the_step(best: Any) -> None:
    world = ran(vote(pick="best_of", **JUDGE), "a", ErrorKind.BAD_REQUEST, "b", best)
    assert "names none of the 2 answers" in world.outcome("j").message


def test_answers_are_merged_as_they_are_or_by_a_call() -> None:
    world = ran(vote(pick="merge"), {"a": 1, "b": 1}, ErrorKind.BAD_REQUEST, {"b": 2})
    assert world.outcome("j").output == {"a": 1, "b": 2}
    assert ran(vote(pick="merge"), [1], [2], [3]).outcome("j").output == [1, 2, 3]
    assert "texts need a merging call" in ran(vote(pick="merge"), "a", "b", "c").outcome("j").message
    merge = {"pool": "large", "prompt": "{{ answers | join('+') }}"}
    world = ran(vote(pick="merge", merge=merge), "a", "b", "c", "abc")
    assert (world.outcome("j").output, text(world.dispatched[3])) == ("abc", "a+b+c")


def test_where_all_voters_fail_the_step_does() -> None:
    world = ran(vote(), ErrorKind.AUTH, ErrorKind.BAD_REQUEST, ErrorKind.BAD_REQUEST)
    assert (world.outcome("j").status, world.outcome("j").reason) == (JobStatus.FAILED, ErrorKind.AUTH)


def test_voters_differ_in_what_they_say_and_samples_in_their_seed() -> None:
    voters = [{"pool": "small", "samples": 2, "seed": 7}, {"pool": "large", "system": "be bold", "temperature": 0.9}]
    world = ran({**vote(voters, temperature=0.1)}, "a", "b", "c")
    calls = [task.call for task in world.dispatched if task.call is not None]
    assert [(call.seed, call.temperature, len(call.messages)) for call in calls] == [
        (7, 0.1, 1),
        (8, 0.1, 1),
        (None, 0.9, 2),
    ]


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (vote([{"pool": "small"}]), "a vote has 2 to 32 calls, not 1"),
        (vote([{"pool": "small", "samples": 32}, {"pool": "tiny"}]), "not 33"),
        (vote([{"pool": "smal"}, {"pool": "tiny"}]), "steps.s.vote.voters.0.pool: unknown pool 'smal'"),
        (vote(quorum=4), "3 votes cannot make a quorum of 4"),
        (vote(pick="merge", ask="as_needed"), "as_needed belongs to pick: majority or first_valid"),
        (vote(pick="best_of"), "best_of needs judge"),
        (vote(pick="first_valid", quorum=2), "quorum belongs to pick: majority"),
        (vote(pick="merge", **JUDGE), "judge belongs to pick: majority or best_of"),
        (vote(merge=JUDGE["judge"]), "merge belongs to pick: merge"),
        (vote(compare="{{ answr }}"), "unknown reference 'answr' (did you mean 'answer'?)"),
        (vote([{"pool": "small", "prompt": "{{ x }}"}, {"pool": "tiny"}]), "steps.s.vote.voters.0.prompt: unknown"),
        (vote(voter=[]), "unknown key 'voter' (did you mean 'voters'?)"),
        (vote(pick="best"), "steps.s.vote.pick"),
        (vote(pick="best_of", judge={**JUDGE["judge"], "output": {}}), "leave output out"),
    ],
)
def test_a_vote_that_does_not_hold_is_refused_with_the_reason(step: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(step), pools=POOLS)
    assert part in str(caught.value)
