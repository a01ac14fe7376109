"""Embeddings on the wire: vectors as text, and what a call for them may hold. Pure.

A vector travels as base64 of its float32 values, lowest byte first: 2,048 characters for 384 values, written in 2 µs.
A JSON list of six digits a value takes 3,600 characters and 190 µs, one of all digits 8,000 (ADR 27).
"""

from __future__ import annotations

import binascii
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from headrace.schemas.calls import EmbedCall, Examples
from headrace.schemas.errors import DecodeError

if TYPE_CHECKING:
    Vector = array[float]
    """One embedding: float32 values."""
else:
    Vector = array

MAX_TEXTS = 2_048
"""Of one call: what OpenAI takes in one request."""
MAX_TEXT_CHARS = 32_768
"""Of a text: four times the context of the usual embedding model."""
MAX_EXAMPLES = 10_000
"""Of all routes of a call: a worker searches them in less than a millisecond."""
MAX_EXAMPLE_CHARS = 2_000
MAX_ROUTES = 1_000
MAX_ROUTE_NAME = 100
MAX_DIMENSIONS = 16_384


def packed(vector: Vector) -> str:
    """Return a vector as it travels."""
    return b64encode(_little(vector).tobytes()).decode()


def unpacked(text: str) -> Vector:
    """Return a vector from how it travels.

    Raises:
        ValueError: it is none, or holds what is no number.
    """
    vector: Vector = array("f")
    try:
        vector.frombytes(b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    return checked_vector(_little(vector))


def checked_vector(values: Iterable[float]) -> Vector:
    """Return values as a vector.

    Raises:
        ValueError: there are none, too many, or one is no finite number within float32.
    """
    try:
        vector = array("f", values)
    except (TypeError, OverflowError):
        raise ValueError("a vector's values are numbers") from None
    if not 1 <= len(vector) <= MAX_DIMENSIONS:
        raise ValueError(f"a vector has 1 to {MAX_DIMENSIONS:,} values, not {len(vector):,}")
    if not all(map(isfinite, vector)):
        raise ValueError("a vector's values are finite")
    return vector


def example_problem(examples: Sequence[Examples]) -> str | None:
    """Return what is wrong with a call's examples, or None."""
    names = [each.route for each in examples]
    if len(names) > MAX_ROUTES:
        return f"{len(names):,} routes; the most is {MAX_ROUTES:,}"
    if len(set(names)) < len(names):
        return "a route is named twice"
    if any(not 1 <= len(name) <= MAX_ROUTE_NAME for name in names):
        return f"a route's name has 1 to {MAX_ROUTE_NAME} characters"
    if empty := next((each.route for each in examples if not each.texts), None):
        return f"route {empty!r} has no example"
    if (count := sum(len(each.texts) for each in examples)) > MAX_EXAMPLES:
        return f"{count:,} examples; the most is {MAX_EXAMPLES:,}"
    for each in examples:
        if any(not text.strip() or len(text) > MAX_EXAMPLE_CHARS for text in each.texts):
            return f"an example has 1 to {MAX_EXAMPLE_CHARS:,} characters (route {each.route!r})"
    return None


def check_embed_call(call: EmbedCall) -> EmbedCall:
    """Return the call where it is one that a worker may be asked to make.

    Raises:
        DecodeError: it asks for nothing, or for more than its bounds.
    """
    if not 1 <= len(call.texts) <= MAX_TEXTS:
        raise DecodeError(f"a call for embeddings has 1 to {MAX_TEXTS:,} texts", kind="out_of_range")
    if any(len(text) > MAX_TEXT_CHARS for text in call.texts):
        raise DecodeError(f"a text to be embedded has at most {MAX_TEXT_CHARS:,} characters", kind="out_of_range")
    if (problem := example_problem(call.examples)) is not None:
        raise DecodeError(problem, kind="out_of_range")
    if call.examples and call.examples_ref is not None:
        raise DecodeError("examples come inline or as a reference, not both", kind="contradiction")
    return call


def _little(vector: Vector) -> Vector:
    """Return the vector in the order of the wire's bytes, or from it."""
    if sys.byteorder == "little":
        return vector
    turned = vector[:]
    turned.byteswap()
    return turned
