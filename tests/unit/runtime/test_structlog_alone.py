"""A service starts without what only terminals need."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["orchestrator", "workers"])
def test_a_service_starts_without_rich_and_can_import_it_all_the_same(service: str) -> None:
    program = (
        f"import sys, headrace.{service}.__main__; print('rich' in sys.modules); import rich; print(rich.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "rich"]
