"""What trees and pictures of workflows say of a step."""

import pytest

from headrace.console.step_words import describe
from headrace.orchestrator.core.graph import compile_workflow

CALL = {"pool": "small", "prompt": "x"}
LARGE = {"pool": "large", "prompt": "x"}
ALLOWED = {"look": {"llm": CALL}, "write": {"llm": LARGE}}
ENTRIES = [{"name": name, "tool": {"name": f"{name}_card"}} for name in ("authorise", "capture")]
AGREED = {"agreement": {"at_least": 2}}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"llm": CALL}, "llm on small"),
        ({"llm": CALL, "sensitivity": "confidential", "key": "session"}, "llm on small (confidential, in turn)"),
        ({"for_each": "{{ input.texts }}", "llm": CALL}, "for_each an expression: llm on small"),
        ({"for_each": "{{ input.texts }}", "tool": {"name": "look_up"}}, "for_each an expression: tool look_up"),
        ({"workflow": {"name": "below@2", "input": {}}}, "workflow below@2"),
        ({"split": {"from": "{{ input.text }}", "by": "lines", "size": 20}}, "split by lines of 20"),
        ({"reduce": "{{ input.texts }}", "fan_in": 3, "llm": CALL}, "reduce an expression, 3 at a time: llm on small"),
        ({"reduce": "{{ input.texts }}", "with": "count"}, "reduce an expression with count"),
        ({"wait": {"signal": "go", "timeout_s": 9}}, "wait for signal go"),
        ({"route": {"to": {"a": {"llm": CALL}, "b": {}}, "otherwise": "b"}}, "route to a, b"),
        (
            {"cascade": {"pools": [["small", "mini"], "large"], "prompt": "x", "accept": AGREED}},
            "cascade small+mini, then large",
        ),
        (
            {"vote": {"voters": [{"pool": "small", "samples": 2}, {"pool": "large"}], "prompt": "x"}},
            "vote of 3 by majority: small, large",
        ),
        (
            {"refine": {"generate": CALL, "evaluate": LARGE, "max_rounds": 3}},
            "refine small, judged by large, at most 3 times",
        ),
        ({"plan": {**LARGE, "allowed": ALLOWED, "max_tasks": 5}}, "plan by large: at most 5 of look, write"),
        ({"agent": {**LARGE, "tools": ["look", "read"]}}, "agent on large with look, read: at most 8 turns"),
        ({"saga": ENTRIES}, "saga authorise, then capture"),
    ],
)
def test_a_step_is_described_in_a_few_words(step: dict, words: str):
    graph = compile_workflow({"name": "w", "version": 1, "steps": {"s": step}}, pools=None)
    assert describe(graph.steps[0]) == words
