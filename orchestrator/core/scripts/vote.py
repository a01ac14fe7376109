"""``vote``: one question to several models or samples, and one answer of theirs.

Stages: the voters side by side, then the judge or the merging call where one is needed. A vote is over as soon as the
voters that are missing can change nothing: at its quorum, or at the first answer where the first will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.aggregate import REDUCERS
from headrace.orchestrator.core.scripts.answers import Party, parties
from headrace.orchestrator.core.scripts.plans import Pick, VotePlan
from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict
from headrace.orchestrator.core.state import TaskStatus
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, PatternReceipt

Answers = tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """The voters as far as they were asked, and what they said."""

    plan: VotePlan
    run: Run
    voters: Answers
    after: Answer | None = None
    """What the judge or the merging call said; None before it is asked."""

    @property
    def good(self) -> Answers:
        """The answers that there are."""
        return tuple(answer for answer in self.voters if answer.good)

    def parties(self) -> list[Party]:
        """Return the answers by what they say, the most votes first."""
        return parties(self.run, self.voters, self.plan.compare)


def decide(plan: VotePlan, run: Run) -> Verdict:
    """Say what follows."""
    left = list(run.past)
    voters: Answers = ()
    while count := _next(plan, run, voters):
        if not left:
            return Stage(tuple(Call(llm) for llm in plan.voters[len(voters) : len(voters) + count]))
        voters += left.pop(0)
    vote = Vote(plan, run, voters, left[0][0] if left else None)
    if not vote.good:
        return Failed(voters[0].failure)
    match plan.pick:
        case Pick.FIRST_VALID:
            return _first_valid(vote)
        case Pick.MAJORITY:
            return _majority(vote)
        case Pick.BEST_OF:
            return _by_judge(vote, vote.good)
        case Pick.MERGE:
            return _merged(vote)


def early(plan: VotePlan, run: Run, answers: Answers) -> Finished | None:
    """Return the end where the voters that are missing can change nothing."""
    voters = tuple(answer for stage in run.past for answer in stage)
    if len(voters) == len(plan.voters):
        return None  # The judge is awaited.
    vote = Vote(plan, run, voters + answers)
    if plan.pick is Pick.FIRST_VALID and vote.good:
        return _first_valid(vote)
    if plan.pick is Pick.MAJORITY and (largest := _at_quorum(plan, vote.parties())) is not None:
        return _decided(vote, largest)
    return None


def _next(plan: VotePlan, run: Run, voters: Answers) -> int:
    """Return how many voters are asked next: all, or as many as are missing for the quorum; 0 where all that need be
    were.
    """
    rest = len(plan.voters) - len(voters)
    if not plan.as_needed:
        return rest
    vote = Vote(plan, run, voters)
    if plan.pick is Pick.FIRST_VALID:
        return 0 if vote.good else min(1, rest)
    found = vote.parties()
    return min(rest, max(0, plan.quorum - (found[0].size if found else 0)))


def _first_valid(vote: Vote) -> Finished:
    return _finished(vote, vote.good[0].value, {"task": vote.good[0].index})


def _at_quorum(plan: VotePlan, found: list[Party]) -> Party | None:
    return found[0] if found and found[0].size >= plan.quorum else None


def _majority(vote: Vote) -> Verdict:
    """At quorum the largest party wins; below it the judge decides among the largest, or a quorum that was asked for
    fails the step, or the most votes win, of equals the one whose first voter stands first.
    """
    plan, found = vote.plan, vote.parties()
    if (winner := _at_quorum(plan, found)) is not None:
        return _decided(vote, winner)
    largest = [party for party in found if party.size == found[0].size]
    if largest and plan.judge is not None and (len(largest) > 1 or plan.strict):
        return _by_judge(vote, tuple(party.first for party in largest))
    if plan.strict or not largest:
        size = found[0].size if found else 0
        message = f"no quorum: {size} of {len(vote.voters)} votes are the same, {plan.quorum} must be"
        return Failed(Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message))
    return _decided(vote, found[0], tied=len(largest) > 1)


def _by_judge(vote: Vote, choice: Answers) -> Verdict:
    """Ask which of some answers is the best, or take what the judge said; of one there is nothing to ask."""
    if len(choice) == 1:
        return _finished(vote, choice[0].value, {"task": choice[0].index, "answers": 1})
    assert vote.plan.judge is not None
    if vote.after is None:
        return Stage((Call(vote.plan.judge, _names(choice)),))
    if not vote.after.good:
        return Failed(vote.after.failure)
    value = vote.after.value()
    best = value.get("best") if isinstance(value, dict) else None
    if isinstance(best, bool) or not isinstance(best, int) or not 0 <= best < len(choice):
        message = f"the judge names none of the {len(choice)} answers by its number from 0"
        return Failed(Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message))
    return _finished(vote, choice[best].value, {"by": "judge", "task": choice[best].index, "answers": len(choice)})


def _merged(vote: Vote) -> Verdict:
    """Objects field by field, a later voter's going before; lists one behind the other; or what a call makes of all."""
    data = {"answers": len(vote.good)}
    if vote.plan.merge is None:
        values = [answer.value() for answer in vote.good]
        reducer = "merge_objects" if all(isinstance(value, dict) for value in values) else "concat"
        if reducer == "concat" and not all(isinstance(value, list) for value in values):
            message = "objects or lists can be merged as they are, and nothing else: texts need a merging call"
            return Failed(Failure(kind=ErrorKind.INVALID_INPUT, message=message))
        return _finished(vote, lambda: REDUCERS[reducer](values), data)
    if vote.after is None:
        return Stage((Call(vote.plan.merge, _names(vote.good)),))
    return _finished(vote, vote.after.value, data) if vote.after.good else Failed(vote.after.failure)


def _names(answers: Answers) -> Callable[[], dict[str, Any]]:
    return lambda: {"answers": [answer.value() for answer in answers]}


def _decided(vote: Vote, winner: Party, *, tied: bool = False) -> Finished:
    data: dict[str, Any] = {"task": winner.first.index, "votes": winner.size}
    if tied:
        data["tied"] = True
    return _finished(vote, winner.first.value, data)


def _finished(vote: Vote, value: Callable[[], Any], data: dict[str, Any]) -> Finished:
    """Return the end. What was saved are the calls that were never made, as far as that is known by now."""
    saved = len(vote.plan.voters) - len(vote.voters) + sum(_unmade(answer) for answer in vote.voters)
    out = sum(answer.record is not None and not answer.ended for answer in vote.voters)
    data = {**data, "voters": len(vote.plan.voters), "saved_calls": saved, "called_off": out}
    return Finished(value, (News("vote.decided", "", data),), PatternReceipt(saved_calls=saved))


def _unmade(answer: Answer) -> bool:
    """Return whether a voter was never asked, or its worker did not begin since it had been called off."""
    record = answer.record
    if record is None:
        return True
    return record.status is TaskStatus.FAILED and answer.failure.kind is ErrorKind.CANCELLED
