"""The hostile corpus on real topics, while an orchestrator and a worker run a good job: nothing stops, nothing dies."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from headrace.console import cli
from headrace.console.deployment import worker_command
from headrace.runtime.kafka import admin_client, producer_config
from headrace.runtime.lag import pool_lag
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.ids import JOB_ID, home_partition
from headrace.schemas.messages import Lane, Result
from tests.hostile.bad import Bad, Ends
from tests.hostile.corpus import of
from tests.hostile.corpus_results import TASK, VICTIM
from tests.hostile.raw_produce import RawRecord, commit, produce
from tests.orchestrators import Site, site, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

PARTITIONS = 3
POOLS = """
endpoints: {here: {adapter: noop, public: false}}
pools: {noop: {endpoint: here, concurrency: 64}, idle: {endpoint: here}}
"""
"""Nobody works for `idle`: the job that forged results are about waits there."""
WAITS = {"name": "v", "version": 1, "steps": {"say": {"llm": {"pool": "idle", "prompt": "x"}}}, "output": "{{ say }}"}
ITEMS = 1_000
"""Of the good job, which runs while the corpus arrives."""
BY_HAND_BYTES = 50_000
"""What is larger goes through librdkafka, compressed: the checksum takes long in Python, and the broker takes more."""
NEVER = ("event.broke", "job.stuck", "sender.failed", "task.unreadable", "attempt.crashed", "Traceback")
"""What no log may say: each means that we met something that we did not expect."""


@pytest.fixture
def here(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Iterator[Site]:
    with site(bootstrap_servers, topic_prefix, tmp_path, partitions=PARTITIONS) as made:
        (tmp_path / "pools.yaml").write_text(POOLS)
        admin = admin_client(made.settings)
        ensure_topics(admin, made.settings, ["idle"])
        yield made
        admin.delete_topics([made.settings.topic_names.tasks("idle", lane) for lane in Lane])


class Hostile:
    """Writes the corpus: small records byte for byte, large ones in compressed batches."""

    def __init__(self, here: Site) -> None:
        self._servers = here.settings.kafka.bootstrap_servers or ""
        limits = {"message.max.bytes": 20_000_000, "batch.size": 2_000_000, "linger.ms": 0}
        self._producer = Producer({**producer_config(here.settings, "hostile"), **limits})
        self.origins: dict[tuple[str, int, int], Bad] = {}
        """Where each input lies."""

    def send(self, bad: Bad, topic: str, partition: int) -> None:
        if bad.size < BY_HAND_BYTES:
            offset = produce(self._servers, topic, partition, [RawRecord(bad.key, bad.value, bad.headers)])
            self.origins[topic, partition, offset] = bad
            return

        def landed(error: Any, message: Any) -> None:
            assert error is None, f"{bad.name}: {error}"
            self.origins[topic, message.partition(), message.offset()] = bad

        headers = [(name.decode(), value) for name, value in bad.headers]
        self._producer.produce(topic, bad.value, bad.key, partition, landed, headers=headers)
        assert self._producer.flush(20) == 0

    def close(self) -> None:
        self._producer.close()

    def those_that(self, *ends: Ends) -> list[Bad]:
        return [bad for bad in self.origins.values() if bad.ends in ends]


def home_of(bad: Bad, number: int) -> int:
    """Return where a job's input goes: home, where it names a job, else anywhere."""
    return home_partition(bad.job_id, PARTITIONS) if JOB_ID.fullmatch(bad.job_id) else number % PARTITIONS


