"""The problems of a workflow, gathered while it is read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError

from headrace.schemas.errors import Problem
from headrace.schemas.workflow import ELSEWHERE, NOT_YET

MAX_PROBLEMS = 200

_NAMES = {
    "WorkflowSpec": "workflow",
    "StepSpec": "step",
    "LlmSpec": "llm",
    "RouteSpec": "route",
    "BranchSpec": "branch",
    "AllowedSpec": "allowed",
    "SplitSpec": "split",
    "RetrySpec": "retry",
}
_WORDS = {
    "model_type": "a mapping is needed",
    "dict_type": "a mapping is needed",
    "list_type": "a list is needed",
    "string_type": "a text is needed",
    "int_type": "a whole number is needed",
    "float_type": "a number is needed",
}
_CHOICES = {
    "require": "use all, {at_least: <a number of items>} or {share: <0 to 1>}",
    "pools": "use names of pools, from 2 to 8; a list of names in place of one: several asked side by side",
    "on_timeout": "use fail, skip or {default: <a value>}",
    "on_error": "use fail, skip or {default: <a value>}",
}


@dataclass(slots=True)
class Problems:
    """Everything that is wrong with one document, in the order it was found."""

    lines: Mapping[str, int]
    """The line of each path."""
    found: list[Problem] = field(default_factory=list)
    """The problems."""

    def add(self, path: str, message: str) -> None:
        """Note a problem; the same twice is noted once, and above `MAX_PROBLEMS` none."""
        problem = Problem(path or "workflow", message, self._line(path))
        if len(self.found) < MAX_PROBLEMS and problem not in self.found:
            self.found.append(problem)

    def _line(self, path: str) -> int | None:
        """Return the line of a path, or of the nearest part above it that has one."""
        while path not in self.lines and path:
            path = path.rpartition(".")[0]
        return self.lines.get(path)

    def add_findings(self, path: str, model: type[BaseModel], error: ValidationError) -> None:
        """Note what pydantic found, in our words."""
        for finding in error.errors(include_url=False, include_input=False, include_context=False):
            loc = [str(part) for part in finding["loc"]]
            choice = next((at for at, part in enumerate(loc) if part in _CHOICES), None)
            if choice is not None:
                self.add(_join(path, loc[: choice + 1]), _CHOICES[loc[choice]])
            elif finding["type"] == "extra_forbidden":
                self.add(_join(path, loc), _unknown(loc[-1], _owner(model, loc[:-1])))
            elif finding["type"] == "missing":
                self.add(_join(path, loc[:-1]), f"{loc[-1]!r} is missing")
            else:
                self.add(_join(path, loc), _WORDS.get(finding["type"], finding["msg"].removeprefix("Value error, ")))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean …?)``, or what there is, for the end of a message."""
    names = list(known)
    near = get_close_matches(name[:100], names, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]!r}?)"
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f" (known: {listed or 'none'})"


def key_names(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model, as authors write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _join(path: str, loc: list[str]) -> str:
    return ".".join([path, *loc] if path else loc)


def _owner(model: type[BaseModel], loc: list[str]) -> type[BaseModel]:
    """Return the model that a key stands in: the unions are handled before, so a walk by field is enough."""
    for part in loc:
        for name, info in model.model_fields.items():
            if part in (name, info.alias):
                candidates = [info.annotation, *getattr(info.annotation, "__args__", ())]
                nested = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]
                model = nested[0] if nested else model
    return model


def _unknown(name: str, model: type[BaseModel]) -> str:
    place = _NAMES.get(model.__name__, "")
    if name in ELSEWHERE.get(place, {}):
        return f"{name!r} does not stand here: {ELSEWHERE[place][name]}"
    if name in NOT_YET.get(place, ()):
        return f"not yet: {name!r} is part of the language, but this Headrace does not run it"
    return f"unknown key {name[:80]!r}{suggestion(name, key_names(model))}"
