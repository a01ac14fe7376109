"""A worker alone on prefilled topics: calls a second while each call sleeps, beside Pyrallel Consumer and the ideal.

The published case of Pyrallel Consumer (its README and ``benchmarks/``): 4 partitions, 100 keys, order ``key_hash``,
``max_in_flight`` 2,000, a sleep by asyncio of 5 ms a message. With 100 keys in order no more than 100 of its calls run
side by side, so 100 is the concurrency of our worker, and the ideal is 100 ÷ latency. Both read the same records, the
peer by ``json.loads``. It is measured without order too (``max_in_flight`` 100), since our worker keeps none among
tasks. It writes nothing but offsets; our worker writes a result, two records of the journal and a line of its log for
each call.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.deployment import Deployment, deployment
from benchmarks.payload import PAYLOAD
from benchmarks.peers import pyrallel
from benchmarks.report import Report, paired, spread
from headrace.runtime.kafka import admin_client, producer_config, reader_config
from headrace.runtime.settings import Settings
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.codec import encode, schema_headers
from headrace.schemas.messages import ChatMessage, Lane, LlmCall, Task

CONCURRENCY = 100
PARTITIONS = 4
KEYS = 100
JOB = "00000000-0000-4000-8000-000000000000"
ROUNDS = 3
READY_S = 90.0
Figures = dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Case:
    """One latency. Its pool is named like the case."""

    latency_ms: int
    calls: int
    """Measured; a multiple of the concurrency, so that the last wave is full."""
    quick_calls: int
    warm: int
    """Before the clock runs; a multiple of the concurrency too."""
    priced: bool = False
    """Whether calls cost money: then none begins before Kafka has its start."""

    @property
    def name(self) -> str:
        """What the case is called in figures and ratios."""
        span = f"{self.latency_ms // 1_000}s" if self.latency_ms >= 1_000 else f"{self.latency_ms}ms"
        return f"{span}_priced" if self.priced else span

    @property
    def pool(self) -> str:
        """The pool with this latency."""
        return self.name.replace("_", "-")

    @property
    def ideal_per_s(self) -> float:
        """Calls a second if nothing but the calls took time."""
        return CONCURRENCY / self.latency_ms * 1_000


CASES = (
    Case(5, 20_000, 20_000, 2_000),
    Case(100, 5_000, 3_000, 500),
    Case(1_000, 1_000, 500, 100),
    Case(5, 20_000, 0, 2_000, priced=True),
    Case(100, 5_000, 0, 500, priced=True),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of ours found."""

    calls_per_s: float
    cpu_us_per_call: float


def run(quick: bool) -> Report:
    """Measure each latency in rounds, ours and the peer by turns; quick: ours alone, and without prices."""
    cases = [case for case in CASES if not (quick and case.priced)]
    ours: dict[str, list[Run]] = {case.name: [] for case in cases}
    peer: dict[str, list[float]] = {}
    with deployment(workers={}, orchestrators=0) as here:
        for _ in range(ROUNDS):
            for case in cases:
                stage = Stage(here, case, case.quick_calls if quick else case.calls)
                ours[case.name].append(stage.run())
                if not quick and not case.priced:
                    for order, name in pyrallel.NAMES.items():
                        peer.setdefault(f"{name}_{case.name}", []).append(stage.pyrallel(order))
    return Report(_figures(ours, peer), _ratios(ours, peer))


def _figures(ours: Mapping[str, list[Run]], peer: Mapping[str, list[float]]) -> dict[str, Figures]:
    figures: dict[str, Figures] = {
        "settings": {"concurrency": CONCURRENCY, "partitions": PARTITIONS, "keys": KEYS, "peer": pyrallel.SETTINGS}
    }
    for case in [case for case in CASES if case.name in ours]:
        runs = ours[case.name]
        figures[f"headrace_{case.name}"] = {
            **spread([one.calls_per_s for one in runs], "calls_per_s"),
            "ideal_per_s": case.ideal_per_s,
            "cpu_us_per_call": spread([one.cpu_us_per_call for one in runs], "us")["us"],
        }
    for name, rates in peer.items():
        figures[name] = dict(spread(rates, "calls_per_s"))
    return figures


def _ratios(ours: Mapping[str, list[Run]], peer: Mapping[str, list[float]]) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for case in [case for case in CASES if case.name in ours]:
        rates = [one.calls_per_s for one in ours[case.name]]
        ratios[f"ideal_{case.name}"] = paired(rates, [case.ideal_per_s] * len(rates))
        for name in pyrallel.NAMES.values():
            if found := peer.get(f"{name}_{case.name}"):
                ratios[f"{name}_{case.name}"] = paired(rates, found)
    return ratios


