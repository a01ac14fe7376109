"""Writes the generated tables of docs/operations.md: ``python -m tests.docs_tables``. A test holds them to the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from headrace.runtime.metrics import CATALOGUE
from headrace.runtime.settings import Settings
from headrace.schemas.errors import KINDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operations.md"


def settings_table() -> str:
    """Return every setting with its environment variable, default and meaning."""
    lines = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    for path, default, meaning in _fields(Settings, ()):
        variable = "HEADRACE_" + "__".join(path).upper()
        lines.append(f"| `{'.'.join(path)}` | `{variable}` | {_shown(default)} | {_cell(meaning)} |")
    return "\n".join(lines)


def metrics_table() -> str:
    """Return the catalogue of metrics."""
    lines = ["| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {_cell(metric.meaning)} |")
    return "\n".join(lines)


def kinds_table() -> str:
    """Return the error kinds."""
    lines = ["| kind | tried again | meaning |", "|---|---|---|"]
    lines += [
        f"| `{kind}` | {'yes' if rule.retriable else 'no'} | {_cell(rule.meaning)} |" for kind, rule in KINDS.items()
    ]
    return "\n".join(lines)


TABLES = {"settings": settings_table, "metrics": metrics_table, "kinds": kinds_table}


def with_tables(page: str) -> str:
    """Return the page with its tables written anew between their marks."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        text = f"{begin}\n{table()}\n{end}"
        page, count = re.subn(f"{begin}.*?{end}", lambda _, text=text: text, page, flags=re.DOTALL)
        assert count == 1, f"docs/operations.md has one place marked {begin}"
    return page


def _fields(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, (*above, name))
        else:
            default = field.default if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]
            yield (*above, name), default, field.description or ""


def _shown(default: Any) -> str:
    if default is None or default is PydanticUndefined or default in ("", (), {}):
        return ""
    if isinstance(default, SecretStr):
        return "(secret)"
    value = default.value if isinstance(default, Enum) else default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
