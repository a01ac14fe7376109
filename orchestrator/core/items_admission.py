"""May a job give its items by reference? Checked once, before anything is dispatched and paid for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.template_uses import ItemsUse, items_use, texts_of
from headrace.orchestrator.core.view import Environment
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, ItemsRef
from headrace.schemas.submission import MAX_ITEMS

_INSTEAD = (
    "items by reference can be the source of a for_each or a reduce, as {{ input.items }}, "
    "or be counted, as {{ input.items | length }}"
)


def check_items(graph: Graph, items: ItemsRef, environment: Environment) -> Failure | None:
    """Return why a workflow cannot take items by reference, or None.

    What only rendering can tell (``input[name]``) fails there, with the same message.
    """
    if not environment.objects:
        message = "items by reference need an object store: install the extra `objects` on every orchestrator"
        return Failure(kind=ErrorKind.INVALID_JOB, message=message)
    if items.total > MAX_ITEMS:
        message = f"{items.total:,} items; the limit is {MAX_ITEMS:,}: split the job"
        return Failure(kind=ErrorKind.TOO_LARGE, message=message)
    if wrong := [place for place, use in _uses(graph) if use is ItemsUse.OTHER]:
        message = f"{', '.join(wrong[:10])}: {_INSTEAD}"
        return Failure(kind=ErrorKind.INVALID_INPUT, message=message)
    if all(use is ItemsUse.NONE for _, use in _uses(graph)):
        message = f"items are given by reference, and no template of {graph.ref} reads input.items"
        return Failure(kind=ErrorKind.INVALID_INPUT, message=message)
    return _check_reducers(graph, items, environment.limits.max_job_bytes)


def _check_reducers(graph: Graph, items: ItemsRef, most: int) -> Failure | None:
    """A pure reducer takes all of its items at once: as much as could have come inline."""
    size = sum(part.size_bytes for part in items.parts)
    reducers = [step.name for step in graph.steps if step.reducer is not None and _takes_items(step)]
    if not reducers or size <= most:
        return None
    message = (
        f"steps.{reducers[0]}: a reducer without a model takes at most {most:,} bytes of items by reference, and these "
        f"have {size:,}: reduce with llm, or count with {{{{ input.items | length }}}}"
    )
    return Failure(kind=ErrorKind.TOO_LARGE, message=message)


def _takes_items(step: Step) -> bool:
    return step.source is not None and items_use(step.source.expression or "") is ItemsUse.SOURCE


def _uses(graph: Graph) -> Iterator[tuple[str, ItemsUse]]:
    """Yield every template with what it does with the items; being their source is for sources alone."""
    for step in graph.steps:
        if step.source is not None and step.source.expression is not None:
            yield f"steps.{step.name}.{step.kind}", items_use(step.source.expression)
        if step.split is not None:
            yield f"steps.{step.name}.split", _no_source(step.split.text)
        for text in step.texts():
            yield f"steps.{step.name}.{step.script_name or 'llm'}", _no_source(text)
    for text in texts_of(graph.output):
        yield "output", _no_source(text)


def _no_source(text: str) -> ItemsUse:
    use = items_use(text)
    return ItemsUse.OTHER if use is ItemsUse.SOURCE else use
