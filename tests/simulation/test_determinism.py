"""A seed is a run: the same bytes in every log, in this process, in another one, and after other runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import tests.simulation.__main__ as command_line
from tests.simulation.faults import only
from tests.simulation.run import Verdict, run_seed

ROOT = Path(__file__).resolve().parents[2]
SEED = 7


def test_a_seed_is_the_same_run_again_and_another_seed_is_another() -> None:
    first, other, again = run_seed(SEED), run_seed(SEED + 1), run_seed(SEED)
    assert (first.digest, first.figures) == (again.digest, again.figures)
    assert first.digest != other.digest


def test_the_command_line_repeats_a_seed_in_another_process_whatever_its_hashes() -> None:
    said = command("--seed", str(SEED), "--jobs", "5", hash_seed="1").stdout
    assert f"digest {run_seed(SEED, jobs=5).digest:016x}" in said


def test_a_failed_seed_is_named_with_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = Verdict(SEED, only("loss"), problems=["outcomes: job-1 has no outcome"])
    monkeypatch.setattr(command_line, "run_seed", lambda *_, **__: verdict)
    said = io.StringIO()
    with redirect_stdout(said):
        code = command_line.main(["--seed", str(SEED)])
    assert code == 1
    assert "job-1 has no outcome" in said.getvalue()
    assert f"python -m tests.simulation --seed {SEED} --jobs 20 --faults loss --trace" in said.getvalue()


def command(*arguments: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    line = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True)
