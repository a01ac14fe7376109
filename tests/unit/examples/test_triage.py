"""The triage example: its data are what its README says, and are drawn the same each time."""

from __future__ import annotations

import json
from collections import Counter

import yaml

from headrace.examples.triage.prepare import HERE, draw, with_examples

WORKFLOW = (HERE / "workflow.yaml").read_text()
EXAMPLES = yaml.safe_load(WORKFLOW)["steps"]["department"]["route"]["semantic"]["examples"]


def test_the_data_are_twenty_examples_each_and_six_hundred_other_requests():
    requests = json.loads((HERE / "input" / "requests.json").read_text())["requests"]
    assert {len(texts) for texts in EXAMPLES.values()} == {20}
    domains = Counter(each["domain"] for each in requests)
    assert domains == {**dict.fromkeys(EXAMPLES, 50), None: 100}
    shown = {text for texts in EXAMPLES.values() for text in texts}
    texts = [each["text"] for each in requests]
    assert len({*texts} - shown) == len(texts) == 600
    assert [each["id"] for each in requests] == list(range(1, 601))


def test_drawn_examples_go_between_the_marks_of_the_workflow_and_nowhere_else():
    assert with_examples(WORKFLOW, EXAMPLES) == WORKFLOW
    other = with_examples(WORKFLOW, {"home": ['say "hello": yes']})
    assert yaml.safe_load(other)["steps"]["department"]["route"]["semantic"]["examples"] == {
        "home": ['say "hello": yes']
    }


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
