"""Texts to the numbers of the model's vocabulary, held to what the `tokenizers` library makes of them."""

from __future__ import annotations

import pytest

from headrace.workers.adapters.minilm.wordpiece import MAX_TOKENS, WordPiece

PIECES = WordPiece()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("How do I reset my password?", [2129, 2079, 1045, 25141, 2026, 20786, 1029]),
        ("Caf\xe9 na\xefve \xc9LAN", [7668, 15743, 3449, 2319]),
        (
            "don't  re-enter\tUSD 1,234.50!",
            [2123, 1005, 1056, 2128, 1011, 4607, 13751, 1015, 1010, 22018, 1012, 2753, 999],
        ),
        ("\u6771\u4eac\u3078\u884c\u304f", [1879, 1755, 1675, 1945, 1653]),
        ("unaffable transmogrification", [14477, 20961, 3468, 9099, 5302, 16523, 9031]),
        ("\x00a\u200bb\ufffd", [11113]),
        ("emoji \U0001f642 here", [7861, 29147, 2072, 100, 2182]),
        ("Stra\xdfe \u0391\u0392\u0393", [2358, 27807, 1155, 29720, 29721]),
    ],
)
def test_numbers_are_those_of_the_library(text, numbers):
    assert PIECES.numbers(text) == [101, *numbers, 102]


def test_a_long_text_is_cut_and_ends_with_its_mark():
    numbers = PIECES.numbers("word " * 1_000)
    assert len(numbers) == MAX_TOKENS
    assert (numbers[0], numbers[-1]) == (101, 102)


def test_a_word_beyond_a_hundred_characters_is_unknown():
    assert PIECES.numbers("x" * 101) == [101, 100, 102]
