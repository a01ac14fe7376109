"""A pytest plugin for .ci/run (`-p tests.broker_report`): how many tests with the marker `broker` ran.

A broker test that is skipped looks like success in pytest's exit code; in CI it must not. Works under pytest-xdist:
reports reach the controller with their keywords.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

VARIABLE = "HEADRACE_BROKER_REPORT"
_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "broker" not in report.keywords:
        return
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get(VARIABLE)
    if path and not hasattr(session.config, "workerinput"):
        counted = Counter(_outcomes.values())
        skipped = sorted(node for node, outcome in _outcomes.items() if outcome == "skipped")
        Path(path).write_text(json.dumps({"ran": counted["passed"] + counted["failed"], "skipped": skipped}))
