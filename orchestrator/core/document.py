"""A workflow's document, read piece by piece, so that one bad step hides no other. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from headrace.orchestrator.core.json_schema import SchemaInvalid, check_schema
from headrace.orchestrator.core.problems import Problems
from headrace.schemas.base import Sensitivity
from headrace.schemas.workflow import KINDS, MAX_STEPS, STEP_PATTERN, StepSpec, WorkflowSpec

RESERVED = (
    *("input", "item", "index", "items", "range", "loop", "self", "caller", "varargs", "kwargs", "output", "job"),
    *("true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "else", "elif", "for"),
    *("recursive", "ignore", "with", "without", "context"),
)
"""Names that mean something in a template, or soon will."""
_OPTIONS = (
    *("require", "retry", "timeout_s", "on_error", "max_in_flight", "key", "fan_in"),
    *("temperature", "top_p", "seed", "stop", "max_output_tokens"),
)
"""Keys that a step holds without."""
_STEP_NAME = re.compile(STEP_PATTERN)


@dataclass(frozen=True, slots=True)
class Document:
    """What could be read of a document."""

    name: str
    """Its name, or a stand-in for messages."""
    version: int
    """Its version, or 0."""
    input_schema: dict[str, Any]
    """JSON Schema of the input."""
    share: float | None
    """The share of a version on trial, or None."""
    confidential: bool
    """Whether it says that every step is."""
    raw_steps: dict[str, Any]
    """Every step as written, by name, in the order of the document."""
    specs: dict[str, StepSpec]
    """The steps that hold on their own."""
    output: Any
    """The output as written, or None."""


def read_document(document: Mapping[str, Any], problems: Problems) -> Document:
    """Read a document; what is wrong goes to `problems`, and what is right is returned."""
    raw_steps = document.get("steps")
    steps = raw_steps if isinstance(raw_steps, dict) and 0 < len(raw_steps) <= MAX_STEPS else {}
    _read_head(document, problems, steps_hold=steps is raw_steps)
    name, version, schema = document.get("name"), document.get("version"), document.get("input", {})
    share = document.get("share")
    if isinstance(schema, dict):
        check_schema_at("input", schema, problems)
    return Document(
        name=name[:100] if isinstance(name, str) else "(no name)",
        version=version if isinstance(version, int) else 0,
        input_schema=schema if isinstance(schema, dict) else {},
        share=share if isinstance(share, float) else None,
        confidential=document.get("sensitivity") == Sensitivity.CONFIDENTIAL,
        raw_steps=steps,
        specs=_read_steps(steps, problems),
        output=document.get("output"),
    )


def check_schema_at(path: str, schema: dict[str, Any], problems: Problems) -> None:
    """Note what is wrong with a JSON Schema."""
    try:
        check_schema(schema)
    except SchemaInvalid as error:
        problems.add(path, f"not a valid JSON Schema: {error.message}")


def _read_head(document: Mapping[str, Any], problems: Problems, *, steps_hold: bool) -> None:
    """Check everything but the steps, which a stand-in takes the place of where there are some."""
    head = {**document, "steps": {"stand_in": {}}} if steps_hold else dict(document)
    try:
        WorkflowSpec.model_validate(head)
    except ValidationError as error:
        problems.add_findings("", WorkflowSpec, error)


def _read_steps(steps: dict[str, Any], problems: Problems) -> dict[str, StepSpec]:
    specs: dict[str, StepSpec] = {}
    for name, raw in steps.items():
        path = f"steps.{name}"
        _check_name(name, path, problems)
        try:
            specs[name] = StepSpec.model_validate(raw)
        except ValidationError as error:
            problems.add_findings(path, StepSpec, error)
            if (rest := _without(raw, error)) is not None:
                specs[name] = rest
    return specs


def _without(raw: Any, error: ValidationError) -> StepSpec | None:
    """Return a step without its wrong options, so that its references are checked all the same.

    Only where nothing else is wrong: what is missing would be reported twice.
    """
    if not isinstance(raw, dict) or not any(kind in raw for kind in KINDS):
        return None
    rest = copy.deepcopy(raw)
    for finding in error.errors(include_url=False, include_input=False, include_context=False):
        if finding["type"] != "extra_forbidden" and not any(part in _OPTIONS for part in finding["loc"]):
            return None
        _remove(rest, finding["loc"])
    try:
        return StepSpec.model_validate(rest)
    except ValidationError:
        return None


def _remove(value: Any, loc: tuple[int | str, ...]) -> None:
    """Remove what a finding is about: the deepest part of its place that the document has."""
    for part, below in zip(loc, (*loc[1:], None), strict=True):
        if not isinstance(value, dict) or part not in value:
            return
        inner = value[part]
        if not isinstance(inner, dict) or below not in inner:
            del value[part]
            return
        value = inner


def _check_name(name: str, path: str, problems: Problems) -> None:
    if not _STEP_NAME.match(name):
        problems.add(path, "a step's name is a letter, then letters, digits and underscores, at most 64")
    elif name in RESERVED:
        problems.add(path, f"{name!r} has a meaning in templates; choose another name")
