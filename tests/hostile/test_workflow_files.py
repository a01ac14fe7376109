"""Hostile workflow files: each is a workflow, or has problems with their lines, soon and in little memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.orchestrator.core.catalogue import check_text
from headrace.orchestrator.shell.workflows import load_workflows
from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import Pool
from tests.hostile.bad import Bad, Ends
from tests.hostile.bounds import bounded
from tests.hostile.corpus_workflows import FILES

POOLS = {"noop": Pool(endpoint="here")}


@pytest.mark.parametrize("bad", FILES, ids=lambda bad: bad.name)
def test_a_workflow_file_is_loaded_or_refused_with_the_line_of_each_problem(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(bad.value or b"")

    def load() -> str:
        try:
            load_workflows([path], pools=POOLS)
        except ConfigError as error:
            return error.message
        return ""

    refusal = bounded(bad, load)
    assert (refusal == "") == (bad.ends is Ends.TAKEN), refusal[:500]
    assert len(refusal) < 100_000, "what is wrong can be read"
    refusal.encode()


@pytest.mark.parametrize("bad", [bad for bad in FILES if not bad.works], ids=lambda bad: bad.name)
def test_every_problem_of_a_text_names_its_line(bad: Bad) -> None:
    try:
        text = (bad.value or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    graph, problems = check_text("w.yaml", text, pools=POOLS)
    assert (graph is None) == bool(problems)
    assert all(found.problem.line for found in problems)
    assert len(problems) < 2_000
