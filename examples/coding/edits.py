"""The tool ``check_edits``: edits that may be applied, or why none is. Nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headrace.schemas.errors import AdapterError, ErrorKind

REPOSITORY = Path(__file__).resolve().parent / "toy"
MAX_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Edit:
    """The new content of one file."""

    path: str
    """Below the repository, with ``/``."""
    content: str


def check_edits(planned: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the edits of planned tasks, ``{name, args: {path}, output: {content}}`` each, as ``{path, content}``.

    Raises:
        AdapterError: two tasks edit one file, or an edit would touch what it must not; nothing was applied.
    """
    edits = [Edit(task["args"]["path"], task["output"]["content"]) for task in planned]
    problems = [*_conflicts(edits), *(said for edit in edits if (said := _refused(edit)))]
    if problems:
        raise AdapterError(ErrorKind.BAD_REQUEST, f"nothing was applied: {'; '.join(problems)}")
    return [{"path": edit.path, "content": edit.content} for edit in edits]


def _conflicts(edits: Sequence[Edit]) -> list[str]:
    """Two tasks with one file: each was written without the other, so neither is right."""
    by_file: dict[str, list[int]] = {}
    for number, edit in enumerate(edits):
        by_file.setdefault(str(PurePosixPath(edit.path)), []).append(number)
    return [
        f"tasks {' and '.join(map(str, numbers))} both edit {path}"
        for path, numbers in by_file.items()
        if len(numbers) > 1
    ]


def _refused(edit: Edit) -> str | None:
    path = PurePosixPath(edit.path)
    if path.is_absolute() or ".." in path.parts or "\\" in edit.path or "\0" in edit.path:
        return f"{edit.path!r} leaves the repository"
    if path.parts[:1] != ("shop",) or path.suffix != ".py":
        return f"{edit.path!r} is no module of shop: tests are not for the model to change"
    if not (REPOSITORY / path).is_file():
        return f"there is no {edit.path!r}"
    if len(edit.content.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"{edit.path!r} would have more than {MAX_BYTES:,} bytes"
    return None
