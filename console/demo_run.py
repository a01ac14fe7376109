"""The demo: one real document as one job, over a real Kafka, worked on by two tiers, and everything stopped again."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka.admin import AdminClient

from headrace.console.client import HeadraceClient
from headrace.console.demo_notes import read_outputs
from headrace.console.deployment import orchestrator_spec, worker_spec
from headrace.console.job_reader import follow
from headrace.console.local_stack import start_together
from headrace.console.models import Answerers, modelled, scripted
from headrace.console.options import settings_with_servers
from headrace.console.pool_lags import pool_lags
from headrace.console.progress import Screen
from headrace.console.reader import TopicReader
from headrace.runtime.brokers import Broker, broker_for
from headrace.runtime.kafka import wait_for_broker
from headrace.runtime.local_kafka_state import status
from headrace.runtime.local_model import bundled_small_model, resolve_model, server_available
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.runtime.topic_plan import apply, delete_topics
from headrace.schemas.errors import ConfigError, HeadraceError
from headrace.schemas.messages import Outcome

WORKERS = {"small": 2, "large": 1}
"""Worker processes: two consumer groups, one of them with two members."""
PARTITIONS = 6
"""Enough for two workers a pool; a laptop's broker creates the topics of twelve a second later."""
PREFIX = "headrace-demo-"
DOCUMENTS = {"default": "kennedy-1963.json", "long": "roosevelt-1907.json"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is to do."""

    document: str = "default"
    scripted: bool = False
    large: str | None = None
    large_sha256: str | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it. Times are defined in `headrace demo --help`."""

    outcome: Outcome
    notes: list[str]
    chunks: int
    seconds: float
    setup_seconds: float
    model_seconds: float

    def plain(self) -> dict[str, Any]:
        """Return the documented JSON of ``headrace demo --json``."""
        receipt = self.outcome.receipt
        usage = receipt.usage
        return {
            "outcome": self.outcome.status.value,
            "tasks": receipt.tasks,
            "chunks": self.chunks,
            "tokens": {
                "input": usage.input_tokens,
                "cached": usage.cached_tokens,
                "output": usage.output_tokens,
            },
            "cost_microusd": receipt.cost_microusd,
            "seconds": round(self.seconds, 3),
            "model_seconds": round(self.model_seconds, 3),
            "setup_seconds": round(self.setup_seconds, 3),
            "notes": self.notes,
            "summary": self.outcome.output,
            "job_id": self.outcome.job_id,
            "models": {name: list(pool.models) for name, pool in receipt.pools.items()},
        }


def run_demo(settings: Settings, options: DemoOptions, say: Say) -> DemoResult:
    """Run the demo and return what came of it; everything that was started is stopped, also after Ctrl-C.

    Raises:
        ConfigError: the document cannot be used.
        DependencyUnavailable: no Kafka, and none can be started; or a process did not become ready.
    """
    begun = time.monotonic()
    document = read_document(options.document)
    with _deployment(settings, options, say) as running:
        say(f"ready after {time.monotonic() - begun:.1f} s")
        submitted = time.monotonic()
        outcome, notes = _run_job(running, document, say)
        finished = time.monotonic()
    ended = time.monotonic()
    return DemoResult(
        outcome=outcome,
        notes=notes,
        chunks=outcome.receipt.steps["notes"].tasks if "notes" in outcome.receipt.steps else 0,
        seconds=ended - begun,
        setup_seconds=(submitted - begun) + (ended - finished),
        model_seconds=_model_seconds(outcome),
    )


def read_document(name: str) -> str:
    """Return the text of a document of the repository, or of a file: text, or JSON with a field ``text``.

    Raises:
        ConfigError: there is no such file, it is not UTF-8, or it is empty.
    """
    try:
        if name in DOCUMENTS:
            source = files("headrace.examples").joinpath("summarise", "input", DOCUMENTS[name])
            text = source.read_text(encoding="utf-8")
        else:
            text = Path(name).read_text(encoding="utf-8-sig")
        if name in DOCUMENTS or name.endswith(".json"):
            text = json.loads(text)["text"]
    except OSError as error:
        raise ConfigError(f"document {name}: {error.strerror}", "default, long, or a file") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"document {name} is no UTF-8 text, or JSON without a field 'text'") from None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"document {name} is empty")
    return text


@dataclass(frozen=True, slots=True)
class _Running:
    settings: Settings
    admin: AdminClient


