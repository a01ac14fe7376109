"""What the scripted provider says, made from the questions: no real model is wrong where it is wanted to be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what the models say to it."""

    question: str
    search: str
    needs: dict[str, list[str]] = field(default_factory=dict)
    """Tables and columns that answer it; none: it is no question to the database."""
    sql: tuple[str, ...] = ()
    """What is written first, and as repair where the first does not hold."""
    rows: list[list[Any]] | None = None
    """The known answer."""
    stays_invalid: str = ""
    """What is wrong with the repair too."""


def questions(file: Path) -> list[Question]:
    """Read them."""
    return [Question(**one) for one in json.loads(file.read_text(encoding="utf-8"))]


def script(asked: list[Question]) -> dict[str, Any]:
    """Return the rules of the scripted provider."""
    return {"rules": [rule for one in asked for rule in _rules(one)]}


def _rules(one: Question) -> list[dict[str, Any]]:
    pruned = [{"name": table, "columns": columns} for table, columns in one.needs.items()]
    said: list[tuple[str, dict[str, Any]]] = [
        ("Does the question", {"asks_data": bool(one.sql), "search": one.search}),
        ("Which of these tables", {"tables": pruned}),
        *zip(("Write one SELECT", "This SELECT"), ({"sql": sql} for sql in one.sql), strict=False),
    ]
    return [{"match": f"(?s)^{step}.*{re.escape(one.question)}", "json_answer": answer} for step, answer in said]
