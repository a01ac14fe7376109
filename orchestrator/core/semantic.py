"""Semantic routing: which route a text belongs to, by example utterances of each. Pure.

The worker of a pool that serves embeddings compares a text with the examples and answers with a score for each route
(`schemas.calls.EmbedCall`; what a score is: `workers.core.nearness`). Here the call is made, and the answer judged: the
best route is taken, unless even that one is far, or another is about as near; then the route abstains. So a decision
rests on the recorded answer alone, and a replay decides alike.

Source: ADR 27, with the figures behind the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.context import TOKENS_PER_MESSAGE
from headrace.schemas.messages import EmbedCall, Examples
from headrace.schemas.pools import Pool
from headrace.schemas.vectors import MAX_TEXT_CHARS
from headrace.schemas.workflow_patterns import AT_LEAST, MARGIN

DIGITS = 4
"""Of scores and margins, as the worker writes them."""


@dataclass(frozen=True, slots=True)
class SemanticPlan:
    """A decision by example utterances, not yet rendered."""

    pool: str
    """A pool that serves embeddings."""
    text: str
    """The template of what is compared."""
    examples: tuple[Examples, ...]
    """The routes; `schemas.vectors.example_problem` has found none."""
    at_least: float = AT_LEAST
    """The least score, in [-1, 1]."""
    margin: float = MARGIN
    """The least lead over the next route, in [0, 2]."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the examples say of a text."""

    route: str | None
    """The route; None: abstained."""
    reason: str
    """Why it abstained; empty where it did not."""
    score: float | None = None
    """Of the best route."""
    lead: float | None = None
    """Of the best route over the next; None where there is only one."""
    best: str | None = None
    """The best route, also where it was not taken."""

    @property
    def told(self) -> dict[str, Any]:
        """What events say of it."""
        said = {"score": self.score, "lead": self.lead, "nearest": None if self.route else self.best}
        return {name: value for name, value in said.items() if value is not None}


def embed_call(plan: SemanticPlan, text: str) -> EmbedCall:
    """Return the call that compares a text with the examples.

    Of a long text the beginning is compared: embedding models read some hundred words, the longest 8,000 tokens.
    """
    return EmbedCall(texts=(text[:MAX_TEXT_CHARS],), examples=plan.examples)


def upper_bound(call: EmbedCall, pool: Pool) -> tuple[int, int]:
    """Return the most tokens and the most micro-US-dollars that a call can cost, its examples embedded with it.

    They are, where the worker has not kept them; what was not needed is released with the result.
    """
    texts = (*call.texts, *(text for each in call.examples for text in each.texts))
    sizes = (len(text.encode("utf-8", "surrogatepass")) + TOKENS_PER_MESSAGE for text in texts)
    tokens = sum(sizes if pool.context_tokens is None else (min(size, pool.context_tokens) for size in sizes))
    return tokens, -(-tokens * pool.price.input // 1_000_000)


def choose(plan: SemanticPlan, output: Any) -> Choice:
    """Return what the examples say, by a worker's answer; equal scores go to the route that is named first."""
    scores = _scores(plan, output)
    if scores is None:
        return Choice(None, "the worker's answer has no scores of these routes")
    ranked = sorted(scores.items(), key=lambda each: -each[1])  # Stable: the plan's order among equals.
    (best, score), others = ranked[0], ranked[1:]
    lead = round(score - others[0][1], DIGITS) if others else None
    if score < plan.at_least:
        return Choice(None, f"the nearest route is {best}, and its score is below {plan.at_least:g}", score, lead, best)
    if lead is not None and lead < plan.margin:
        reason = f"{best} leads {others[0][0]} by less than {plan.margin:g}"
        return Choice(None, reason, score, lead, best)
    return Choice(best, "", score, lead, best)


def _scores(plan: SemanticPlan, output: Any) -> Mapping[str, float] | None:
    """Return a text's scores in the plan's order, or None where an answer is not one to this plan's call."""
    rows = output.get("scores") if isinstance(output, dict) else None
    row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
    if not isinstance(row, dict) or len(row) != len(plan.examples):
        return None
    scores = {each.route: _score(row.get(each.route)) for each in plan.examples}
    return None if None in scores.values() else {route: score for route, score in scores.items() if score is not None}


def _score(value: Any) -> float | None:
    """Return a value that is a cosine; one of a worker may be a hair beyond."""
    return float(value) if type(value) in (int, float) and -1.01 < value < 1.01 else None
