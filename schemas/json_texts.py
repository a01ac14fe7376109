"""The texts of a JSON value, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each of its texts changed; keys stay as they are."""
    if isinstance(value, dict):
        return {name: map_texts(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [map_texts(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
