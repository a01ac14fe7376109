import contextlib
import time

import pytest

from headrace.orchestrator.core.templates import (
    RenderError,
    TemplateInvalid,
    evaluate,
    evaluate_structure,
    references,
    render,
)
from headrace.schemas.errors import ErrorKind, HeadraceError

CONTEXT = {
    "input": {
        "text": "abc",
        "items": [1, 2],
        "values": {"a": None},
        "big": "x" * 900_000,
        "same": "x" * 899_999 + "x",
        "list": list(range(50_000)),
    },
    "item": "y" * 500,
    "items": ["a"] * 8,
}


def test_text_and_values_are_rendered():
    assert render("{{ input.text }}!", CONTEXT) == "abc!"
    assert render("{% for n in items[:2] %}- {{ n }}\n{% endfor %}", CONTEXT) == "- a\n- a\n"


def test_a_field_goes_before_a_method_of_the_same_name():
    assert evaluate("{{ input.items }}", CONTEXT) == [1, 2]
    assert evaluate("{{ input.values.a }}", CONTEXT) is None


def test_values_in_a_text_are_written_as_json():
    assert render("{{ input.items }} {{ input.values }} {{ true }}", CONTEXT) == '[1, 2] {"a": null} true'


def test_one_expression_keeps_its_value_and_white_space_around_it_does_not_count():
    assert evaluate(" {{ input.items }}\n", CONTEXT) == [1, 2]
    assert evaluate("{{ items | map('upper') }}", CONTEXT) == ["A"] * 8
    assert evaluate("n: {{ input.items }}", CONTEXT) == "n: [1, 2]"
    assert evaluate("1", CONTEXT) == "1"


def test_a_value_is_not_copied_on_its_way():
    assert evaluate("{{ input.items }}", CONTEXT) is CONTEXT["input"]["items"]


def test_a_structure_of_templates_keeps_its_shape():
    structure = {"a": ["{{ input.items }}", "x {{ input.text }}"], "b": 3, "c": None}
    assert evaluate_structure(structure, CONTEXT) == {"a": [[1, 2], "x abc"], "b": 3, "c": None}


def test_references_are_sorted_and_leave_out_what_the_template_makes_itself():
    assert references("{% for x in ys %}{{ x }}{{ loop.index }}{% endfor %}{{ b.c }}{{ range(2) }}") == ("b", "ys")


def test_a_missing_field_names_the_field_the_step_and_what_there_is():
    with pytest.raises(
        RenderError, match=r"step notes: there is no field 'txt' \(fields: big, items, list, same, text, values\)"
    ):
        render("{{ input.txt }}", CONTEXT, step="notes")


def test_a_missing_name_is_an_error_where_it_stands_in_a_list_or_an_operation():
    for source in ("{{ [nope] }}", "{{ nope + 1 }}", "{{ nope ~ 'a' }}", "{{ nope | join }}", "{{ nope.a.b }}"):
        with pytest.raises(RenderError, match="'nope' is not known here"):
            evaluate(source, CONTEXT)


def test_default_and_defined_work_on_missing_values():
    assert render("{{ input.nope | default('d') }}{{ input.nope is defined }}", CONTEXT) == "dfalse"


