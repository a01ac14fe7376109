"""A seed is a run: the same bytes in every log, in this process, in another one, and after other runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.run import run_seed

ROOT = Path(__file__).resolve().parents[2]
SEED = 7


def test_a_seed_is_the_same_run_again_and_another_seed_is_another() -> None:
    first, other, again = run_seed(SEED), run_seed(SEED + 1), run_seed(SEED)
    assert (first.digest, first.figures) == (again.digest, again.figures)
    assert first.digest != other.digest


def test_the_command_line_repeats_a_seed_in_any_process_whatever_its_hashes() -> None:
    said = {command("--seed", str(SEED), hash_seed=hash_seed).stdout for hash_seed in ("1", "2")}
    assert len(said) == 1
    assert f"digest {run_seed(SEED).digest:016x}" in said.pop()


def test_fewer_jobs_make_another_world() -> None:
    assert run_seed(SEED, jobs=2).digest != run_seed(SEED).digest


def command(*arguments: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    line = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True)
