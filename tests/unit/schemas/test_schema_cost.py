"""What a schema may ask for is counted before it is asked: never too little, and seldom much too much."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.json_schema import SchemaInvalid, check_schema, findings
from headrace.runtime.output import OutputMismatch, OutputSchemas
from headrace.runtime.output import SchemaInvalid as OutputSchemaInvalid
from headrace.schemas.schema_cost import MAX_EVALUATIONS, TooCostly, check_references, evaluations


def doubling(depth: int, word: str) -> dict[str, Any]:
    """Return a schema of a few kilobytes that asks 2 to the power of its depth."""
    refs = [[{"$ref": f"#/$defs/d{n + 1}"}] * 2 for n in range(depth)]
    shapes = {
        "allOf": lambda two: {"allOf": two},
        "anyOf": lambda two: {"anyOf": two},
        "oneOf": lambda two: {"oneOf": two},
        "if": lambda two: {"if": two[0], "then": two[1], "else": two[1]},
        "properties": lambda two: {"properties": {"a": two[0]}, "patternProperties": {"a": two[1]}},
        "dependentSchemas": lambda two: {"dependentSchemas": {"a": two[0], "b": two[1]}},
    }
    defs: dict[str, Any] = {f"d{n}": shapes[word](two) for n, two in enumerate(refs)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{depth}": {"type": "string"}}}


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {"a": leaf, "b": 1}
    return leaf


WORDS = ["allOf", "anyOf", "oneOf", "if", "properties", "dependentSchemas"]
TWICE_ITSELF = {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}


@pytest.mark.parametrize("word", WORDS)
def test_a_schema_that_doubles_is_refused_by_orchestrator_and_worker_at_once(word):
    began = time.perf_counter()
    schema, value = doubling(60, word), nested(60, 1)
    with pytest.raises(TooCostly):
        evaluations(schema, value)
    (said,) = findings(schema, value)
    assert "cannot be checked" in said
    with pytest.raises(OutputSchemaInvalid, match="checks"):
        OutputSchemas().parse('{"a":' * 60 + "1" + "}" * 60, schema)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("word", WORDS)
def test_what_is_let_pass_is_checked_soon(word):
    depth = next(n for n in range(60, 0, -1) if passes(doubling(n, word), nested(n, 1)))
    began = time.perf_counter()
    assert findings(doubling(depth, word), nested(depth, 1)) or word in ("properties", "dependentSchemas")
    assert time.perf_counter() - began < 5


def passes(schema: Any, value: Any) -> bool:
    try:
        evaluations(schema, value)
    except TooCostly:
        return False
    return True


def test_a_schema_that_refers_to_itself_is_followed_through_the_value():
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}

    def full(depth: int) -> Any:
        return {"left": full(depth - 1), "right": full(depth - 1)} if depth else {}

    assert evaluations(tree, full(10)) < 5_000
    assert findings(tree, full(10)) == ()
    assert evaluations({"not": {"$ref": "#"}}, 1) < 10
    with pytest.raises(TooCostly):
        evaluations(TWICE_ITSELF, nested(60, 1))
    assert evaluations(TWICE_ITSELF, nested(5, 1)) < 1_000


def test_a_wide_list_of_wide_objects_passes_and_its_first_fault_is_named():
    schema = {
        "type": "array",
        "items": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(60)}},
    }
    value = [{f"p{n}": "x" for n in range(60)} for _ in range(5_000)]
    assert findings(schema, value) == ()
    value[4_000]["p7"] = 1  # type: ignore[assignment]
    assert findings(schema, value)[0].startswith("4000.p7: ")
    began = time.perf_counter()
    assert len(findings(schema, [{f"p{n}": 1 for n in range(60)}] * 5_000)) == 1
    assert time.perf_counter() - began < 2, "a validator makes every finding before it hands out the first"


def test_a_large_value_that_fits_no_branch_says_that_it_is_large():
    schema = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}}
    (said,) = findings(schema, [1] * 10_000)
    assert "large" in said
    with pytest.raises(OutputMismatch, match="large"):
        OutputSchemas().parse("[" + ",".join(["1"] * 10_000) + "]", schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/x.json"},
        {"$ref": "other.json#/a"},
        {"$ref": "#/nowhere"},
        {"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}},
        {"$ref": 7},
        {"$dynamicRef": "#a"},
        {"properties": {"a": {"$id": "x", "$ref": "#/b"}}},
        {"$ref": "#/allOf/9", "allOf": [{}]},
        {"$ref": "#/allOf/²", "allOf": [{}]},
        {"$ref": "#/allOf/" + "9" * 5_000, "allOf": [{}]},
    ],
)
def test_a_reference_that_cannot_be_followed_is_refused(schema):
    with pytest.raises(TooCostly):
        check_references(schema)
    with pytest.raises(SchemaInvalid):
        check_schema(schema)
    with pytest.raises(OutputSchemaInvalid):
        OutputSchemas().parse("1", schema)


def test_references_by_pointer_are_followed_as_they_are_spelled():
    schema = {"$ref": "#/$defs/a~1b%25~0c", "$defs": {"a/b%~c": {"type": "string"}}}
    check_references(schema)
    assert findings(schema, 1)
    assert evaluations({"$ref": "#/properties/a", "properties": {"a": {"type": "string"}}}, {"a": "x"}) == 3


def test_a_schema_of_five_thousand_references_in_a_row_is_refused_and_no_stack_ends():
    chain: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(5_000)}
    with pytest.raises(TooCostly, match="nests"):
        evaluations({"$ref": "#/$defs/d0", "$defs": {**chain, "d5000": {}}}, 1)


def test_a_pattern_never_takes_longer_than_its_text_is_long():
    quadratic = {"pattern": "^(?=x*)(?:(x)(?=x*))+y$"}
    with pytest.raises(SchemaInvalid):
        check_schema(quadratic)
    began = time.perf_counter()
    assert findings({"pattern": "^(x+x+)+y$"}, "x" * 500_000)
    assert time.perf_counter() - began < 5


SCHEMAS = st.recursive(
    st.sampled_from([{}, True, False, {"type": "string"}, {"const": 1}, {"$ref": "#"}, {"$ref": "#/$defs/a"}]),
    lambda part: st.one_of(
        st.fixed_dictionaries({}, optional={"allOf": st.lists(part, min_size=1, max_size=3), "not": part, "if": part}),
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("ab"), part, max_size=2)}),
        st.fixed_dictionaries({"items": part}, optional={"prefixItems": st.lists(part, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"additionalProperties": part}),
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.text(max_size=2),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from("ab"), part, max_size=2),
    max_leaves=8,
)


@given(SCHEMAS, SCHEMAS, VALUES)
@settings(deadline=None)
def test_any_schema_and_value_are_counted_or_refused(schema, other, value):
    whole = {**schema, "$defs": {"a": other}} if isinstance(schema, dict) else schema
    try:
        assert 1 <= evaluations(whole, value) <= MAX_EVALUATIONS
    except TooCostly:
        return
    findings(whole if isinstance(whole, dict) else {}, value)
