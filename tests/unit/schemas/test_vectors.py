"""Vectors on the wire, and what a call for them may hold."""

from __future__ import annotations

from array import array

import pytest

from headrace.schemas.errors import DecodeError
from headrace.schemas.messages import EmbedCall, Examples
from headrace.schemas.vectors import check_embed_call, checked_vector, packed, unpacked


def test_a_vector_comes_back_as_it_was_and_is_two_kilobytes():
    vector = array("f", [number / 384 for number in range(384)])
    assert unpacked(packed(vector)) == vector
    assert len(packed(vector)) == 2_048


def test_the_wire_has_the_lowest_byte_first():
    assert packed(array("f", [1.0])) == "AACAPw=="


@pytest.mark.parametrize("text", ["", "AACAPw", "????", "AACAPwA=", "AADAfw==", "AACAfw=="])
def test_what_is_no_vector_is_refused(text):
    with pytest.raises(ValueError, match=r"vector|base64|bytes"):
        unpacked(text)


@pytest.mark.parametrize("values", [[], ["x"], [None], [float("nan")], [1e300], [0.0] * 20_000, "ab"])
def test_what_a_provider_may_not_say_is_refused(values):
    with pytest.raises(ValueError, match="vector"):
        checked_vector(values)


def examples(*texts, route="a"):
    return Examples(route=route, texts=texts)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (EmbedCall(texts=()), "1 to 2,048 texts"),
        (EmbedCall(texts=("x" * 40_000,)), "32,768 characters"),
        (EmbedCall(texts=("x",), examples=(examples("x"), examples("y"))), "named twice"),
        (EmbedCall(texts=("x",), examples=(examples("x", route=""),)), "name has 1 to 100"),
        (EmbedCall(texts=("x",), examples=(examples(),)), "route 'a' has no example"),
        (EmbedCall(texts=("x",), examples=(examples(" "),)), "1 to 2,000 characters"),
        (EmbedCall(texts=("x",), examples=(examples("x" * 2_001),)), "1 to 2,000 characters"),
        (EmbedCall(texts=("x",), examples=(examples(*["x"] * 10_001),)), "10,001 examples"),
        (EmbedCall(texts=("x",), examples=tuple(examples("x", route=f"{n}") for n in range(1_001))), "1,001 routes"),
    ],
)
def test_bounds_are_named(call, said):
    with pytest.raises(DecodeError, match=said):
        check_embed_call(call)


def test_a_call_within_its_bounds_is_taken():
    call = EmbedCall(texts=("x",), examples=(examples("x"), examples("y", route="b")))
    assert check_embed_call(call) is call