def start_worker(here: Site) -> subprocess.Popen[bytes]:
    with (here.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(worker_command("noop"), env=here.environment, stdout=log, stderr=log)
    here.processes.append(process)
    return process


def check_alive(here: Site) -> None:
    ended = [(process.args, process.returncode) for process in here.processes if process.poll() is not None]
    assert ended == []


def letters_by_origin(here: Site) -> dict[tuple[str, int, int], dict[str, Any]]:
    return {(at["topic"], at["partition"], at["offset"]): one for one in here.dead_letters() for at in [one["origin"]]}


def test_bad_inputs_on_every_topic_stop_no_partition_and_end_no_process(
    here: Site, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = here.settings.topic_names
    hostile = Hostile(here)
    orchestrator = here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    here.submit(VICTIM, WAITS)  # type: ignore[arg-type]
    here.submit("good", "fan", input={"items": list(range(ITEMS))})
    for number, bad in enumerate(of("attempts")):
        hostile.send(bad, topics.attempts("noop"), number % PARTITIONS)
    wait_until(lambda: len(here.tasks()) >= 100, "tasks, so that the worker reads the journal")
    servers, group = here.settings.kafka.bootstrap_servers or "", topics.worker_group("noop")
    for number, metadata in enumerate((b"\xff\xfe", b"3:9:9:9:9:9;1r:!!!!", b"9:of the future")):
        commit(servers, group, topics.tasks("noop", Lane.BATCH), number, 0, metadata)
    worker = start_worker(here)
    here.wait_for_log("worker", "control.read")
    for number, bad in enumerate(of("tasks")):
        hostile.send(bad, topics.tasks("noop", Lane.BATCH), number % PARTITIONS)
    for bad in of("results"):
        hostile.send(bad, topics.results, home_partition(VICTIM, PARTITIONS))
    for bad in of("control"):
        hostile.send(bad, topics.control, 0)
    for number, bad in enumerate(of("jobs")):
        hostile.send(bad, topics.jobs, home_of(bad, number))

    # Every bad input has a dead letter or an outcome.
    wanted = {place for place, bad in hostile.origins.items() if bad.ends is Ends.LETTER}
    with suppress(AssertionError):
        wait_until(lambda: wanted <= letters_by_origin(here).keys(), "a dead letter for each", 30)
    check_alive(here)
    missing = [hostile.origins[place].name for place in wanted - letters_by_origin(here).keys()]
    assert missing == [], "a dead letter for each"
    for place, letter in letters_by_origin(here).items():
        if place in wanted:
            assert hostile.origins[place].reason in ("", letter["reason"]), hostile.origins[place].name
    ended = hostile.those_that(Ends.REJECTED, Ends.TAKEN, Ends.IGNORED)
    wait_until(lambda: len(outcomes(here)) == len(ended) + 1, "an outcome for each, and the good job's", 60)
    rejected = [one for one in outcomes(here).values() if one["status"] == "rejected"]
    assert len(rejected) == len(hostile.those_that(Ends.REJECTED))
    unread = here.log("worker").count("journal.unread")
    assert unread == len(hostile.those_that(Ends.PASSED_OVER)) == len(of("attempts"))

    # The good job is right, the forged results changed nothing, and every partition goes on.
    good = outcomes(here)["good"]
    assert (good["status"], good["output"], good["receipt"]["tasks"]) == ("succeeded", ITEMS, ITEMS)
    here.result(Result(task_id=TASK, job_id=VICTIM, attempt=1, output="true"), home_partition(VICTIM, PARTITIONS))
    assert here.wait_for_outcome(VICTIM)["output"] == "true"
    later = [next(f"l-{n}" for n in range(99) if home_partition(f"l-{n}", PARTITIONS) == p) for p in range(PARTITIONS)]
    for job_id in later:
        here.submit(job_id)
    stopped = [job_id for job_id in later if here.wait_for_outcome(job_id)["status"] != "succeeded"]
    admin = admin_client(here.settings)
    wait_until(lambda: not any(lag.waiting or lag.in_flight for lag in pool_lag(admin, topics, ["noop"])), "no lag", 30)
    died = [process.args for process in (orchestrator, worker) if process.poll() is not None]
    said = [word for word in NEVER for name in ("a", "worker") if word in here.log(name)]
    assert (stopped, died, said) == ([], [], [])

    # The console works with what is left, hostile letters included.
    for number, bad in enumerate(of("dead-letters")):
        hostile.send(bad, topics.dead_letters, number % PARTITIONS)
    for name, value in here.environment.items():
        if name.startswith("HEADRACE_"):
            monkeypatch.setenv(name, value)
    assert cli.run(["dead-letters", "list", "--limit", "2000"]) == 0
    hostile.close()
    figure = (
        f"bad inputs that stop a partition or crash a process: {len(stopped) + len(died)} of {len(hostile.origins)}"
    )
    record_property("bad_inputs", figure)
    print(f"\n{figure}")


def outcomes(here: Site) -> dict[str, dict[str, Any]]:
    found = [json.loads(message.value() or b"") for message in here.read(here.settings.topic_names.outcomes)]
    ids = Counter(one["job_id"] for one in found)
    assert [job_id for job_id, count in ids.items() if count > 1] == [], "one outcome for each job"
    return {one["job_id"]: one for one in found}
