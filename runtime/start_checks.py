"""Whether the Kafka that answers is one that we can work on: its version, our rights, its limits against our settings.

What is found wrong is told in one error, since each line of it is a request to another team. What may not be read
(the brokers' configuration needs a right of its own) is not checked; the process works as well without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from confluent_kafka.admin import AdminClient

from headrace.runtime import kafka_facts
from headrace.runtime.group_offsets import GroupReader
from headrace.runtime.metrics import TAKEOVER_SECONDS
from headrace.runtime.settings import Settings
from headrace.runtime.topic_limits import record_limits
from headrace.schemas.errors import DependencyUnavailable

log = structlog.get_logger("headrace.runtime")

ENVELOPE_BYTES = 65_536
"""What a record holds beside an inline payload: ids, headers, prices, the words of a template."""
ASKED_AT_ONCE = 8
SLOW_TAKEOVER_S = 15.0
"""Above it a start warns: Kafka's own default of KIP-848 is three times that."""

_KIP_848_SESSION = "group.consumer.session.timeout.ms"

Rights = Mapping[str, frozenset[str]]
"""Operations by name of a topic or a group."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a service does with Kafka."""

    topics: Rights
    groups: tuple[str, ...]
    """Its own group, then others whose offsets it reads."""
    transactions: bool = False
    inline_topics: tuple[str, ...] = ()
    """Topics that take a payload of ``objects.inline_bytes``."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a cluster is. Empty maps: may not be read."""

    apis: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """By the protocol's API key, the lowest and highest version that the brokers speak."""
    broker: Mapping[str, str] = field(default_factory=dict)
    """A broker's configuration."""
    group: Mapping[str, str] = field(default_factory=dict)
    """The configuration of the service's own group (KIP-848)."""
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By topic, what we may do there."""
    closed_groups: tuple[str, ...] = ()
    """Groups that we may not look at."""
    record_bytes: Mapping[str, int] = field(default_factory=dict)
    """By topic, its ``max.message.bytes``."""


@dataclass(frozen=True, slots=True)
class _Api:
    key: int
    name: str
    version: int
    what: str


_TRANSACTIONS = (
    _Api(28, "TxnOffsetCommit", 3, "fencing of group members in transactions (KIP-447, Kafka 2.5)"),
    _Api(22, "InitProducerId", 3, "a producer that goes on after an error (KIP-360, Kafka 2.5)"),
    _Api(9, "OffsetFetch", 7, "offsets that wait for open transactions (KIP-447, Kafka 2.5)"),
)
_CONSUMER_PROTOCOL = _Api(68, "ConsumerGroupHeartbeat", 0, "kafka.group_protocol consumer (KIP-848, Kafka 4.0)")


def problems(settings: Settings, needs: Needs, facts: Facts) -> list[str]:
    """Return everything that keeps a service from its work. Pure."""
    return [
        *_version_problems(settings, needs, facts.apis),
        *_rights_problems(needs, facts),
        *_timeout_problems(settings, needs, facts.broker),
        *_size_problems(settings, needs, facts),
    ]


def _version_problems(settings: Settings, needs: Needs, apis: Mapping[int, tuple[int, int]]) -> Iterable[str]:
    wanted = [*_TRANSACTIONS] if needs.transactions else []
    if settings.kafka.group_protocol == "consumer":
        wanted.append(_CONSUMER_PROTOCOL)
    for api in wanted if apis else ():
        highest = apis.get(api.key, (0, -1))[1]
        if highest < api.version:
            has = f"version {highest}" if highest >= 0 else "none"
            yield f"the brokers are too old: {api.name} version {api.version} is needed, they have {has}: {api.what}"


def _rights_problems(needs: Needs, facts: Facts) -> Iterable[str]:
    for topic, wanted in needs.topics.items():
        if topic in facts.rights and (missing := sorted(wanted - facts.rights[topic])):
            yield f"no right to {', '.join(missing)} on topic {topic}"
    for group in facts.closed_groups:
        yield (
            f"no right to Read on group {group}" if group == needs.groups[0] else f"no right to Describe group {group}"
        )


def _timeout_problems(settings: Settings, needs: Needs, broker: Mapping[str, str]) -> Iterable[str]:
    if needs.transactions and (most := _number(broker, "transaction.max.timeout.ms")) is not None:
        asked = settings.orchestrator.transaction_timeout_ms
        if asked > most:
            yield f"orchestrator.transaction_timeout_ms {asked} is above the brokers' transaction.max.timeout.ms {most}"
    if settings.kafka.group_protocol == "classic":
        session = settings.kafka.session_timeout_ms
        least, most = (_number(broker, f"group.{end}.session.timeout.ms") for end in ("min", "max"))
        if least is not None and session < least:
            yield f"kafka.session_timeout_ms {session} is below the brokers' group.min.session.timeout.ms {least}"
        if most is not None and session > most:
            yield f"kafka.session_timeout_ms {session} is above the brokers' group.max.session.timeout.ms {most}"


def _size_problems(settings: Settings, needs: Needs, facts: Facts) -> Iterable[str]:
    needed = settings.objects.inline_bytes + ENVELOPE_BYTES
    for topic in needs.inline_topics:
        if (most := facts.record_bytes.get(topic)) is not None and most < needed:
            yield (
                f"{topic} takes records of {most} bytes; objects.inline_bytes {settings.objects.inline_bytes} "
                f"needs max.message.bytes {needed}"
            )
    asked = settings.kafka.options.get("message.max.bytes")
    if needs.inline_topics and asked is not None and int(asked) < needed:
        yield (
            f"kafka.options message.max.bytes {asked} is too small; objects.inline_bytes "
            f"{settings.objects.inline_bytes} needs {needed}"
        )


def takeover_s(settings: Settings, facts: Facts) -> float | None:
    """Return how long partitions of a killed member idle before the group gives them away; None: unknown. Pure."""
    if settings.kafka.group_protocol == "classic":
        return settings.kafka.session_timeout_ms / 1000
    own, default = (_number(facts.group, "consumer.session.timeout.ms"), _number(facts.broker, _KIP_848_SESSION))
    session = default if own is None else own
    return None if session is None else session / 1000


def _number(config: Mapping[str, str], name: str) -> int | None:
    try:
        return int(config[name])
    except (KeyError, ValueError):
        return None


def gather(admin: AdminClient, settings: Settings, needs: Needs) -> Facts:
    """Ask the cluster, all questions at once: a start waits for the slowest. What may not be read is left out.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    groups = GroupReader(settings, "start-checks")
    try:
        with ThreadPoolExecutor(ASKED_AT_ONCE, "start-checks") as ask:
            closed = {group: ask.submit(groups.closed, group) for group in needs.groups}
            apis = ask.submit(kafka_facts.api_versions, settings)
            broker = ask.submit(kafka_facts.broker_configs, admin)
            rights = ask.submit(kafka_facts.topic_rights, admin, list(needs.topics))
            sizes = ask.submit(record_limits, admin, list(needs.inline_topics))
            kip_848 = settings.kafka.group_protocol == "consumer"
            return Facts(
                apis=apis.result(),
                broker=broker.result(),
                group=kafka_facts.group_configs(admin, needs.groups[0]) if kip_848 else {},
                rights=rights.result(),
                closed_groups=tuple(group for group, answer in closed.items() if answer.result()),
                record_bytes=sizes.result(),
            )
    finally:
        groups.close()


def check_kafka(admin: AdminClient, settings: Settings, needs: Needs) -> Facts:
    """Return what was found where a service can work on this cluster; warn where a take-over will be slow.

    Raises:
        DependencyUnavailable: it cannot; every reason is listed.
    """
    facts = gather(admin, settings, needs)
    if found := problems(settings, needs, facts):
        raise DependencyUnavailable(f"Kafka cannot be used: {'; '.join(found)}", "docs/operations.md, ACLs and limits")
    seconds = takeover_s(settings, facts)
    TAKEOVER_SECONDS.set(-1.0 if seconds is None else seconds)
    if seconds is None or seconds > SLOW_TAKEOVER_S:
        log.warning(
            "takeover.slow",
            seconds=seconds,
            protocol=settings.kafka.group_protocol,
            hint="docs/operations.md, Take-over time",
        )
    return facts
