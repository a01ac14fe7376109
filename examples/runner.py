"""Runs examples one after the other on one Kafka, and says what came of each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.console.options import settings_with_servers
from headrace.examples.catalogue import Example
from headrace.examples.stage import Answers, Check, Say, Stage
from headrace.runtime.brokers import broker_for
from headrace.runtime.local_kafka_state import status
from headrace.runtime.settings import Settings
from headrace.schemas.errors import HeadraceError

PREFIX = "headrace-example-"


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """What came of one example."""

    name: str
    checks: tuple[Check, ...]
    seconds: float
    error: str = ""
    """Why it did not come to its end."""

    @property
    def passed(self) -> bool:
        """Whether it came to its end, and every check held; one that checks nothing shows nothing."""
        return not self.error and bool(self.checks) and all(check.held for check in self.checks)

    def summary(self) -> str:
        """Return one line for people."""
        held = sum(check.held for check in self.checks)
        said = self.error or f"{held} of {len(self.checks)} checks held"
        return f"{'passed' if self.passed else 'FAILED'}  {self.name}: {said}, {self.seconds:.1f} s"


def run_examples(
    chosen: Sequence[Example], settings: Settings, say: Say, *, answers: Answers, pools: Path | None = None
) -> Iterator[ExampleRun]:
    """Run examples on one Kafka and yield what came of each as it ends.

    Args:
        chosen: which.
        settings: which Kafka; where none is named and none runs here, one is started and stopped.
        say: takes one line for people.
        answers: who answers where an example leaves it open.
        pools: the user's own pools file, in place of the examples'.

    Raises:
        DependencyUnavailable: there is no Kafka, and none can be started.
    """
    folder = settings.data_path / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    given = settings.kafka.bootstrap_servers or status(settings.data_path / "kafka").bootstrap_servers
    with broker_for(folder / "kafka", given=given) as broker:
        say(f"Kafka at {broker.bootstrap_servers}: {broker.choice.reason}")
        mine = settings_with_servers(settings, broker.bootstrap_servers)
        for example in chosen:
            say(f"{example.name}: {example.title}")
            with stage_of(example, mine, folder / example.name, say, answers=answers, pools=pools) as stage:
                yield run_example(example, stage)


@contextmanager
def stage_of(
    example: Example, settings: Settings, scratch: Path, say: Say, *, answers: Answers, pools: Path | None = None
) -> Iterator[Stage]:
    """Provide a stage with a topic prefix of its own: no run sees another's records."""
    topics = settings.topics.model_copy(update={"prefix": f"{PREFIX}{uuid.uuid4().hex[:8]}"})
    own = settings.model_copy(update={"topics": topics})
    with Stage(example.name, example.home, scratch, own, say, answers=answers, given_pools=pools) as stage:
        yield stage


def run_example(example: Example, stage: Stage) -> ExampleRun:
    """Run one example; what it fails with is part of the result, so that those after it are run."""
    begun, error = time.monotonic(), ""
    try:
        example.load()(stage)
    except HeadraceError as failure:
        error = f"{failure.message}{f' ({failure.hint})' if failure.hint else ''}"
    return ExampleRun(example.name, tuple(stage.checks), time.monotonic() - begun, error)
