"""The tool ``run_tests``: edits in a scratch copy of the repository, and what its tests say of them."""

from __future__ import annotations

import difflib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from headrace.examples.coding.edits import REPOSITORY

SANDBOX = Path(__file__).resolve().parent / "sandbox.py"
LIMIT_S = 3
MAX_LOG = 4_000
"""Characters of the end of what the tests print."""


def run_tests(edits: list[dict[str, str]]) -> dict[str, Any]:
    """Apply checked edits to a copy that is thrown away, and run the tests there.

    Returns:
        Whether they passed, how many there are, which did not, the end of their log, and the edits as a diff.
    """
    with TemporaryDirectory(prefix="headrace-coding-") as scratch:
        copy = Path(scratch) / "repository"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in edits:
            _inside(copy, edit["path"]).write_text(edit["content"], encoding="utf-8")
        return {**_tests(copy), "diff": _diff(edits)}


def _inside(copy: Path, path: str) -> Path:
    """Return where an edit goes. Whoever calls should have checked it; this is where it would be written."""
    found = (copy / path).resolve()
    if not found.is_relative_to(copy.resolve()):
        raise ValueError(f"{path!r} leaves the copy")
    return found


def _tests(copy: Path) -> dict[str, Any]:
    command = [sys.executable, "-I", str(SANDBOX), str(LIMIT_S)]
    try:
        # An empty environment: no key of the worker's is there to be read.
        ran = subprocess.run(command, cwd=copy, env={}, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"passed": False, "tests": 0, "broken": [], "log": f"not done after {LIMIT_S} s: stopped"}
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        log = (ran.stderr or f"the tests ended with code {ran.returncode}")[-MAX_LOG:]
        return {"passed": False, "tests": 0, "broken": [], "log": log}
    passed = bool(found["tests"]) and not found["broken"]
    return {"passed": passed, "tests": found["tests"], "broken": found["broken"], "log": found["log"][-MAX_LOG:]}


def _diff(edits: list[dict[str, str]]) -> str:
    lines: list[str] = []
    for edit in edits:
        path, before = edit["path"], (REPOSITORY / edit["path"]).read_text(encoding="utf-8")
        texts = (before.splitlines(keepends=True), edit["content"].splitlines(keepends=True))
        lines += difflib.unified_diff(*texts, f"a/{path}", f"b/{path}")
    return "".join(lines)
