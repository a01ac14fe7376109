"""A wrong answer is shown to its model once, with what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.repair import Repair
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus, Result, Task
from tests.unit.orchestrator.troubles import failed, fire_due, killed, one, record, take_task
from tests.world import World, echo

WRONG = '{"lable": 1}'
PROBLEM = "scripted malformed_output"


def wrong(task: Task, answer: str = WRONG) -> Result:
    return failed(task, ErrorKind.MALFORMED_OUTPUT, wrong_answer=answer)


def world(**job: Any) -> World:
    made = World()
    made.submit("a", one(), {"word": "x"}, **job)
    return made


def said(task: Task) -> list[str]:
    assert task.call is not None
    return [f"{message.role}: {message.content}" for message in task.call.messages]


def test_the_attempt_after_a_wrong_answer_shows_it_with_what_is_wrong_and_the_third_does_not() -> None:
    made = world()
    made.run(wrong)
    first, second, third = made.dispatched
    assert [task.kind for task in made.dispatched] == ["call", "repair", "call"]
    assert said(second) == [
        *said(first),
        f"assistant: {WRONG}",
        f"user: That answer cannot be used: {PROBLEM}\nAnswer again, in full and in the form that was asked for.",
    ]
    assert said(third) == said(first)
    outcome = made.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.MALFORMED_OUTPUT)
    assert (outcome.receipt.steps["answer"].repairs, outcome.receipt.attempts) == (1, 3)


def test_an_answer_that_is_good_at_once_costs_and_counts_no_repair() -> None:
    made = world()
    made.run()
    assert [task.kind for task in made.dispatched] == ["call"]
    assert made.outcome("a").receipt.steps["answer"].repairs == 0


def test_a_repaired_answer_ends_its_task() -> None:
    made = world()
    made.result(wrong(take_task(made)))
    assert record(made).repair == Repair(WRONG, PROBLEM)
    fire_due(made)
    made.result(echo(made.tasks.pop(0)))
    assert made.outcome("a").status is JobStatus.SUCCEEDED
    assert made.outcome("a").receipt.steps["answer"].repairs == 1


@pytest.mark.parametrize("between", [killed, lambda task: failed(task, ErrorKind.RATE_LIMITED)])
def test_a_repair_that_no_model_has_seen_is_made_again(between: Any) -> None:
    made = World()
    made.submit("a", one(retry={"attempts": 5}), {"word": "x"})
    answers = [wrong, between, wrong, echo]
    made.run(lambda task: answers[task.attempt - 1](task))
    assert [task.kind for task in made.dispatched] == ["call", "repair", "repair", "call"]


def test_a_repair_that_was_refused_is_not_made_again() -> None:
    workflow = one(retry={"attempts": 5, "on": {"content_filtered": {"attempts": 5}}})
    made = World()
    made.submit("a", workflow, {"word": "x"})
    answers = [wrong, lambda task: failed(task, ErrorKind.CONTENT_FILTERED), echo]
    made.run(lambda task: answers[task.attempt - 1](task))
    assert [task.kind for task in made.dispatched] == ["call", "repair", "call"]


def test_a_policy_of_one_attempt_has_no_repair() -> None:
    made = World()
    made.submit("a", one(retry={"on": {"malformed_output": {"attempts": 1}}}), {"word": "x"})
    made.run(wrong)
    assert [task.kind for task in made.dispatched] == ["call"]


def test_an_answer_of_which_nothing_is_known_is_asked_for_again_as_it_was() -> None:
    made = world()
    made.run(lambda task: wrong(task, "") if task.attempt == 1 else echo(task))
    assert [task.kind for task in made.dispatched] == ["call", "call"]


def test_a_wrong_answer_for_which_the_context_has_no_room_is_not_shown() -> None:
    workflow = one()
    workflow["steps"]["answer"]["llm"]["pool"] = "tiny"
    made = World()
    made.submit("a", workflow, {"word": "x"})
    made.run(lambda task: wrong(task, "many words " * 300) if task.attempt == 1 else echo(task))
    assert [task.kind for task in made.dispatched] == ["call", "call"]
    assert made.outcome("a").status is JobStatus.SUCCEEDED


def test_a_wrong_answer_that_the_budget_cannot_show_is_not_shown() -> None:
    made = world(budget={"tokens": 300})
    made.run(lambda task: wrong(task, "w" * 500) if task.attempt == 1 else echo(task))
    assert [task.kind for task in made.dispatched] == ["call", "call"]
    assert made.outcome("a").status is JobStatus.SUCCEEDED


def test_the_dead_letter_has_the_prompt_that_went_out_last() -> None:
    made = World()
    made.submit("a", one(retry={"attempts": 2}), {"word": "x"})
    made.run(wrong)
    letters = [effect for effect in made.effects if type(effect).__name__ == "SetTaskAside"]
    assert [said(letter.task) for letter in letters] == [said(made.dispatched[-1])]  # type: ignore[attr-defined, union-attr]


def test_no_event_says_what_was_answered() -> None:
    made = world()
    made.run(wrong)
    events = [repr(effect.event) for effect in made.effects if type(effect).__name__ == "EmitEvent"]  # type: ignore[union-attr]
    assert events
    assert not [event for event in events if "lable" in event]
