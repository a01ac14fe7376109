"""What a start finds out about a real cluster, and what an account with exactly our rights can do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr

from headrace.runtime.kafka import admin_client
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime
from headrace.runtime.local_kafka_scram import ScramUser, client_options
from headrace.runtime.needs import orchestrator_needs, worker_needs
from headrace.runtime.settings import Settings
from headrace.runtime.start_checks import check_kafka, gather
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch
from tests.orchestrators import Site, site

pytestmark = pytest.mark.broker


def settings_for(servers: str, prefix: str, **groups: Any) -> Settings:
    kafka = {"bootstrap_servers": servers, **groups.pop("kafka", {})}
    topics = {"prefix": prefix, "partitions": 2, "task_partitions": 2, **groups.pop("topics", {})}
    return Settings(kafka=kafka, topics=topics, **groups)


@contextmanager
def topics_of(settings: Settings) -> Iterator[AdminClient]:
    admin = admin_client(settings)
    ensure_topics(admin, settings, ["noop"])
    try:
        yield admin
    finally:
        admin.delete_topics([spec.name for spec in settings.topic_names.catalogue(["noop"])])


def test_a_start_learns_versions_rights_timeouts_and_sizes_from_the_cluster(
    bootstrap_servers: str, topic_prefix: str
) -> None:
    settings = settings_for(bootstrap_servers, topic_prefix, kafka={"group_protocol": "consumer"})
    with topics_of(settings) as admin:
        needs = orchestrator_needs(settings, ["noop"])
        facts = check_kafka(admin, settings, needs)
        assert facts.apis[28][1] >= 3
        assert facts.broker["group.min.session.timeout.ms"] == "6000"
        assert facts.group["consumer.session.timeout.ms"] == "6000"
        assert facts.rights.keys() == needs.topics.keys()
        assert set(facts.record_bytes) == set(needs.inline_topics)


def test_a_start_lists_everything_that_does_not_fit(bootstrap_servers: str, topic_prefix: str) -> None:
    settings = settings_for(
        bootstrap_servers,
        topic_prefix,
        kafka={"session_timeout_ms": 3_000, "options": {"message.max.bytes": 100_000}},
        orchestrator={"transaction_timeout_ms": 1_000_000},
    )
    with topics_of(settings) as admin, pytest.raises(DependencyUnavailable) as refused:
        check_kafka(admin, settings, orchestrator_needs(settings, ["noop"]))
    for part in (
        "kafka.session_timeout_ms 3000 is below the brokers' group.min.session.timeout.ms 6000",
        "orchestrator.transaction_timeout_ms 1000000 is above the brokers' transaction.max.timeout.ms 900000",
        "kafka.options message.max.bytes 100000 is too small",
    ):
        assert part in refused.value.message


# ── An account that may do what the table of docs/operations.md says, and nothing else ──────────────────────────────

PREFIX = "acl"
USER = ScramUser("headrace", SecretStr("a-password-of-a-test"))


@pytest.fixture
def closed_kafka(local_kafka_runtime: Runtime, tmp_path: Path) -> Iterator[LocalKafka]:
    with LocalKafka(LocalKafkaOptions(tmp_path / "kafka", user=USER, authorizer=True), local_kafka_runtime) as kafka:
        yield kafka


def allow(admin: AdminClient, kind: ResourceType, name: str, *operations: AclOperation, prefixed: bool = False) -> None:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    allowed = AclPermissionType.ALLOW
    bindings = [AclBinding(kind, name, pattern, f"User:{USER.name}", "*", each, allowed) for each in operations]
    for made in admin.create_acls(bindings).values():
        made.result(10)


def grant_the_table(admin: AdminClient) -> None:
    """Grant what docs/operations.md lists under "ACLs" for an orchestrator and for a worker of the pool noop."""
    read, write, describe = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
    topic, group = ResourceType.TOPIC, ResourceType.GROUP
    for name in ("jobs", "state", "attempts.noop"):
        allow(admin, topic, f"{PREFIX}.{name}", read, write)
    for name in ("results", "control", "tasks.noop.batch", "tasks.noop.interactive"):
        allow(admin, topic, f"{PREFIX}.{name}", read)
    allow(admin, topic, f"{PREFIX}.tasks.", write, prefixed=True)
    for name in ("outcomes", "events", "control", "dead-letters", "results"):
        allow(admin, topic, f"{PREFIX}.{name}", write)
    allow(admin, topic, f"{PREFIX}.", describe, AclOperation.DESCRIBE_CONFIGS, prefixed=True)
    allow(admin, ResourceType.TRANSACTIONAL_ID, f"{PREFIX}.orchestrator.", write, describe, prefixed=True)
    for name in ("orchestrator", "reader", "workers.noop"):
        allow(admin, group, f"{PREFIX}.{name}", read)
    allow(admin, group, f"{PREFIX}.workers.", describe, prefixed=True)


def as_user(kafka: LocalKafka) -> Settings:
    assert kafka.sasl_bootstrap_servers is not None
    return settings_for(kafka.sasl_bootstrap_servers, PREFIX, kafka={"options": client_options(USER)})


def worker_of(here: Site) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headrace.workers", "noop"]
    with (here.folder / "worker.log").open("ab") as log:
        return subprocess.Popen(command, env=here.environment, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.slow
def test_with_the_rights_of_the_table_and_no_others_a_job_runs(closed_kafka: LocalKafka, tmp_path: Path) -> None:
    owner = AdminClient({"bootstrap.servers": closed_kafka.bootstrap_servers})
    mine = as_user(closed_kafka)
    user = admin_client(mine)
    with pytest.raises(DependencyUnavailable, match=r"no right to Describe topics acl\.jobs, acl\.results"):
        ensure_topics(user, mine, ["noop"])
    allow(owner, ResourceType.TOPIC, f"{PREFIX}.", AclOperation.DESCRIBE, prefixed=True)
    time.sleep(0.5)
    with pytest.raises(TopicMismatch, match=r"acl\.jobs is missing .*acl\.dead-letters is missing"):
        ensure_topics(user, mine, ["noop"])
    with site(closed_kafka.bootstrap_servers, PREFIX, tmp_path, partitions=2) as here:
        with pytest.raises(DependencyUnavailable) as refused:
            check_kafka(user, mine, orchestrator_needs(mine, ["noop"]))
        for said in (
            "no right to Read, Write on topic acl.jobs",
            "no right to Write on topic acl.outcomes",
            "no right to Read on group acl.orchestrator",
            "no right to Describe group acl.workers.noop",
        ):
            assert said in refused.value.message
        grant_the_table(owner)
        time.sleep(0.5)
        assert not gather(user, mine, worker_needs(mine, "noop")).closed_groups
        here.extra = {
            "HEADRACE_KAFKA__OPTIONS": json.dumps(client_options(USER)),
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": mine.kafka.bootstrap_servers,
        }
        here.start("a")
        here.processes.append(worker_of(here))
        here.submit("one-1")
        outcome = here.wait_for_outcome("one-1")
        said = here.log("a") + (here.folder / "worker.log").read_text()
    assert outcome["status"] == "succeeded", outcome
    assert "uthoriz" not in said, said
