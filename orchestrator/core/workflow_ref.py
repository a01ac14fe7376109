"""How a workflow is named. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headrace.schemas.errors import DecodeError

_REF = re.compile(r"([a-z0-9][a-z0-9-]{0,99})(?:@([1-9][0-9]{0,9}))?")


@dataclass(frozen=True, slots=True)
class WorkflowRef:
    """A workflow by name."""

    name: str
    """Its name."""
    version: int | None
    """Its version; None is the newest."""

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_workflow_ref(text: str) -> WorkflowRef:
    """Read ``name@version`` or ``name``.

    Raises:
        DecodeError: the text has another shape.
    """
    found = _REF.fullmatch(text)
    if found is None:
        raise DecodeError(
            f"workflow {text[:120]!r} is not name@version",
            "write the name, or the name, @ and a whole number: summarise@3",
            kind="invalid_workflow_ref",
        )
    return WorkflowRef(found[1], int(found[2]) if found[2] else None)
