"""A model plans a change, one task a file; another writes the files; the repository's own tests decide."""

from __future__ import annotations

import json
from typing import Any

from headrace.examples.coding.edits import REPOSITORY
from headrace.examples.stage import Stage
from headrace.schemas.messages import Event, Outcome

MAX_TASKS = 4


def run(stage: Stage) -> None:
    asked = json.loads((stage.home / "input" / "tickets.json").read_text(encoding="utf-8"))
    model = stage.provider(stage.home / "answers.yaml")
    here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}))
    before = _files()
    names = [one["ticket"] for one in asked["tickets"]] if stage.given_pools is None else ["clean"]
    jobs = {
        name: here.submit("coding", {"ticket": name, "request": asked["request"], "files": before}) for name in names
    }
    outcomes = {name: here.outcome(job_id) for name, job_id in jobs.items()}
    _show_change(stage, outcomes["clean"])
    if stage.given_pools is None:  # What follows are mistakes, which answers.yaml plays.
        events = here.events_of([jobs["long"], jobs["shell"]])
        _show_bounds(stage, outcomes["long"], _plans(events[jobs["long"]]))
        _show_not_allowed(stage, outcomes["shell"], _plans(events[jobs["shell"]]))
        _show_refused(stage, outcomes)
        _show_trials(stage, outcomes)
    stage.expect("the repository itself is as it was", _files() == before, f"{len(before)} files")


def _files() -> dict[str, str]:
    """Return the repository's files by path."""
    found = sorted(REPOSITORY.rglob("*.py"))
    return {path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8") for path in found}


def _plans(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    """Return what was announced of a job's plans, in order: what happened, and its data."""
    return [(event.type, event.data) for event in events if event.type.startswith("plan.")]


def _show_change(stage: Stage, outcome: Outcome) -> None:
    trial = outcome.output or {}
    stage.say(f"{trial.get('diff', outcome.message)}")
    stage.expect("the change is planned, one task a file", _planned(outcome) > 1, f"{_planned(outcome)} tasks")
    stage.expect("and the tests hold, run as a tool step", trial.get("passed") is True, f"{trial.get('tests')} tests")


def _show_bounds(stage: Stage, outcome: Outcome, plans: list[tuple[str, dict[str, Any]]]) -> None:
    (refused, why), (made, plan) = plans
    stage.expect("a plan that is too long is refused", refused == "plan.refused", why["problem"])
    stage.expect(
        "and repaired once, within the bound",
        made == "plan.made" and plan["repaired"] and plan["count"] <= MAX_TASKS and outcome.output["passed"],
        f"{plan['count']} tasks of at most {MAX_TASKS}",
    )


def _show_not_allowed(stage: Stage, outcome: Outcome, plans: list[tuple[str, dict[str, Any]]]) -> None:
    stage.expect(
        "a plan that names what is not allowed, twice, fails the job",
        outcome.reason == "malformed_output" and [what for what, _ in plans] == ["plan.refused"],
        outcome.message,
    )
    stage.expect("and no task of it was done", set(outcome.receipt.pools) == {"planner"}, list(outcome.receipt.pools))


def _show_refused(stage: Stage, outcomes: dict[str, Outcome]) -> None:
    for name, what, said in (
        ("conflict", "two tasks with one file are detected", "both edit shop/basket.py"),
        ("outside", "an edit outside of the repository is refused", "leaves the repository"),
        ("cheat", "so is one of the tests", "tests are not for the model to change"),
    ):
        message = outcomes[name].message or ""
        stage.expect(f"{what}, before anything is applied", said in message and not _tried(outcomes[name]), message)


def _show_trials(stage: Stage, outcomes: dict[str, Outcome]) -> None:
    idle, endless, network = (outcomes[name].output or {} for name in ("idle", "endless", "network"))
    stage.expect(
        "without a change the tests do not hold", bool(idle.get("broken")), f"{len(idle.get('broken', []))} broken"
    )
    stage.expect("code that does not end is stopped", "stopped" in endless.get("log", ""), endless.get("log"))
    refused = "socket" in network.get("log", "") and not network.get("passed")
    stage.expect("code that asks the network gets none", refused, network.get("log", "")[-300:])


def _planned(outcome: Outcome) -> int:
    pattern = outcome.receipt.steps["edits"].pattern
    return pattern.planned if pattern else 0


def _tried(outcome: Outcome) -> bool:
    """Whether the edits were applied to a copy."""
    return "trial" in outcome.receipt.steps and outcome.receipt.steps["trial"].tasks > 0