class Stage:
    """Topics of their own, filled with one case's tasks before anybody reads them."""

    def __init__(self, here: Deployment, case: Case, calls: int) -> None:
        self._here, self._case = here, case
        self._warm, self._total = case.warm, case.warm + calls
        prefix = f"slow-{uuid.uuid4().hex[:6]}"
        pools = here.settings.data_path.parent / f"{prefix}.yaml"
        pools.write_text(yaml.safe_dump(_pools(case)))
        self._settings = _with(here.settings, prefix, pools)
        self._environment = {
            **here.environment,
            "HEADRACE_TOPICS__PREFIX": prefix,
            "HEADRACE_TOPICS__PARTITIONS": str(PARTITIONS),
            "HEADRACE_TOPICS__TASK_PARTITIONS": str(PARTITIONS),
            "HEADRACE_POOLS_FILE": str(pools),
        }
        ensure_topics(admin_client(self._settings), self._settings, [case.pool])
        self._topic = self._settings.topic_names.tasks(case.pool, Lane.BATCH)
        self._fill()

    def run(self) -> Run:
        """Let a worker make the calls; return what it did once it was warm."""
        name = f"worker-{self._settings.topics.prefix}"
        self._here.start(name, ["headrace.workers", self._case.pool], self._environment, 0)
        try:
            results = Results(self._settings)
            cpu = self._follow(name, results)
            stamps = results.stamps_ms(self._total)
        finally:
            self._here.supervisor.stop(name)
        seconds = (stamps[-1] - stamps[self._warm - 1]) / 1_000
        return Run((self._total - self._warm) / seconds, cpu)

    def pyrallel(self, order: str) -> float:
        """Let Pyrallel Consumer read the same records; return its calls a second."""
        return pyrallel.calls_per_s(
            self._settings.kafka.bootstrap_servers,
            self._topic,
            order=order,
            in_flight=pyrallel.IN_FLIGHT[order],
            latency_ms=self._case.latency_ms,
            warm=self._warm,
            total=self._total,
        )

    def _follow(self, name: str, results: Results) -> float:
        """Wait for the last result; return the worker's microseconds of CPU a call, from when it was warm."""
        deadline = time.monotonic() + READY_S
        first: tuple[int, float] | None = None
        while True:
            last = (results.count(), self._here.cpu_seconds(name))
            if first is None and last[0] >= self._warm:
                first = last
            if last[0] >= self._total:
                break
            assert time.monotonic() < deadline, f"{last[0]} of {self._total} calls"
            time.sleep(0.1)
        assert first is not None
        return (last[1] - first[1]) / max(1, last[0] - first[0]) * 1e6

    def _fill(self) -> None:
        producer = Producer(producer_config(self._settings, "fill"))
        now_ms = int(time.time() * 1_000)
        for number in range(self._total):
            task = _task(number, self._case.pool, now_ms)
            key = f"key-{number % KEYS}".encode()
            producer.produce(self._topic, encode(task), key, headers=[*schema_headers(Task)])
            producer.poll(0)
        assert producer.flush(30) == 0


class Results:
    """The topic of results, looked at from outside while a worker writes it."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(reader_config(settings, "results"))
        self._parts = [TopicPartition(settings.topic_names.results, number, 0) for number in range(PARTITIONS)]

    def count(self) -> int:
        """Return how many there are, without reading them: that would take the worker's time."""
        ends = (self._consumer.get_watermark_offsets(part, timeout=5) for part in self._parts)
        return sum(end[1] for end in ends if end is not None)

    def stamps_ms(self, total: int) -> list[int]:
        """Return when each was made, in order."""
        self._consumer.assign(self._parts)
        found: list[Message] = []
        deadline = time.monotonic() + READY_S
        while len(found) < total:
            assert time.monotonic() < deadline, f"{len(found)} of {total} results"
            found += [one for one in self._consumer.consume(10_000, 0.2) if one.error() is None]
        self._consumer.close()
        return sorted(one.timestamp()[1] for one in found)


def _task(number: int, pool: str, now_ms: int) -> Task:
    return Task(
        task_id=f"{JOB}/work/{number}",
        job_id=JOB,
        step="work",
        attempt=1,
        pool=pool,
        lane=Lane.BATCH,
        reply_partition=number % PARTITIONS,
        workflow="slow@1",
        template_hash="0" * 16,
        timeout_ms=60_000,
        dispatched_at_ms=now_ms,
        call=LlmCall(messages=(ChatMessage(role="user", content=f"{number}:{PAYLOAD}"),)),
    )


def _pools(case: Case) -> dict[str, object]:
    price = {"input": 1_000_000, "output": 2_000_000} if case.priced else {}
    return {
        "endpoints": {"sleeper": {"adapter": "noop", "latency_ms": case.latency_ms, "public": False}},
        "pools": {case.pool: {"endpoint": "sleeper", "concurrency": CONCURRENCY, "price": price}},
    }


def _with(settings: Settings, prefix: str, pools: Path) -> Settings:
    topics = settings.topics.model_copy(
        update={"prefix": prefix, "partitions": PARTITIONS, "task_partitions": PARTITIONS}
    )
    return settings.model_copy(update={"topics": topics, "pools_file": pools})
