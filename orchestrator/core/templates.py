"""Templates: Jinja2 in a sandbox with allow-lists and bounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.schemas.errors import ErrorKind, HeadraceError


class TemplateInvalid(HeadraceError):
    """A template that does not compile, or uses what templates may not."""


class RenderError(HeadraceError):
    """A template that cannot be rendered with these values. `kind` goes to the failure."""

    def __init__(self, message: str, hint: str = "", *, kind: ErrorKind = ErrorKind.INVALID_INPUT) -> None:
        super().__init__(message, hint)
        self.kind = kind


def render(source: str, context: Mapping[str, Any], *, step: str = "") -> str:
    """Return the text of a template.

    Args:
        source: the template (compiled once, then cached by its source).
        context: ``input``, and what the step may see: ``item``, ``index``, ``items``, outputs of steps.
        step: for the message of an error.

    Raises:
        RenderError: a value is missing, has the wrong type, or a bound is exceeded.
        TemplateInvalid: the template does not compile; the workflow's check has refused those.
    """
    raise NotImplementedError


def evaluate(source: str, context: Mapping[str, Any], *, step: str = "") -> Any:
    """Return the value of a template: of one expression its native value, of mixed text a text."""
    raise NotImplementedError


def evaluate_structure(structure: Any, context: Mapping[str, Any], *, step: str = "") -> Any:
    """Return a structure with each of its texts evaluated; mappings and lists keep their shape."""
    raise NotImplementedError


def references(source: str) -> tuple[str, ...]:
    """Return the names that a template reads, sorted."""
    raise NotImplementedError
