"""What our processes do while brokers are in trouble: wait, say so, and lose nothing. None is started again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from benchmarks.clusters import Cluster
from benchmarks.deployment import Deployment, deployment
from benchmarks.load import Load
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.orchestrators import wait_until
from tests.trouble.conftest import ORCHESTRATOR, WORKER
from tests.watched import Watched

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

CPU_SHARE = 0.6
"""Of one core, under the load of a test on a busy machine. A loop that spins takes all of it."""
LINES_A_SECOND = 5
"""Of log. A loop that spins writes hundreds."""


@contextmanager
def outlived(here: Deployment) -> Iterator[tuple[Load, Watched, Watched]]:
    """Load during the block; after it every acknowledged job has one outcome, from the same two processes."""
    with Load(here) as load:
        wait_until(lambda: len(load.acknowledged) > 20 and bool(load.outcomes()), "a load that runs")
        watched = Watched(here, ORCHESTRATOR), Watched(here, WORKER)
        yield load, *watched
        time.sleep(2)
        load.stop()
        load.wait_for_all(90)
    for one in watched:
        assert one.same_process, one.log()[-4000:]
        assert one.cpu_share < CPU_SHARE, f"{one.name} spins"
        assert one.lines < LINES_A_SECOND * one.seconds, f"{one.name} wrote {one.lines} lines\n{one.log()[-4000:]}"
        wait_until(lambda one=one: one.get("/readyz")[0] == 200, f"readiness of {one.name}")  # type: ignore[misc]
        assert not one.troubles()


def unready(one: Watched, said: str, timeout_s: float = 30.0) -> None:
    """Wait until a process says that it is not ready, and why."""
    wait_until(
        lambda: (page := one.get("/readyz"))[0] == 503 and said in page[1],
        f"{said!r} at {one.name}, which says {one.get('/readyz')}",
        timeout_s,
    )
    assert one.get("/livez")[0] == 200


def test_a_lone_broker_that_is_away_is_waited_for(one_broker: Cluster) -> None:
    with (
        deployment(workers={"noop": 1}, servers=one_broker.kafka.bootstrap_servers) as here,
        outlived(here) as (_, orchestrator, worker),
    ):
        one_broker.kill(1)
        unready(orchestrator, "Kafka does not answer")
        unready(worker, "Kafka does not answer")
        assert orchestrator.troubles()
        assert worker.troubles()
        time.sleep(10)
        one_broker.heal()


def test_every_broker_is_killed_in_turn_leaders_and_coordinators_move_and_nothing_is_lost(
    here: Deployment, cluster: Cluster
) -> None:
    with outlived(here):
        for node in (1, 2, 3):
            cluster.kill(node)
            time.sleep(4)  # Its session ends after 3 s: leaders and coordinators are elsewhere by now.
            cluster.heal()


def test_a_rolling_restart_of_the_brokers_moves_every_leader_and_nothing_is_lost(
    here: Deployment, cluster: Cluster
) -> None:
    jobs = here.settings.topic_names.jobs
    with outlived(here):
        for node in (1, 2, 3):
            os.kill(cluster.pid(node), signal.SIGTERM)
            cluster.kafka.wait(node)
            assert all(cluster.leader(jobs, p) != node for p in range(here.settings.topics.partitions))
            cluster.heal()


def test_too_few_replicas_in_sync_are_waited_for_and_named(here: Deployment, cluster: Cluster) -> None:
    require(here, 3)
    with outlived(here) as (_, orchestrator, worker):
        cluster.kill(3)
        unready(orchestrator, "of 3 needed replicas in sync")
        unready(worker, "of 3 needed replicas in sync")
        assert "too_few_replicas" in orchestrator.troubles()
        time.sleep(8)
        cluster.heal()


def require(here: Deployment, replicas: int) -> None:
    """Let our topics need so many replicas in sync, before our processes are told what is needed."""
    names = [spec.name for spec in here.settings.topic_names.catalogue(["noop", "http", "tiny"])]
    resources = []
    for name in names:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        resource.add_incremental_config(
            ConfigEntry("min.insync.replicas", str(replicas), incremental_operation=AlterConfigOpType.SET)
        )
        resources.append(resource)
    admin = AdminClient({"bootstrap.servers": here.settings.kafka.bootstrap_servers})
    for future in admin.incremental_alter_configs(resources).values():
        future.result()


def test_two_of_three_brokers_that_stop_are_waited_for(here: Deployment, cluster: Cluster) -> None:
    with outlived(here) as (_, orchestrator, worker):
        cluster.pause(2, 3)
        wait_until(lambda: orchestrator.get("/readyz")[0] == 503, "an orchestrator that says so")
        wait_until(lambda: worker.get("/readyz")[0] == 503, "a worker that says so")
        time.sleep(12)
        cluster.resume(2, 3)


def test_slow_brokers_slow_the_work_and_lose_nothing(here: Deployment, cluster: Cluster) -> None:
    with outlived(here), cluster.slow(1, 2):
        time.sleep(15)


def test_a_broker_whose_disk_is_full_is_one_broker_less(here: Deployment, cluster: Cluster) -> None:
    with outlived(here):
        cluster.fill(2)
        cluster.kafka.wait(2)  # Kafka ends where its only log folder fails.
        time.sleep(4)
        cluster.heal()


@pytest.fixture
def consumer_protocol(cluster: Cluster) -> Iterator[Deployment]:
    with deployment(
        workers={"noop": 1}, servers=cluster.kafka.bootstrap_servers, kafka={"group_protocol": "consumer"}
    ) as made:
        yield made


def test_under_kip_848_a_killed_coordinator_is_outlived_too(consumer_protocol: Deployment, cluster: Cluster) -> None:
    with outlived(consumer_protocol):
        for node in (1, 2, 3):
            cluster.kill(node)
            time.sleep(4)
            cluster.heal()
