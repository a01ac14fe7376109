"""The configuration of the local broker: each setting with its reason, and the command line of its JVM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.runtime.java import Java

HOST = "127.0.0.1"

COMMON: tuple[tuple[str, str, str], ...] = (
    ("auto.create.topics.enable", "false", "A misspelled topic must fail, not appear with default settings."),
    (
        "group.initial.rebalance.delay.ms",
        "50",
        "No crowd of members is awaited (default 3 s), but both lanes of a worker: with 0 the second one came too late "
        "every other time, and the first heard of it with its next heartbeat, 1 s later.",
    ),
    ("group.consumer.session.timeout.ms", "6000", "KIP-848 timeouts are the broker's. Take-over in 6 s, not 45 s."),
    ("group.consumer.min.session.timeout.ms", "6000", "Lets a group be set that low (default 45 s)."),
    ("group.consumer.heartbeat.interval.ms", "1000", "An assignment reaches members within 1 s, not 5 s."),
    ("group.consumer.min.heartbeat.interval.ms", "1000", "Lets a group be set that low (default 5 s)."),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
        "An orphaned transaction holds readers for its timeout plus this scan (default 10 s).",
    ),
    ("offsets.topic.num.partitions", "4", "The default of 50 makes 50 folders for a handful of groups."),
    ("transaction.state.log.num.partitions", "4", "As above: a handful of transactional ids."),
    ("share.coordinator.state.topic.num.partitions", "4", "As above."),
    ("log.segment.bytes", "268435456", "Retention deletes whole segments; 1 GiB ones would stay for ever."),
    ("log.index.size.max.bytes", "2097152", "Preallocated twice a segment; 10 MiB fills disks without sparse files."),
    ("log.segment.delete.delay.ms", "1000", "Space of a deleted topic comes back in 1 s, not 60 s."),
    (
        "log.cleaner.dedupe.buffer.size",
        "8388608",
        "The default of 128 MiB is a third of our heap.",
    ),
    ("log.cleaner.io.buffer.size", "262144", "As above (default 512 KiB, twice)."),
    ("num.network.threads", "2", "A laptop's worth of connections."),
    ("num.io.threads", "4", "As above (default 8)."),
    ("num.recovery.threads.per.data.dir", "2", "A start after kill -9 checks the open segments of every partition."),
    ("broker.heartbeat.interval.ms", "500", "A broker is ready sooner: registration and unfencing go by heartbeats."),
    (
        "broker.session.timeout.ms",
        "3000",
        "After kill -9 a broker may return, and its partitions move, in 3 s, not 9 s.",
    ),
    ("controller.quorum.election.timeout.ms", "500", "On loopback half a second of silence is an outage."),
    ("controller.quorum.fetch.timeout.ms", "1000", "As above: a lost controller is replaced in 1 s, not 2 s."),
)


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The ports of one node on 127.0.0.1."""

    broker: int
    controller: int
    sasl: int | None = None
    """Port of the SASL/SCRAM listener, or None without one."""


AUTHORIZER: tuple[tuple[str, str, str], ...] = (
    (
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "Users of the SASL listener may do what ACLs allow, and nothing else.",
    ),
    ("super.users", "User:ANONYMOUS", "Whoever comes without SASL: the brokers themselves, and who sets the ACLs."),
)


def server_properties(node_id: int, ports: Sequence[NodePorts], data: Path, *, authorizer: bool = False) -> str:
    """Return the text of server.properties for one node of a cluster of ``len(ports)`` nodes.

    Args:
        node_id: counted from 1.
        ports: of all nodes, node 1 first.
        data: the folder of this node's partitions.
        authorizer: whether ACLs are enforced on the SASL listener.
    """
    lines = ["# Written by Headrace at each start; changes are lost."]
    rules = AUTHORIZER if authorizer else ()
    for key, value, reason in (*_identity(node_id, ports, data), *_copies(len(ports)), *rules, *COMMON):
        lines += [f"# {reason}", f"{key}={value}"]
    return "\n".join(lines) + "\n"


