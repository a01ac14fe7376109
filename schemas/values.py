"""Value objects of the hot path: dataclasses that the type checker holds frozen, and that are made fast.

A frozen dataclass sets each field through ``object.__setattr__``: one of twenty fields takes 1.8 microseconds to make,
and a plain one takes 0.5. Several are made for every task. Assignments to their fields are found where they are
written, by mypy; the tests set `CHECKED` in the environment, and there they are frozen in fact.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__all__ = ["CHECKED", "value_object"]

CHECKED = "HEADRACE_CHECKED"
"""Environment variable: set, value objects refuse assignments at run time."""

if TYPE_CHECKING:
    from dataclasses import dataclass as value_object
else:
    import dataclasses

    def value_object(*, frozen: bool, slots: bool) -> Any:
        """Return a decorator, as `dataclasses.dataclass` does; compared and hashed by value."""
        assert frozen, "a value object does not change"
        if os.environ.get(CHECKED):
            return dataclasses.dataclass(frozen=True, slots=slots)
        return dataclasses.dataclass(slots=slots, unsafe_hash=True)
