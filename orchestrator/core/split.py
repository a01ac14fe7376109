"""Cutting a text into items, deterministically. Pure: the token counter is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.schemas.errors import ErrorKind, HeadraceError

CountTokens = Callable[[str], int]


class SplitError(HeadraceError):
    """A text that cannot be cut as the step asks."""

    kind: ErrorKind = ErrorKind.INVALID_INPUT


def split_text(text: str, *, by: str, size: int | None, count_tokens: CountTokens, format: str = "auto") -> list[Any]:
    """Return the items of a text: texts, or for records objects (lists of `size` objects where a size is given)."""
    raise NotImplementedError