def _identity(node_id: int, ports: Sequence[NodePorts], data: Path) -> list[tuple[str, str, str]]:
    mine = ports[node_id - 1]
    listeners = {"PLAINTEXT": mine.broker, "CONTROLLER": mine.controller}
    if mine.sasl is not None:
        listeners["SASL"] = mine.sasl
    shown = {name: f"{name}://{HOST}:{port}" for name, port in listeners.items()}
    voters = ",".join(f"{index}@{HOST}:{other.controller}" for index, other in enumerate(ports, 1))
    items = [
        ("node.id", str(node_id), "Counted from 1."),
        ("process.roles", "broker,controller", "KRaft, combined: one JVM a node."),
        ("controller.quorum.voters", voters, "Static, so that ports may differ at each start."),
        ("controller.listener.names", "CONTROLLER", "Where controllers talk to each other."),
        ("listeners", ",".join(shown.values()), "Loopback only: nothing outside this machine can connect."),
        (
            "advertised.listeners",
            ",".join(address for name, address in shown.items() if name != "CONTROLLER"),
            "What clients are told.",
        ),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "SASL is for tests of a company's settings.",
        ),
        ("inter.broker.listener.name", "PLAINTEXT", "Brokers on loopback trust each other."),
        ("log.dirs", str(data), "Partitions and cluster metadata."),
    ]
    if mine.sasl is not None:
        jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        items += [
            ("listener.name.sasl.sasl.enabled.mechanisms", "SCRAM-SHA-256", "What companies use most."),
            (
                "listener.name.sasl.scram-sha-256.sasl.jaas.config",
                jaas,
                "No password here: users are in the cluster's metadata.",
            ),
        ]
    return items


def _copies(nodes: int) -> list[tuple[str, str, str]]:
    factor, least = ("1", "1") if nodes < 3 else ("3", "2")
    reason = "One node can hold one copy." if nodes < 3 else "One node of three may be lost without losing a write."
    return [
        ("default.replication.factor", factor, reason),
        ("min.insync.replicas", least, reason),
        ("offsets.topic.replication.factor", factor, reason),
        ("transaction.state.log.replication.factor", factor, reason),
        ("transaction.state.log.min.isr", least, reason),
        ("share.coordinator.state.topic.replication.factor", factor, reason),
        ("share.coordinator.state.topic.min.isr", least, reason),
    ]


def broker_command(java: Java, jars: Path, properties: Path, *, heap_mb: int) -> list[str]:
    """Return the command that runs one node in the foreground."""
    return [*_jvm(java, heap_mb), *_LOGGING, "-cp", _class_path(jars), "kafka.Kafka", str(properties)]


def format_command(java: Java, jars: Path, properties: Path, *, cluster_id: str) -> list[str]:
    """Return the command that formats a node's storage and ends."""
    # It lives a second: compiling its code well would take longer than running it.
    flags = [*_jvm(java, 128), "-XX:TieredStopAtLevel=1"]
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(properties)]
    return [*flags, "-cp", _class_path(jars), *tool]


_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    # At info a start alone prints 2,500 lines, nearly all of them settings.
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.server.BrokerLifecycleManager=info",
)


def _class_path(jars: Path) -> str:
    return str(jars / "*")  # java expands the star itself.


def _jvm(java: Java, heap_mb: int) -> list[str]:
    flags = [
        str(java.executable),
        f"-Xmx{heap_mb}m",
        # The smallest footprint; with it 17,000 to 28,000 transactional records/s of 1 KB were measured on two cores.
        "-XX:+UseSerialGC",
        "-XX:MaxDirectMemorySize=128m",  # Network buffers; the default is another whole heap.
        "-XX:+ExitOnOutOfMemoryError",  # A broker that lost a thread is worse than none.
        "-XX:-UsePerfData",  # No file in the system's temporary folder.
        f"-XX:ErrorFile={os.devnull}",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
    ]
    if java.major >= 24:  # They warn of the native code and of the Unsafe that Kafka still uses.
        flags += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return flags
