"""Runs an example as its users do, on the run's broker, with written answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headrace.examples.catalogue import find
from headrace.examples.runner import ExampleRun, run_example, stage_of
from headrace.runtime.settings import load_settings

Ran = Callable[[str], ExampleRun]


@pytest.fixture
def ran(bootstrap_servers: str, tmp_path: Path) -> Iterator[Ran]:
    """A function that runs an example to its end and shows what did not hold."""
    with ExitStack() as held:

        def run(name: str) -> ExampleRun:
            (example,) = find([name])
            settings = load_settings(kafka={"bootstrap_servers": bootstrap_servers})
            stage = held.enter_context(stage_of(example, settings, tmp_path / name, print, answers="scripted"))
            one = run_example(example, stage)
            assert one.passed, [one.error, *(check for check in one.checks if not check.held)]
            return one

        yield run
