"""Which steps of a workflow are confidential, whatever the job says, and why. Pure.

A step is where it says so, where its workflow does, where it names a confidential field of the input, and where it
names a step whose output is confidential. That is the output of every confidential step, but of one that says
``sensitivity: public``: its own calls stay where confidential ones may go, and what it yields is free for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from headrace.orchestrator.core.confidential_fields import ANY, Path, named_field, source_field
from headrace.orchestrator.core.problems import Problems
from headrace.orchestrator.core.scope import Read
from headrace.orchestrator.core.steps import Step
from headrace.schemas.base import Sensitivity
from headrace.schemas.pools import Pool

_DECLASSIFY = "or sensitivity: public on {}, where what it yields may be seen by all"


@dataclass(frozen=True, slots=True)
class Taint:
    """What is confidential in a workflow."""

    why: Mapping[str, str]
    """The confidential steps, each with its reason."""
    closed: Collection[str]
    """Those of them whose output is confidential too."""
    marked: tuple[Path, ...]
    """The confidential fields of the input."""

    def reason(self, reads: Iterable[Read], item: Path | None = None) -> str | None:
        """Return what is confidential of that which some templates read, or None.

        Args:
            item: the place in the input that their `item` comes from.
        """
        for read in reads:
            named = next((name for name in read.steps if name in self.closed), None)
            if named is not None:
                return f"it names step {named!r}, whose output is"
            if (field := named_field(self.marked, read.source, item)) is not None:
                return f"it names {field}, which is marked so"
        return None


def taint_of(steps: Sequence[Step], reads: Sequence[Read], marked: tuple[Path, ...], *, whole: bool) -> Taint:
    """Return what is confidential.

    Args:
        steps: in topological order.
        reads: every template of the workflow.
        marked: the confidential fields of the input.
        whole: whether the workflow says that it is.
    """
    why: dict[str, str] = {}
    closed: dict[str, None] = {}
    taint = Taint(why, closed.keys(), marked)
    if not (whole or marked or any(step.sensitivity or (step.nested and step.nested.closed) for step in steps)):
        return taint
    for step in steps:
        reason = "its workflow says so" if whole else _reason(step, taint, reads)
        if reason is not None:
            why[step.name] = reason
            if step.sensitivity is not Sensitivity.PUBLIC:
                closed[step.name] = None
    return taint


def _reason(step: Step, taint: Taint, reads: Sequence[Read]) -> str | None:
    if step.sensitivity is Sensitivity.CONFIDENTIAL:
        return "it says so"
    if step.nested is not None and step.nested.closed:
        return "what the workflow in it yields is"
    source = step.source
    if source is not None and source.step in taint.closed:
        return f"its items are those of step {source.step!r}, whose output is"
    place = source_field(source.expression) if source is not None and source.expression is not None else None
    item = None if place is None else (*place, ANY)
    begin = f"steps.{step.name}."
    own = [read for read in reads if read.path.startswith(begin)]
    if item is not None and step.makes_tasks:
        # The list itself is dealt out: what counts is what its tasks read of their item.
        own = [read for read in own if read.path != f"{begin}{step.kind}"]
    return taint.reason(own, item)


def check_public(
    steps: Iterable[Step], taint: Taint, problems: Problems, *, public: Collection[str], pools: Mapping[str, Pool]
) -> None:
    """Note confidential steps that go where everybody may see them, and declassifications of nothing.

    Args:
        public: the pools of public endpoints.
        pools: all pools.
    """
    for step in steps:
        reason = taint.why.get(step.name)
        if reason is None:
            if step.sensitivity is Sensitivity.PUBLIC and step.nested is None:
                message = "nothing that it names is confidential: leave it out"
                problems.add(f"steps.{step.name}.sensitivity", message)
            continue
        used = public_uses(step, public)
        if used:
            serve = {pools[pool].serves for pool in step.model_pools if pool in public}
            private = [name for name, pool in pools.items() if name not in public and pool.serves in serve]
            known = ", ".join(private[:12]) or "there is none"
            named = next((repr(name) for name in taint.closed if repr(name) in reason), None)
            way = f", {_DECLASSIFY.format(named)}" if named else ""
            message = (
                f"it is confidential ({reason}) and goes to public {', '.join(used)}: use a private one ({known}){way}"
            )
            problems.add(f"steps.{step.name}", message)


def public_uses(step: Step, public: Collection[str]) -> list[str]:
    """Return the public pools and tools that a step may call, as they are spoken of."""
    pools = [f"pool {pool}" for pool in step.model_pools if pool in public]
    return list(dict.fromkeys((*pools, *(f"tool {tool.name}" for tool in step.tools if tool.pool and tool.public))))
