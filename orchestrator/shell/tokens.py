"""The token counter of this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

PIECE = 65_536
"""Characters that are encoded at once."""


def count_chars4(text: str) -> int:
    """Return the tokens of a text by the stated rule: four characters are one token, rounded up."""
    return -(-len(text) // 4)


@lru_cache(maxsize=1)
def token_counter() -> tuple[str, Callable[[str], int]]:
    """Return the name of the counter and the counter: o200k where the extra ``tokens`` is there, else ``chars4``.

    The name is stored with the job, so that a replay splits alike: see `counter_named`.
    """
    try:
        import bpe_openai
    except ImportError:
        return "chars4", count_chars4
    encode: Callable[[str], list[int]] = bpe_openai.get_encoding("o200k_base").encode_ordinary

    def count(text: str) -> int:
        """Count in pieces: the library refuses long texts."""
        return sum(len(encode(text[at : at + PIECE])) for at in range(0, len(text), PIECE))

    return "o200k", count


def counter_named(name: str) -> Callable[[str], int] | None:
    """Return the counter that a job was split with, or None where this process does not have it."""
    if name == "chars4":
        return count_chars4
    here, count = token_counter()
    return count if here == name else None
