"""Routes by example utterances: what is asked, and what a worker's scores come to."""

from __future__ import annotations

import pytest

from headrace.orchestrator.core.semantic import SemanticPlan, choose, embed_call, upper_bound
from headrace.schemas.messages import Examples
from headrace.schemas.pools import Pool, Price
from headrace.schemas.vectors import MAX_TEXT_CHARS, check_embed_call

ROUTES = (Examples(route="card", texts=("stolen card", "block it")), Examples(route="travel", texts=("a flight",)))
PLAN = SemanticPlan("embed", "{{ input }}", ROUTES, at_least=0.3, margin=0.05)


def of(**scores):
    return {"scores": [scores]}


@pytest.mark.parametrize(
    ("scores", "route", "reason", "told"),
    [
        ({"card": 0.7, "travel": 0.2}, "card", "", {"score": 0.7, "lead": 0.5}),
        ({"card": 0.3, "travel": 0.35}, "travel", "", {"score": 0.35, "lead": 0.05}),
        ({"card": 0.29, "travel": 0.1}, None, "score is below 0.3", {"score": 0.29, "lead": 0.19, "nearest": "card"}),
        (
            {"card": 0.5, "travel": 0.46},
            None,
            "card leads travel by less",
            {"score": 0.5, "lead": 0.04, "nearest": "card"},
        ),
        (
            {"card": 0.5, "travel": 0.5},
            None,
            "card leads travel by less",
            {"score": 0.5, "lead": 0.0, "nearest": "card"},
        ),
        ({"card": -0.1, "travel": -1}, None, "below", {"score": -0.1, "lead": 0.9, "nearest": "card"}),
    ],
)
def test_the_best_route_is_taken_unless_it_is_far_or_another_is_as_near(scores, route, reason, told):
    choice = choose(PLAN, of(**scores))
    assert choice.route == route
    assert reason in choice.reason
    assert choice.told == told


def test_equal_scores_go_to_the_route_that_is_named_first():
    plan = SemanticPlan("embed", "", ROUTES, margin=0.0)
    assert choose(plan, of(travel=0.5, card=0.5)).route == "card"


def test_one_route_alone_has_no_next_to_lead():
    choice = choose(SemanticPlan("embed", "", ROUTES[:1]), of(card=0.31))
    assert (choice.route, choice.told) == ("card", {"score": 0.31})


@pytest.mark.parametrize(
    "output",
    [
        None, "card", {}, {"scores": None}, {"scores": []}, {"scores": [{}]}, {"scores": [{"card": 0.5}]},
        {"scores": [{"card": 0.5, "other": 0.1}]}, {"scores": [{"card": 0.5, "travel": "0.1"}]},
        {"scores": [{"card": float("nan"), "travel": 0.1}]}, {"scores": [{"card": True, "travel": 0.1}]},
        {"scores": [{"card": 10**400, "travel": 0.1}]}, {"scores": [{"card": 5.0, "travel": 0.1}]},
        {"scores": [{"card": 0.5, "travel": 0.1}] * 2}, {"scores": [[0.5, 0.1]]},
    ],
)  # fmt: skip
def test_an_answer_that_is_none_to_the_call_abstains(output):
    choice = choose(PLAN, output)
    assert (choice.route, choice.told) == (None, {})
    assert "no scores" in choice.reason


def test_the_beginning_of_a_long_text_is_compared():
    call = check_embed_call(embed_call(PLAN, "x" * 100_000))
    assert call.texts == ("x" * MAX_TEXT_CHARS,)
    assert call.examples == ROUTES


def test_what_a_call_can_cost_includes_its_examples():
    call = embed_call(PLAN, "text")
    pool = Pool(endpoint="here", serves="embeddings", price=Price(input=2_000_000))
    size = sum(len(text) + 64 for text in ("text", "stolen card", "block it", "a flight"))
    assert upper_bound(call, pool) == (size, 2 * size)
    assert upper_bound(call, pool.model_copy(update={"context_tokens": 10})) == (40, 80)
