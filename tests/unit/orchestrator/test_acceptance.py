import pytest

from headrace.orchestrator.core.acceptance import check_input, content_hash
from headrace.orchestrator.core.context import prompt_lower_tokens, prompt_upper_tokens, surely_too_long
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.workflow_ref import WorkflowRef, parse_workflow_ref
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.messages import ChatMessage

GRAPH = compile_workflow(
    {
        "name": "w",
        "version": 2,
        "input": {
            "type": "object",
            "required": ["text", "n"],
            "properties": {"text": {"type": "string", "pattern": "^(a+)+$"}, "n": {"type": "integer"}},
        },
        "steps": {"a": {"llm": {"pool": "p", "prompt": "x"}}},
    },
    pools=None,
)


def checked(value, max_bytes=1000):
    return check_input(GRAPH, value, max_bytes=max_bytes)


def user(text):
    return [ChatMessage(role="user", content=text)]


def test_an_input_that_fits_is_taken():
    assert checked({"text": "aaa", "n": 1}) == '{"n":1,"text":"aaa"}'


def test_every_missing_and_wrong_field_is_listed_without_its_value():
    refusal = checked({"text": "secret"})
    assert refusal.kind == ErrorKind.INVALID_INPUT
    assert "w@2" in refusal.message
    assert '"n" is a required property' in refusal.message
    assert "text: " in refusal.message
    assert "secret" not in refusal.message


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"n": float("nan")}, "input.n: a number that is not finite"),
        ({"n": [1, {"a": float("inf")}]}, "input.n.1.a"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"n": 10**30}, "above 64 bits"),
        ({1: 2}, "is not a text"),
    ],
)
def test_an_input_that_is_no_json_is_refused_with_its_place(value, part):
    refusal = checked(value)
    assert refusal.kind == ErrorKind.INVALID_INPUT
    assert part in refusal.message


def test_an_input_above_the_limit_is_refused_with_both_numbers():
    refusal = checked({"text": "a" * 2000, "n": 1})
    assert refusal.kind == ErrorKind.TOO_LARGE
    assert "1,000" in refusal.message


def test_a_pattern_that_backtracks_for_ever_ends():
    assert checked({"text": "a" * 900 + "b", "n": 1}).kind == ErrorKind.INVALID_INPUT


def test_the_content_hash_does_not_depend_on_the_order_of_keys():
    assert content_hash("w@2", {"a": 1, "b": 2}) == content_hash("w@2", {"b": 2, "a": 1})
    assert content_hash("w@2", {}) != content_hash("w@1", {})


def test_references_are_read_and_others_refused():
    assert parse_workflow_ref("summarise@3") == WorkflowRef("summarise", 3)
    assert parse_workflow_ref("summarise") == WorkflowRef("summarise", None)
    for text in ("", "a@", "a@0", "a@x", "A@1", "a@1\n", "a b", "../a"):
        with pytest.raises(DecodeError):
            parse_workflow_ref(text)


def test_the_upper_bound_is_bytes_and_64_a_message_within_the_context():
    assert prompt_upper_tokens(user("é"), context_tokens=None) == 66
    assert prompt_upper_tokens(user("é"), context_tokens=50) == 50


def test_only_what_cannot_fit_is_refused():
    words = "telecommunications " * 2000
    assert prompt_lower_tokens(user(words)) < 2000
    assert surely_too_long(user(words), context_tokens=2048, max_output_tokens=10) is None
    assert surely_too_long(user(" " * 1_000_000), context_tokens=2048, max_output_tokens=10) is None
    assert "at least" in surely_too_long(user("abcdefgh " * 100_000), context_tokens=2048, max_output_tokens=10)
    assert "no room" in surely_too_long(user("a"), context_tokens=100, max_output_tokens=100)
    assert surely_too_long(user("a" * 10**6), context_tokens=None, max_output_tokens=None) is None