@contextmanager
def _deployment(settings: Settings, options: DemoOptions, say: Say) -> Iterator[_Running]:
    folder = settings.data_path / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        answerers = _answerers(folder, options)
        for line in answerers.banner:
            say(line)
        supervisor = held.enter_context(Supervisor(folder / "logs"))
        for spec in answerers.specs:  # Loads its model while Kafka starts.
            _start_early(supervisor, spec)
        broker = held.enter_context(_broker(settings, folder))
        say(f"Kafka at {broker.bootstrap_servers}: {broker.choice.reason}")
        mine = _own_settings(settings, broker, folder, answerers)
        admin = wait_for_broker(mine)
        if broker.choice.kind == "local":
            delete_topics(admin, PREFIX)
        if not options.keep:
            held.callback(_clean_up, admin, mine, broker)
        apply(admin, mine, WORKERS)
        # Entered last, left first: the processes drain before their topics go.
        services = held.enter_context(Supervisor(folder / "logs"))
        with as_file(files("headrace.examples").joinpath("summarise")) as workflows:
            start_together(services, _services(mine, workflows))
        _await(answerers)
        yield _Running(mine, admin)


def _answerers(folder: Path, options: DemoOptions) -> Answerers:
    if options.scripted:
        return scripted(folder, "asked for with --provider")
    if reason := server_available():
        return scripted(folder, reason)
    large = resolve_model(options.large, options.large_sha256) if options.large else None
    return modelled(bundled_small_model(), large)


def _start_early(supervisor: Supervisor, spec: ProcessSpec) -> None:
    """Start without waiting; `_await` waits, once there is nothing else to do."""
    from dataclasses import replace

    supervisor.start(replace(spec, ready=None))


def _await(answerers: Answerers) -> None:
    for spec in answerers.specs:
        deadline = time.monotonic() + spec.ready_timeout_s
        while callable(spec.ready) and not spec.ready():
            if time.monotonic() > deadline:
                raise HeadraceError(f"{spec.name} was not ready within {spec.ready_timeout_s:.0f} s", "see its log")
            time.sleep(0.05)


@contextmanager
def _broker(settings: Settings, folder: Path) -> Iterator[Broker]:
    """Provide a Kafka: the given one, one that runs here, else one of the demo's own."""
    given = settings.kafka.bootstrap_servers or status(settings.data_path / "kafka").bootstrap_servers
    with broker_for(folder / "kafka", given=given) as broker:
        yield broker


def _own_settings(settings: Settings, broker: Broker, folder: Path, answerers: Answerers) -> Settings:
    """Return settings with a prefix of this run's own: no run sees another's records."""
    pools = folder / "pools.yaml"
    used = {name: pool for name, pool in answerers.pools["pools"].items() if name in WORKERS}
    pools.write_text(yaml.safe_dump({**answerers.pools, "pools": used}), encoding="utf-8")
    topics = settings.topics.model_copy(
        update={
            "prefix": f"{PREFIX}{uuid.uuid4().hex[:8]}",
            "partitions": PARTITIONS,
            "task_partitions": PARTITIONS,
        }
    )
    return settings_with_servers(settings, broker.bootstrap_servers).model_copy(
        update={"topics": topics, "pools_file": pools, "data_dir": folder}
    )


def _services(settings: Settings, workflows: Path) -> list[ProcessSpec]:
    workers = [worker_spec(settings, pool, number) for pool, count in WORKERS.items() for number in range(1, count + 1)]
    return [orchestrator_spec(settings, 1, workflows=[workflows]), *workers]


def _run_job(running: _Running, document: str, say: Say) -> tuple[Outcome, list[str]]:
    settings = running.settings
    with HeadraceClient(settings) as client, TopicReader(settings) as reader:
        job_id = client.submit("summarise", {"text": document}, labels={"from": "headrace demo"})
        say(f"job {job_id} submitted: {len(document):,} characters")
        with Screen(lambda: pool_lags(running.admin, settings, list(WORKERS))) as screen:
            screen.show(follow(reader, settings, job_id, every_s=1.0, patience_s=60.0))
        outcome = client.outcome(job_id, 30.0)
        return outcome, read_outputs(reader, settings, job_id, step="notes")


def _model_seconds(outcome: Outcome) -> float:
    """Return the time between the first dispatch and the last result of a task, by the orchestrator's clock."""
    steps = [step for step in outcome.receipt.steps.values() if step.tasks]
    started = [step.started_ms for step in steps if step.started_ms is not None]
    finished = [step.finished_ms for step in steps if step.finished_ms is not None]
    return (max(finished) - min(started)) / 1000 if started and finished else 0.0


def _clean_up(admin: AdminClient, settings: Settings, broker: Broker) -> None:
    """Remove the topics; on a broker that ends with the demo the next run does it, while nobody waits."""
    if broker.choice.kind not in ("local", "docker"):
        delete_topics(admin, settings.topics.prefix)