def test_a_text_without_expressions_is_itself_and_raw_and_comments_are_honoured():
    assert render("no braces\n", {}) == "no braces\n"
    assert render("a{# c #}b", {}) == "ab"
    assert evaluate("{% raw %}{{ x }}{% endraw %}", {}) == "{{ x }}"
    assert render("a\r\nb", {}) == "a\nb"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ input.__class__.__mro__ }}",
        "{{ _x }}",
        "{{ self }}",
        "{{ input | attr('__class__') }}",
        "{{ input | random }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '%s' | format(1) }}",
        "{{ input | batch(1000000000, 1) }}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'a' %}",
        "{% import 'a' as b %}",
        "{% extends 'a' %}",
        "{% block a %}{% endblock %}",
        "{% set a %}x{% endset %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call a() %}{% endcall %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% for a in b recursive %}{% endfor %}",
        "{{ 1 is callable }}",
        "{{",
        "{% for %}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ 1" + "+1" * 3000 + " }}",
        "{{ " + "9" * 5000 + " }}",
        "{% if a %}" * 70 + "{% endif %}" * 70,
        "{% for a in b %}" * 30 + "{% endfor %}" * 30,
        "x" * 70_000,
    ],
)
def test_what_templates_do_not_have_is_refused_when_they_are_compiled(source):
    with pytest.raises(TemplateInvalid):
        references(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 2 ** 64 ** 64 }}",
        "{{ 9**99 * 9**99 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ input.big + input.big }}",
        "{{ input.big ~ input.big }}",
        "{{ [input.big, input.big] | join }}",
        "{{ input.big | replace('x', 'yy') }}",
        "{{ input.big }}{{ input.big }}",
        "{{ input.big | indent(1000000) }}",
        "{{ range(10**9) | list }}",
        "{{ range(10**30) | list }}",
        "{% set x = 'aaaa' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}",
        "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
        "{% set x = [1] %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x == x }}",
        "{% set x = [1, 2] %}" + "{% set x = x + x %}" * 40 + "{{ x | length }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ input.big | upper | length }}{% endfor %}",
        "{% for a in range(9999) %}{{ item }}{% endfor %}",
        "{{ input.text.join }}",
        "{{ input.text.format(1) }}",
        "{{ input.text.zfill(1000000000) }}",
        "{{ input.text.ljust(1000000000) }}",
        "{{ input.update({}) }}",
        "{{ items.append(1) }}",
        "{{ items.sort() }}",
        "{{ input['__class__'] }}",
        "{{ input.get }}",
        "{{ range }}",
        "{{ items | map(attribute='__class__') | list }}",
        "{{ items | sum(start=[]) }}",
        "{% for a in range(9999) %}{{ 'y' in input.list }}{% endfor %}",
        "{% for a in range(9999) %}{{ input.list[1:] | length }}{% endfor %}",
        "{% for a in range(9999) %}{{ input.big.count('y') }}{% endfor %}",
        "{% for a in range(9999) %}{{ input.big[1:] | length }}{% endfor %}",
        "{% for a in range(9999) %}{% set y = input.list ~ '' %}{% endfor %}",
        "{% for a in range(9999) %}{{ input.big == input.same }}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ input.text() }}",
        "{% for a in 5 %}{% endfor %}",
    ],
)
def test_what_spins_swells_or_reaches_out_is_refused_quickly(source):
    references(source)
    for run in (render, evaluate):
        began = time.process_time()
        with pytest.raises(RenderError):
            run(source, CONTEXT)
        assert time.process_time() - began < 3


def test_bounds_say_too_large_and_missing_values_say_invalid_input():
    for source, kind in (("{{ input.big ~ input.big }}", ErrorKind.TOO_LARGE), ("{{ a }}", ErrorKind.INVALID_INPUT)):
        with pytest.raises(RenderError) as caught:
            render(source, CONTEXT)
        assert caught.value.kind == kind


def test_the_length_of_a_list_that_is_too_long_to_be_looped_over_can_be_asked_for():
    context = {"input": {"list": [0] * 300_000}}
    assert evaluate("{{ input.list | length }}", context) == 300_000
    assert len(evaluate("{{ input.list }}", context)) == 300_000
    with pytest.raises(RenderError, match="steps of work"):
        render("{% for a in input.list %}{% endfor %}", context)


def test_the_context_cannot_be_changed_by_a_template():
    before = {"input": {"a": [1]}}
    for source in ("{{ input.a.append(2) }}", "{{ input.a.pop() }}", "{% set input = 1 %}{{ input }}"):
        with contextlib.suppress(HeadraceError):
            render(source, before)
    assert before == {"input": {"a": [1]}}


def test_rendering_a_simple_prompt_takes_microseconds():
    source = "{{ item }}\n\nSummarize the text above in one or two sentences."
    render(source, CONTEXT)
    best = min(_timed(source) for _ in range(5))
    assert best < 50e-6


def _timed(source):
    began = time.process_time()
    for _ in range(500):
        render(source, CONTEXT)
    return (time.process_time() - began) / 500
