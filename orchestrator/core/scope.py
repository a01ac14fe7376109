"""What the templates of a workflow may refer to, and what they do refer to. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.problems import Problems, suggestion
from headrace.orchestrator.core.templates import TemplateInvalid, is_expression, references

MAX_TEMPLATES = 500
"""Of one workflow: each costs a compilation of about a millisecond, and workflows come inline with jobs."""
GLOBAL = ("input", "job")
"""The names that every template knows: ``job`` has the job's id, labels, tenant and lane."""
_LOCAL = {"item": "for_each", "index": "for_each", "items": "reduce"}
"""The names that only some steps know, and which."""


@dataclass(frozen=True, slots=True)
class Read:
    """One template, and the steps that it refers to."""

    path: str
    """Where it stands."""
    source: str
    steps: tuple[str, ...]


@dataclass(slots=True)
class Scope:
    """The names of a workflow, while it is checked."""

    steps: tuple[str, ...]
    """The names of all steps."""
    problems: Problems
    """Where findings go."""
    templates: int = 0
    """How many templates were compiled."""
    reads: list[Read] = field(default_factory=list)
    """Every template that was looked at."""

    def names(self, path: str, source: str, *, local: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the steps that a template refers to, noting what is wrong with it.

        Args:
            path: where it stands.
            source: the template.
            local: names that are known here only, such as ``item``; they go before steps of the same name.
        """
        self.templates += 1
        if self.templates > MAX_TEMPLATES:
            self.problems.add("", f"more than {MAX_TEMPLATES} templates")
            return ()
        try:
            found = references(source)
        except TemplateInvalid as error:
            self.problems.add(path, f"the template does not hold: {error.message}")
            return ()
        steps = tuple(name for name in found if self._is_step(path, name, local))
        self.reads.append(Read(path, source, steps))
        return steps

    def _is_step(self, path: str, name: str, local: tuple[str, ...]) -> bool:
        if name in local:
            return False
        if name in self.steps:
            return True
        if name in _LOCAL:
            self.problems.add(path, f"{name!r} is known in the templates of {_LOCAL[name]} only")
        elif name not in GLOBAL:
            known = (*GLOBAL, *local, *self.steps)
            self.problems.add(path, f"unknown reference {name[:80]!r}{suggestion(name, known)}")
        return False

    def structure(self, path: str, structure: Any) -> tuple[str, ...]:
        """Return the steps that a structure of templates refers to, in the order they are first named."""
        found: dict[str, None] = {}
        for place, source in _texts(path, structure):
            found.update(dict.fromkeys(self.names(place, source)))
        return tuple(found)

    def is_expression(self, source: str) -> bool:
        """Return whether a template is one expression; one that does not compile counts as such, and is noted."""
        try:
            return is_expression(source)
        except TemplateInvalid:
            return True


def _texts(path: str, structure: Any) -> Iterator[tuple[str, str]]:
    if isinstance(structure, str):
        yield path, structure
    elif isinstance(structure, dict):
        for key, part in structure.items():
            yield from _texts(f"{path}.{key}", part)
    elif isinstance(structure, list):
        for at, part in enumerate(structure):
            yield from _texts(f"{path}.{at}", part)
