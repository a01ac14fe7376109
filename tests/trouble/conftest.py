"""One cluster of three brokers for the run, healed after each test, and a deployment on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.clusters import Cluster
from benchmarks.deployment import Deployment, deployment

from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime

WORKER = "worker-noop-0"
ORCHESTRATOR = "orchestrator-0"


@pytest.fixture(scope="session")
def three_brokers(local_kafka_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    options = LocalKafkaOptions(tmp_path_factory.mktemp("three"), nodes=3)
    with LocalKafka(options, local_kafka_runtime) as kafka:
        yield Cluster(kafka)


@pytest.fixture
def cluster(three_brokers: Cluster) -> Iterator[Cluster]:
    yield three_brokers
    three_brokers.heal()


@pytest.fixture
def one_broker(local_kafka_runtime: Runtime, tmp_path: Path) -> Iterator[Cluster]:
    with LocalKafka(LocalKafkaOptions(tmp_path / "one"), local_kafka_runtime) as kafka:
        made = Cluster(kafka)
        yield made
        made.heal()


@pytest.fixture
def here(cluster: Cluster) -> Iterator[Deployment]:
    """An orchestrator and a worker that nobody starts again, on three brokers."""
    with deployment(workers={"noop": 1}, servers=cluster.kafka.bootstrap_servers) as made:
        yield made
