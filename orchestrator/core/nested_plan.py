"""A nested workflow of a compiled workflow, not yet rendered. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NestedPlan:
    """One nested workflow."""

    ref: str
    """``name@version``."""
    document: dict[str, Any] | None
    """The whole workflow, where it is written out."""
    input: dict[str, Any]
    """A structure of templates, for `templates.evaluate_structure`."""
    texts: tuple[str, ...]
    """The templates in it."""
    closed: bool = False
    """Whether it is written out, and what it yields is confidential."""
    tokens: int | None = None
    """What it may use of the budget, where that is said."""
    microusd: int | None = None

    @property
    def workflow(self) -> str | dict[str, Any]:
        """What a submission of it says."""
        return self.ref if self.document is None else self.document

    @property
    def pool(self) -> str:
        """Its place on the receipt and in the window: no pool is called so."""
        return f"workflow {self.ref}"
