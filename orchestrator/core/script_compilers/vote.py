"""``vote`` of a document."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.script_compilers.answer import answer_schema, sample_of
from headrace.orchestrator.core.scripts.plans import Pick, VotePlan
from headrace.schemas.workflow_patterns import VoterSpec, VoteSpec

MAX_VOTERS = 32
_OWN = ("prompt", "system", "temperature", "top_p", "seed")
"""What a voter may have of its own."""
_ONLY: dict[str, tuple[Pick, ...]] = {
    "quorum": (Pick.MAJORITY,),
    "compare": (Pick.MAJORITY,),
    "judge": (Pick.MAJORITY, Pick.BEST_OF),
    "merge": (Pick.MERGE,),
}
"""Options that would be ignored elsewhere."""


def vote(calls: CallCompiler, path: str, spec: VoteSpec) -> tuple[VotePlan, Needs]:
    """Return the plan of a vote, and the steps that it refers to."""
    pick, problems = Pick(spec.pick), calls.scope.problems
    for option, picks in _ONLY.items():
        if getattr(spec, option) is not None and pick not in picks:
            problems.add(f"{path}.{option}", f"{option} belongs to pick: {' or '.join(picks)}")
    if spec.ask == "as_needed" and pick in (Pick.BEST_OF, Pick.MERGE):
        problems.add(f"{path}.ask", "as_needed belongs to pick: majority or first_valid")
    if pick is Pick.BEST_OF and spec.judge is None:
        problems.add(path, "best_of needs judge: the call that says which answer is the best")
    voters, needs = _voters(calls, path, spec)
    if spec.quorum is not None and spec.quorum > len(voters):
        problems.add(f"{path}.quorum", f"{len(voters)} votes cannot make a quorum of {spec.quorum}")
    if spec.compare is not None:
        needs += calls.condition(f"{path}.compare", spec.compare, ("answer",))
    judge: LlmPlan | None = None
    merge: LlmPlan | None = None
    if spec.judge is not None:
        judge, more = calls.llm(f"{path}.judge", spec.judge, ("answers",))
        needs += more
        if spec.judge.output is not None:
            problems.add(f"{path}.judge.output", "a judge's answer is a number: leave output out")
        best = {"type": "integer", "description": "the number of the best answer, from 0"}
        judge = replace(judge, output_schema=answer_schema(best=best))
    if spec.merge is not None:
        merge, more = calls.llm(f"{path}.merge", spec.merge, ("answers",))
        needs += more
    quorum = len(voters) // 2 + 1 if spec.quorum is None else spec.quorum
    plan = VotePlan(
        voters=tuple(voters),
        pick=pick,
        quorum=quorum,
        strict=spec.quorum is not None,
        as_needed=spec.ask == "as_needed",
        compare=spec.compare,
        judge=judge,
        merge=merge,
    )
    return plan, needs


def _voters(calls: CallCompiler, path: str, spec: VoteSpec) -> tuple[list[LlmPlan], Needs]:
    voters: list[LlmPlan] = []
    needs: Needs = ()
    for at, voter in enumerate(spec.voters):
        place = f"{path}.voters.{at}"
        calls.pool(f"{place}.pool", voter.pool)
        own = {name: value for name in _OWN if (value := getattr(voter, name)) is not None}
        if spec.messages is not None and (voter.prompt is not None or voter.system is not None):
            calls.scope.problems.add(place, "the vote has messages, so a voter has no prompt of its own")
            continue
        # A text of the voter's own is at fault where it stands, and the vote's where that stands.
        asks = place if _asks_otherwise(voter) else path
        call, more = calls.call(asks, spec.model_copy(update=own), voter.pool)
        needs += more
        voters += [sample_of(call, voter.pool, number) for number in range(voter.samples)]
    if not 2 <= len(voters) <= MAX_VOTERS:
        calls.scope.problems.add(f"{path}.voters", f"a vote has 2 to {MAX_VOTERS} calls, not {len(voters)}")
    return voters, needs


def _asks_otherwise(voter: VoterSpec) -> bool:
    return voter.prompt is not None or voter.system is not None
