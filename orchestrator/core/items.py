"""Items by reference: a job's list of up to a million lines that lies in the object store, in parts.

What is in memory of it: the reference (one entry a part), and the parts that were looked at last. A part is read and
checked when its first item goes out, and again for a retry that comes long after.
"""

from __future__ import annotations

from typing import Any, Never

from jinja2 import UndefinedError

from headrace.orchestrator.core.item_lines import read_item
from headrace.orchestrator.core.parts import Lines, PartsIndex, count_lines
from headrace.orchestrator.core.payloads import InputBroken, ItemBroken, PayloadLost
from headrace.orchestrator.core.state import InputPart, items_key
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.template_uses import ItemsUse, items_use
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import IllegalTransition
from headrace.schemas.messages import ItemsPart, ItemsRef, ObjectRef

_ELSEWHERE = (
    "input.items of this job is given by reference: it can be the source of a for_each or a reduce, "
    "as {{ input.items }}, or be counted, as {{ input.items | length }}"
)


class ItemsElsewhere:
    """What stands for ``input.items`` where templates look: it can be counted, and says so to all else."""

    __slots__ = ("_total",)

    def __init__(self, total: int) -> None:
        self._total = total

    def __len__(self) -> int:
        return self._total

    def _fail_with_undefined_error(self, *_: Any, **__: Any) -> Never:
        """Say what can be done. The sandbox treats a value that has this like one that is not there."""
        raise UndefinedError(_ELSEWHERE)

    __str__ = __iter__ = __getitem__ = __contains__ = __bool__ = _fail_with_undefined_error


def by_reference(turn: Turn, step: Step) -> bool:
    """Return whether a step takes its items from the job's items by reference."""
    if not turn.header.spec.items_total or step.source is None or step.source.expression is None:
        return False
    return items_use(step.source.expression) is ItemsUse.SOURCE


def referenced_item(turn: Turn, index: int) -> Any:
    """Return one item.

    Raises:
        ItemBroken: its line is no JSON.
        InputBroken: its part is gone, or has not the lines that the submission says: no item of it can be trusted.
        DependencyUnavailable: the part cannot be read now.
    """
    parts = _index(turn)
    number, line = parts.locate(index)
    part = parts.parts[number]
    lines = _lines(turn, number, part)
    if line == 0 and number + 1 < len(parts.parts):
        turn.expect((parts.parts[number + 1].ref,))
    try:
        return read_item(lines.line(line), most=turn.environment.limits.max_job_bytes)
    except ItemBroken as error:
        where = f"line {line + 1} of part {number + 1} ({part.key})"
        raise ItemBroken(f"item {index}, {where}: {error.message}", kind=error.kind) from None


def _index(turn: Turn) -> PartsIndex:
    values = turn.view.memo.values
    if "items" not in values:
        values["items"] = PartsIndex.of(ItemsRef.model_validate_json(_reference(turn)))
    found: PartsIndex = values["items"]
    return found


def _reference(turn: Turn) -> str:
    header, texts = turn.header, []
    for number in range(header.spec.items_parts):
        record = turn.record(items_key(header.spec.job_id, number))
        if not isinstance(record, InputPart):
            raise IllegalTransition(f"job {header.spec.job_id}: part {number} of its items is not in the state")
        texts.append(record.text)
    return "".join(texts)


def _lines(turn: Turn, number: int, part: ItemsPart) -> Lines:
    def load(ref: ObjectRef) -> bytes:
        data = turn.load(ref)
        if (found := count_lines(data)) != part.items:
            where = f"part {number + 1} of the items ({part.key})"
            raise InputBroken(f"{where} has {found:,} lines, and the submission says {part.items:,}")
        return data

    try:
        return turn.environment.lines.lines(part.ref, load)
    except PayloadLost as error:
        raise InputBroken(f"part {number + 1} of the items: {error.message}", kind=error.kind) from None
