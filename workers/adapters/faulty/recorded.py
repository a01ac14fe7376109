r"""Recorded answers, by model and by what a prompt is about: the scripted provider as a replay of real models.

A file of JSON Lines, plain or ``.gz``. Its first line says where the key stands in a prompt: with
``{"key": "Question (\d+)"}`` it is the first group of what is found; without ``key`` it is the SHA-256 of the prompt.
Each further line is an answer:
``{"model": "gpt-4o", "key": "1987", "text": "…", "json": {…}, "input_tokens": 180, "output_tokens": 420}``. ``json`` is
what is answered where the request asks for JSON of a schema; an answer without it says its text there too, as a model
that does not hold itself to the schema would.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.faulty.replies import Said

MAX_LINES = 1_000_000


class Recording(BaseModel):
    """One recorded answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    key: str
    text: str = ""
    json_answer: Any = Field(default=None, alias="json")
    finish_reason: str = "stop"
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Recordings:
    """All recorded answers of a file."""

    name: str
    pattern: re.Pattern[str] | None
    answers: Mapping[tuple[str, str], Recording]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answered, in the order of their first answers."""
        return tuple(dict.fromkeys(model for model, _ in self.answers))

    def key_of(self, prompt: str) -> str | None:
        """Return the key that stands in a prompt, or None."""
        if self.pattern is None:
            return sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
        found = self.pattern.search(prompt)
        return found[1] if found else None

    def find(self, model: str, prompt: str, *, wants_json: bool) -> Said | str:
        """Return a model's recorded answer to a prompt, or why there is none."""
        key = self.key_of(prompt)
        if key is None:
            return (
                f"no key of a recorded answer in the prompt (looked for {self.pattern.pattern if self.pattern else ''})"
            )
        if (found := self.answers.get((model, key))) is not None:
            as_json = wants_json and found.json_answer is not None
            text = json.dumps(found.json_answer) if as_json else found.text
            return Said(text, found.finish_reason, (found.input_tokens, found.output_tokens))
        if model not in self.models:
            return f"no recorded answer of model {model!r} (recorded: {', '.join(self.models)})"
        return f"no recorded answer of model {model!r} to {key!r} in {self.name}"


def read_recordings(path: Path) -> Recordings:
    """Read a file of recorded answers.

    Raises:
        ConfigError: it cannot be read, or a line of it is none; the line is named.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "neither UTF-8 nor gzip of it"
        raise ConfigError(f"recorded answers {path} cannot be read: {reason}") from None
    return _parsed(path.name, text.splitlines())


def _parsed(name: str, lines: Iterable[str]) -> Recordings:
    pattern, answers = None, dict[tuple[str, str], Recording]()
    for number, line in enumerate(lines, start=1):
        if number > MAX_LINES:
            raise ConfigError(f"{name} has more than {MAX_LINES:,} lines")
        try:
            if number == 1:
                head = json.loads(line)
                pattern = re.compile(head["key"]) if "key" in head else None
                if pattern is not None and not pattern.groups:
                    raise ValueError("key has no group")
                continue
            one = Recording.model_validate_json(line)
        except (ValueError, TypeError, re.error) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ConfigError(f"{name}, line {number}: {said[:200]}") from None
        answers[one.model, one.key] = one
    return Recordings(name, pattern, answers)
