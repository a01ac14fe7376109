"""What four hosted models answered to the questions, and the scripts by which four scripted providers say it again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOTERS = ("llama-3.1-8b-instant", "gemini-1.5-flash", "gpt-4o-2024-05-13")
JUDGE = "gemini-3.1-pro-preview"
LATENCY_MS = {VOTERS[0]: 40.0, VOTERS[1]: 80.0, VOTERS[2]: 300.0, JUDGE: 200.0}
"""Of an answer, at the median. Written by us: the records do not tell."""
EXPLANATION_MS = 1_200.0
EXPLAINED = "A scripted explanation: no model has read this reasoning."


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer of one model."""

    model: str
    question: str
    choice: str | None
    """None: no choice could be read from its text."""
    text: str = ""


def read_recorded(home: Path) -> list[Recorded]:
    """Return all recorded answers."""
    lines = json.loads((home / "recorded.json").read_text(encoding="utf-8"))["answers"]
    return [Recorded(line["model"], line["id"], line["choice"], line.get("text", "")) for line in lines]


def script(model: str, recorded: list[Recorded]) -> dict[str, Any]:
    """Return what a scripted provider says for a model."""
    mine = [one for one in recorded if one.model == model]
    rules = _judged(mine) if model == JUDGE else [_vote(one) for one in mine]
    explanation = {"match": "^In one sentence", "answer": EXPLAINED, "latency": _around(EXPLANATION_MS)}
    return {"seed": 1, "latency": _around(LATENCY_MS[model]), "rules": [explanation, *rules]}


def _around(ms: float) -> dict[str, Any]:
    return {"law": "lognormal", "ms": ms, "sigma": 0.2}


def _vote(one: Recorded) -> dict[str, Any]:
    """The recorded text in the form that is asked for; without a choice as it is, which does not hold the form."""
    match = _about(one)
    if one.choice is None:
        return {"match": match, "answer": one.text}
    return {"match": match, "json_answer": {"reasoning": one.text, "choice": one.choice}}


def _judged(mine: list[Recorded]) -> list[dict[str, Any]]:
    """The judge names the answer that chooses as it chose itself; where none does, the first."""
    named = [
        {"match": rf"(?s){_about(one)}.*\n(\d) chooses {one.choice}:", "answer": '{"best": {1}}'}
        for one in mine
        if one.choice
    ]
    return [*named, {"match": "", "json_answer": {"best": 0}}]


def _about(one: Recorded) -> str:
    return rf"^Question {re.escape(one.question)}\."
