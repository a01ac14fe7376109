"""Hostile test files of workflows: each holds, or has problems with their lines, soon and in little memory."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from headrace.console.testing.files import load_tests
from tests.hostile.bad import Bad
from tests.hostile.bounds import bounded
from tests.hostile.corpus_workflows import FILES

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.tests.yaml"))
WORKFLOW = "name: w\nversion: 1\nsteps: {notes: {llm: {pool: small, prompt: hi}}}\n"
PIECES = (
    *(
        "{",
        "}",
        "[",
        "]",
        "- ",
        ": ",
        "cases:",
        "answers:",
        "expect:",
        "null",
        "-1",
        "1e999",
        ".nan",
        "true",
        "&a",
        "*a",
        "!!x",
    ),
    *(
        "in_order: [1, {answer: 2}]",
        "tasks: {notes: {at_least: x}}",
        "result: {usage: 3}",
        "prompt: '('",
        "\n",
        "\t",
        "\x00",
        "\ud83d",
    ),
)


@pytest.mark.parametrize("bad", FILES, ids=lambda bad: bad.name)
def test_what_is_hostile_as_a_workflow_is_no_test_file_either(bad: Bad, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    path = tmp_path / "w.tests.yaml"
    path.write_bytes(bad.value or b"")
    file, problems = bounded(bad, lambda: load_tests(path, None))
    assert file is None
    assert problems
    assert all(problem.problem.line for problem in problems)
    assert len("\n".join(map(str, problems))) < 100_000


@pytest.mark.parametrize("seed", range(150))
def test_a_spoiled_test_file_holds_or_has_problems(seed: int, tmp_path: Path) -> None:
    draws = Random(seed)
    text = draws.choice(EXAMPLES).read_text(encoding="utf-8")
    for _ in range(draws.randrange(1, 4)):
        at = draws.randrange(len(text))
        text = text[:at] + draws.choice(PIECES) + text[at + draws.randrange(12) :]
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    path = tmp_path / "w.tests.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    file, problems = load_tests(path, None)
    assert (file is None) == bool(problems)
    assert "\n".join(map(str, problems)).encode(errors="replace")
