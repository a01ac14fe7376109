"""The triage example: its data are what its README says, and a semantic route makes of them what it promises."""

from __future__ import annotations

from collections import Counter

import pytest
from examples.triage.measure import measure, read, routes_of
from examples.triage.prepare import draw

from headrace.schemas.vectors import example_problem


def test_the_data_are_twenty_examples_each_and_six_hundred_other_requests():
    examples, requests = read()
    assert {len(texts) for texts in examples.values()} == {20}
    assert example_problem(routes_of(examples)) is None
    domains = Counter(each["domain"] for each in requests)
    assert domains == {**dict.fromkeys(examples, 50), None: 100}
    shown = {text for texts in examples.values() for text in texts}
    texts = [each["text"] for each in requests]
    assert len({*texts} - shown) == len(texts) == 600
    assert [each["id"] for each in requests] == list(range(1, 601))


def test_a_draw_is_the_same_each_time_and_no_request_is_an_example():
    rows = [
        {
            "text": f"{domain} {intent} {split} {number}",
            "domain": domain,
            "intent": f"{domain}{intent}",
            "orig_split": split,
        }
        for domain in ("a", "b")
        for intent in range(15)
        for split in ("train", "test")
        for number in range(20)
    ] + [{"text": f"oos {number}", "domain": "oos", "intent": "oos", "orig_split": "oos_test"} for number in range(100)]
    examples, requests = draw(rows)
    assert (examples, requests) == draw(list(reversed(rows)))
    assert all(len({text.split()[1] for text in texts}) == 15 for texts in examples.values())
    assert len(requests) == 600


def test_nine_of_ten_are_right_and_a_fifth_abstains_at_most():
    pytest.importorskip("onnxruntime")
    figures = measure()
    assert figures.accuracy >= 0.88
    assert figures.abstained <= 0.20
    assert figures.strangers_found >= 0.65
