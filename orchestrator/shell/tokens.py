"""The token counter of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from headrace.orchestrator.core.split import count_chars4

__all__ = ["count_chars4", "count_o200k", "counter_named", "token_counter"]

PACKAGE = "bpe_openai"
"""Of the extra ``tokens``."""
PIECE = 65_536
"""Characters that are encoded at once."""


def token_counter() -> tuple[str, Callable[[str], int]]:
    """Return the name of the counter and the counter: o200k where the extra ``tokens`` is there, else ``chars4``.

    The name is stored with the job, so that a replay splits alike: see `counter_named`.
    """
    return ("chars4", count_chars4) if find_spec(PACKAGE) is None else ("o200k", count_o200k)


def count_o200k(text: str) -> int:
    """Return the tokens of a text by o200k, in pieces: the library refuses long texts."""
    encode = _o200k()
    return sum(len(encode(text[at : at + PIECE])) for at in range(0, len(text), PIECE))


@cache
def _o200k() -> Callable[[str], list[int]]:
    """Return the encoder. Its tables take half a second and 130 MB: for the first text that is split, not at start."""
    encode: Callable[[str], list[int]] = import_module(PACKAGE).get_encoding("o200k_base").encode_ordinary
    return encode


def counter_named(name: str) -> Callable[[str], int] | None:
    """Return the counter that a job was split with, or None where this process does not have it."""
    if name == "chars4":
        return count_chars4
    here, count = token_counter()
    return count if here == name else None
