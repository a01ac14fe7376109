"""Topics as they should be against topics as they are: plan, check, apply.

A home partition is ``murmur2(job_id) mod N``, so the partition count N of ``jobs``, ``results``, ``state``,
``outcomes`` and ``events`` never changes under a prefix; only task topics, their journals and ``dead-letters`` grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch
from headrace.schemas.topics import TopicSpec

_MOVE = "drain the deployment, choose a new topics.prefix, run `headrace topics apply`, and switch the producers"
_CORRECTNESS = frozenset({"cleanup.policy"})
"""Configs without which guarantees break; others (retention, segments) are an operator's to choose."""


class Action(StrEnum):
    """What a difference asks for."""

    CREATE = "create"
    GROW = "grow"
    CONFIGURE = "configure"
    REFUSE = "refuse"
    """Nobody may do it: the count of a topic whose homes rest on it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a topic is not what it should be."""

    topic: str
    action: Action
    what: str
    """``topic``, ``partitions`` or the name of a config."""
    found: str | None
    wanted: str

    @property
    def blocks(self) -> bool:
        """Whether no process may start before it is mended."""
        return self.action in (Action.CREATE, Action.REFUSE) or self.what in _CORRECTNESS

    def __str__(self) -> str:
        match self.action:
            case Action.CREATE:
                return f"{self.topic} is missing ({self.wanted} partitions wanted)"
            case Action.GROW:
                return f"{self.topic} has {self.found} partitions, {self.wanted} wanted (it can grow)"
            case Action.REFUSE:
                return f"{self.topic} has {self.found} partitions, {self.wanted} wanted: this count cannot change"
            case Action.CONFIGURE:
                return f"{self.topic} has {self.what}={self.found}, {self.wanted} wanted"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What is, against what should be. Names are in the order of the catalogue."""

    missing: tuple[TopicSpec, ...]
    differing: tuple[Difference, ...]
    fine: tuple[str, ...]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Everything that differs, missing topics first."""
        created = (Difference(s.name, Action.CREATE, "topic", None, str(s.partitions)) for s in self.missing)
        return (*created, *self.differing)

    @property
    def refused(self) -> tuple[Difference, ...]:
        """Differences that `apply` may not mend."""
        return tuple(difference for difference in self.differing if difference.action is Action.REFUSE)


def wanted_topics(settings: Settings, pools: Iterable[str]) -> list[TopicSpec]:
    """Return every topic that the pools need, with the settings' retention and in-sync replicas."""
    topics = settings.topics
    catalogue = settings.topic_names.catalogue(
        list(pools), partitions=topics.partitions, task_partitions=topics.task_partitions
    )
    return [replace(spec, config=_config(settings, spec)) for spec in catalogue]


def _config(settings: Settings, spec: TopicSpec) -> dict[str, str]:
    topics, config = settings.topics, dict(spec.config)
    kind = spec.name.removeprefix(f"{topics.prefix}.").partition(".")[0]
    if kind in topics.retention_ms and config.get("cleanup.policy") != "compact":
        config["retention.ms"] = str(topics.retention_ms[kind])
    if topics.min_insync_replicas is not None:
        config["min.insync.replicas"] = str(topics.min_insync_replicas)
    return config


def plan(admin: AdminClient, settings: Settings, pools: Iterable[str], *, timeout_s: float = 15.0) -> TopicPlan:
    """Compare the broker's topics with the catalogue; changes nothing.

    Args:
        admin: as `headrace.runtime.kafka.wait_for_broker` gives it.
        pools: names of the pools in use.

    Raises:
        DependencyUnavailable: the broker does not answer or does not let us look.
    """
    wanted = wanted_topics(settings, pools)
    counts = _partition_counts(admin, [spec.name for spec in wanted], timeout_s)
    configs, unknown = _configs(admin, list(counts), timeout_s)
    for name in unknown:  # One broker knows the topic already, another one not yet: it is not there to be used.
        del counts[name]
    return compare(wanted, counts, configs)


def compare(wanted: list[TopicSpec], counts: dict[str, int], configs: dict[str, dict[str, str]]) -> TopicPlan:
    """Compare topics without looking at a broker.

    Args:
        counts: partitions by topic, of those that exist.
        configs: configs by topic, of those that may be read.
    """
    missing = tuple(spec for spec in wanted if spec.name not in counts)
    differing: list[Difference] = []
    fine: list[str] = []
    for spec in wanted:
        if spec.name in counts:
            found = _differences(spec, counts[spec.name], configs.get(spec.name))
            differing += found
            fine += [] if found else [spec.name]
    return TopicPlan(missing, tuple(differing), tuple(fine))


def _differences(spec: TopicSpec, count: int, config: dict[str, str] | None) -> list[Difference]:
    found = []
    if count != spec.partitions and not (spec.may_grow and count > spec.partitions):
        action = Action.GROW if spec.may_grow else Action.REFUSE
        found.append(Difference(spec.name, action, "partitions", str(count), str(spec.partitions)))
    for name, value in spec.config.items() if config is not None else ():
        if config is not None and config.get(name) != value:
            found.append(Difference(spec.name, Action.CONFIGURE, name, config.get(name), value))
    return found


def check_topics(admin: AdminClient, settings: Settings, pools: Iterable[str]) -> TopicPlan:
    """Return the plan if the topics allow work.

    Retention, segment sizes and missing partitions of topics that may grow allow it; they stand in the plan.

    Raises:
        TopicMismatch: a topic is missing, or differs in what correctness rests on; every difference is listed.
    """
    found = plan(admin, settings, pools)
    if any(difference.blocks for difference in found.differences):
        raise _mismatch(found.differences, _hint(found))
    return found


def _hint(found: TopicPlan) -> str:
    return f"a changed count moves every job's home: {_MOVE}" if found.refused else "run `headrace topics apply`"


def _mismatch(differences: Iterable[Difference], hint: str) -> TopicMismatch:
    return TopicMismatch(f"topics differ from the plan: {'; '.join(map(str, differences))}", hint)


def ensure_topics(admin: AdminClient, settings: Settings, pools: Iterable[str]) -> TopicPlan:
    """Create what is missing where ``topics.create`` allows it, then check: what a process does at its start.

    Raises:
        TopicMismatch: as `check_topics`.
    """
    pools = list(pools)
    if settings.topics.create and (absent := plan(admin, settings, pools)).missing:
        _refuse(absent)
        try:
            _create(admin, settings, absent.missing)
        except DependencyUnavailable as error:
            # Whoever makes topics here for us needs the whole list.
            raise _mismatch(absent.differences, f"{error.message}; {error.hint}") from None
        _wait_until(lambda: (d for d in plan(admin, settings, pools).differences if d.action is Action.CREATE))
    return check_topics(admin, settings, pools)


def apply(admin: AdminClient, settings: Settings, pools: Iterable[str]) -> TopicPlan:
    """Mend every difference that may be mended: create, grow, configure. Returns the plan that was carried out.

    Raises:
        TopicMismatch: the count of a companion topic differs; nothing was changed.
        DependencyUnavailable: the broker refused a change.
    """
    pools = list(pools)
    found = plan(admin, settings, pools)
    _refuse(found)
    _create(admin, settings, found.missing)
    _grow(admin, [d for d in found.differing if d.action is Action.GROW])
    _configure(admin, [d for d in found.differing if d.action is Action.CONFIGURE])
    _wait_until(lambda: plan(admin, settings, pools).differences)
    return found


def delete_topics(admin: AdminClient, prefix: str) -> None:
    """Delete every topic whose name begins so. Tidiness after a run of its own prefix: what cannot be deleted stays."""
    try:
        names = [name for name in admin.list_topics(timeout=10.0).topics if name.startswith(prefix)]
        for future in (admin.delete_topics(names) if names else {}).values():
            future.result()
    except KafkaException:
        return


def _refuse(found: TopicPlan) -> None:
    if found.refused:
        raise _mismatch(found.differences, _hint(found))


def _create(admin: AdminClient, settings: Settings, specs: Iterable[TopicSpec]) -> None:
    factor = settings.topics.replication_factor
    new = [NewTopic(spec.name, spec.partitions, factor or -1, config=dict(spec.config)) for spec in specs]
    if not new:
        return
    for name, future in admin.create_topics(new, request_timeout=30.0).items():
        try:
            future.result()
        except KafkaException as error:
            # Two processes that start together both create; the second is told so.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _refused(f"create {name}", error) from None


def _grow(admin: AdminClient, differences: list[Difference]) -> None:
    wanted = [NewPartitions(difference.topic, int(difference.wanted)) for difference in differences]
    for name, future in (admin.create_partitions(wanted) if wanted else {}).items():
        try:
            future.result()
        except KafkaException as error:
            raise _refused(f"add partitions to {name}", error) from None


def _configure(admin: AdminClient, differences: list[Difference]) -> None:
    resources: dict[str, ConfigResource] = {}
    for one in differences:
        resource = resources.setdefault(one.topic, ConfigResource(ConfigResource.Type.TOPIC, one.topic))
        entry = ConfigEntry(one.what, one.wanted, incremental_operation=AlterConfigOpType.SET)
        resource.add_incremental_config(entry)
    if not resources:
        return
    for changed, future in admin.incremental_alter_configs(list(resources.values())).items():
        try:
            future.result()
        except KafkaException as error:
            raise _refused(f"configure {changed.name}", error) from None


def _refused(what: str, error: KafkaException) -> DependencyUnavailable:
    return DependencyUnavailable(
        f"Kafka refused to {what}: {error.args[0].str()}",
        "where this account may not change topics: headrace topics plan --format kafka-topics|strimzi",
    )


def _wait_until(settled: Callable[[], Iterable[Difference]], timeout_s: float = 30.0) -> None:
    """Wait until the broker reports what was asked of it: in KRaft, metadata follow a change with a delay."""
    deadline = time.monotonic() + timeout_s
    while left := list(settled()):
        if time.monotonic() > deadline:
            raise DependencyUnavailable(f"changed but not visible after {timeout_s:.0f} s: {'; '.join(map(str, left))}")
        time.sleep(0.05)


def _partition_counts(admin: AdminClient, names: list[str], timeout_s: float) -> dict[str, int]:
    """Return the partitions of the topics that exist."""
    counts: dict[str, int] = {}
    closed: list[str] = []
    described = admin.describe_topics(TopicCollection(names), request_timeout=timeout_s)
    for name, future in described.items():
        try:
            partitions = future.result().partitions
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                closed.append(name)
            elif code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise DependencyUnavailable(f"cannot look at topic {name}: {error.args[0].str()}") from None
            continue
        counts[name] = len(partitions)
    if closed:
        raise DependencyUnavailable(f"no right to Describe topics {', '.join(closed)}", "docs/operations.md, ACLs")
    return counts


def _configs(admin: AdminClient, names: list[str], timeout_s: float) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the configs that this account may read, others are not compared; and topics that are not known yet."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    unknown: list[str] = []
    for resource, future in (admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                unknown.append(resource.name)
            elif code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise DependencyUnavailable(f"cannot read configs: {error.args[0].str()}") from None
    return found, unknown
