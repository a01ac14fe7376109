"""The local broker: formats storage, starts Apache Kafka as plain Java processes, waits until ready, stops it.

*Attached* (the default of this API, for tests and demos) the JVM dies with the process that started it, also by
``kill -9``. *Detached* (``headrace kafka start``) it goes on; a state file in the data folder tells who it is.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.runtime.java import Java
from headrace.runtime.kafka_jars import kafka_version, locked
from headrace.runtime.kafka_ready import wait_until_ready
from headrace.runtime.local_kafka_config import HOST, NodePorts, broker_command, format_command, server_properties
from headrace.runtime.local_kafka_scram import ScramUser, add_user
from headrace.runtime.local_kafka_state import (
    BrokerState,
    forget_state,
    log_file,
    read_state,
    stop,
    stop_timeout_s,
    write_state,
)
from headrace.runtime.processes import ProcessRef, end, spawn_attached, spawn_detached
from headrace.schemas.errors import ConfigError, DependencyUnavailable

_TRIES = 3
"""A free port can be taken between our look and the JVM's bind; then others are chosen."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the broker is run with."""

    java: Java
    jars: Path


@dataclass(frozen=True, slots=True)
class LocalKafkaOptions:
    """How a local broker is to run."""

    data: Path
    """Topics, logs and state file. Topics survive a stop."""
    nodes: int = 1
    """1, or 3 with three copies of everything and two needed for a write."""
    port: int | None = None
    """Port of node 1; None chooses a free one."""
    heap_mb: int = 384
    """Java heap of each node, in MB. Resident memory is about 150 MB more."""
    user: ScramUser | None = None
    """Adds a SASL/SCRAM listener with this user."""
    authorizer: bool = False
    """Whether users of the SASL listener may do only what ACLs allow. The listener without SASL may do everything."""
    attached: bool = True
    """Whether the broker dies with this process."""
    ready_timeout_s: float = 60.0


class _PortTaken(DependencyUnavailable):
    """The JVM could not bind a port."""


class LocalKafka:
    """One local cluster. A context manager: started on entry, stopped on exit.

    Args:
        options: how it is to run.
        runtime: Java and the jars.
    """

    def __init__(self, options: LocalKafkaOptions, runtime: Runtime) -> None:
        if options.nodes not in (1, 3):
            raise ConfigError(f"a local Kafka has 1 or 3 nodes, not {options.nodes}", "use --nodes 1 or --nodes 3")
        self._options = options
        self._runtime = runtime
        self._jvms: list[subprocess.Popen[bytes]] = []
        self.bootstrap_servers = ""
        """``host:port`` of every node, once started."""
        self.sasl_bootstrap_servers: str | None = None
        """The same of the SASL/SCRAM listener, if one was asked for."""

    @property
    def data(self) -> Path:
        """The data folder."""
        return self._options.data

    @property
    def pids(self) -> list[int]:
        """The pids of the JVMs."""
        return [jvm.pid for jvm in self._jvms]

    def start(self) -> Self:
        """Return when clients are served.

        Raises:
            ConfigError: a broker runs in this data folder already, or the folder holds another number of nodes.
            DependencyUnavailable: the broker did not come up; the message has its last log lines.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        with locked(self.data / ".lock"):
            self._refuse_second_broker()
            cluster_id = self._cluster_id()
            for attempt in range(1, _TRIES + 1):
                try:
                    self._start_once(cluster_id)
                    return self
                except _PortTaken:
                    self.stop()
                    if attempt == _TRIES or self._options.port is not None:
                        raise
                except BaseException:  # Also Ctrl-C: a broker that nobody knows of must not stay.
                    self.stop()
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the cluster: SIGTERM, and SIGKILL after a bound. Does nothing when it is not running."""
        if not self._jvms:
            return
        end([ref for pid in self.pids if (ref := ProcessRef.of(pid))], timeout_s=stop_timeout_s(self._options.nodes))
        for jvm in self._jvms:
            jvm.wait()
        self._jvms = []
        forget_state(self.data)

    def wait(self, node: int = 1) -> int:
        """Wait until a node ends and return its exit code."""
        return self._jvms[node - 1].wait()

    def restart(self, node: int) -> None:
        """Start a node again that has ended, on its old ports; return once the cluster lists it.

        Args:
            node: counted from 1.

        Raises:
            DependencyUnavailable: it did not come up.
        """
        jvm = self._jvms[node - 1]
        assert jvm.poll() is not None, f"node {node} still runs"
        properties = self.data / f"node-{node}" / "server.properties"
        self._jvms[node - 1] = self._spawn(properties, log_file(self.data, node))
        write_state(self.data, self._state(ready=True))
        servers = self.bootstrap_servers.split(",")[node - 1]
        wait_until_ready(servers, timeout_s=self._options.ready_timeout_s, check=self._raise_if_ended)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _refuse_second_broker(self) -> None:
        known = read_state(self.data)
        if known is None:
            return
        if known.ready and len(known.alive) == len(known.processes):
            raise ConfigError(
                f"a local Kafka already runs in {self.data} at {known.bootstrap_servers}",
                "stop it with: headrace kafka stop",
            )
        stop(self.data)  # Left behind by a crash, or by a start that was killed.

    def _cluster_id(self) -> str:
        """Return the id in the data folder, or a new one. The number of nodes is fixed with it."""
        path = self.data / "cluster.json"
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known["nodes"] != self._options.nodes:
                raise ConfigError(
                    f"{self.data} holds a cluster of {known['nodes']} node(s), asked for {self._options.nodes}",
                    "use that number, another data folder, or remove the folder",
                )
            return str(known["cluster_id"])
        cluster_id = new_cluster_id()
        path.write_text(json.dumps({"cluster_id": cluster_id, "nodes": self._options.nodes}), encoding="utf-8")
        return cluster_id

    def _start_once(self, cluster_id: str) -> None:
        """Steps: 1. ports and files; 2. format what is new; 3. start; 4. ready; 5. user; 6. state file.

        A first state file is written with 3: were we killed before 6, `stop` could still find the JVMs.
        """
        ports = choose_ports(self._options.nodes, port=self._options.port, sasl=self._options.user is not None)  # 1
        properties = [self._write_properties(node, ports) for node in range(1, len(ports) + 1)]
        self._format([path for path in properties if not _formatted(path)], cluster_id)  # 2
        for node, path in enumerate(properties, 1):  # 3
            self._jvms.append(self._spawn(path, log_file(self.data, node)))
        write_state(self.data, self._state(ready=False))
        self.bootstrap_servers = ",".join(f"{HOST}:{each.broker}" for each in ports)
        wait_until_ready(  # 4
            self.bootstrap_servers,
            nodes=len(ports),
            timeout_s=self._options.ready_timeout_s,
            check=self._raise_if_ended,
        )
        if self._options.user is not None:  # 5
            self.sasl_bootstrap_servers = ",".join(f"{HOST}:{each.sasl}" for each in ports)
            add_user(self._options.user, self.bootstrap_servers, self.sasl_bootstrap_servers)
        write_state(self.data, self._state(ready=True))  # 6

    def _state(self, *, ready: bool) -> BrokerState:
        refs = tuple(ref for pid in self.pids if (ref := ProcessRef.of(pid)))
        return BrokerState(
            kafka_version=kafka_version(),
            bootstrap_servers=self.bootstrap_servers,
            sasl_bootstrap_servers=self.sasl_bootstrap_servers,
            attached=self._options.attached,
            ready=ready,
            processes=refs,
        )

    def _write_properties(self, node: int, ports: list[NodePorts]) -> Path:
        path = self.data / f"node-{node}" / "server.properties"
        path.parent.mkdir(exist_ok=True)
        text = server_properties(node, ports, path.parent / "log", authorizer=self._options.authorizer)
        path.write_text(text, encoding="utf-8")
        return path

    def _format(self, properties: list[Path], cluster_id: str) -> None:
        with ExitStack() as running:
            tools = []
            for path in properties:
                command = format_command(self._runtime.java, self._runtime.jars, path, cluster_id=cluster_id)
                pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
                tools.append(running.enter_context(subprocess.Popen(command, **pipes)))  # type: ignore[call-overload]
            for path, tool in zip(properties, tools, strict=True):
                said, _ = tool.communicate()
                if tool.returncode != 0:
                    raise DependencyUnavailable(
                        f"Kafka could not format {path.parent}:\n{said.decode(errors='replace')[-2000:]}",
                        "remove the data folder, or choose another one",
                    )

    def _spawn(self, properties: Path, log: Path) -> subprocess.Popen[bytes]:
        if log.is_file():
            log.replace(log.with_suffix(".log.1"))  # One start a file, the one before kept.
        runtime, heap = self._runtime, self._options.heap_mb
        command = broker_command(runtime.java, runtime.jars, properties, heap_mb=heap)
        spawn = spawn_attached if self._options.attached else spawn_detached
        return spawn(command, log=log)

    def _raise_if_ended(self) -> None:
        for node, jvm in enumerate(self._jvms, 1):
            if jvm.poll() is None:
                continue
            log = log_file(self.data, node)
            text = log.read_text(encoding="utf-8", errors="replace")
            kind = _PortTaken if "Address already in use" in text else DependencyUnavailable
            last = "\n".join(text.splitlines()[-8:])
            raise kind(f"the local Kafka ended at start (exit code {jvm.returncode}):\n{last}", f"see {log}")


def _formatted(properties: Path) -> bool:
    return (properties.parent / "log" / "meta.properties").is_file()


def new_cluster_id() -> str:
    """Return a cluster id in Kafka's form: 16 random bytes in base64, not starting like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def choose_ports(nodes: int, *, port: int | None = None, sasl: bool = False) -> list[NodePorts]:
    """Return free ports on 127.0.0.1; node 1 gets the port asked for.

    Raises:
        DependencyUnavailable: the port asked for is taken.
    """
    with ExitStack() as open_until_all_are_known:

        def take(wanted: int = 0) -> int:
            found = open_until_all_are_known.enter_context(socket.socket())
            # As the JVM will: a port that only waits out its last connection (TIME_WAIT) is free.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                found.bind((HOST, wanted))
            except OSError as error:
                raise DependencyUnavailable(
                    f"port {wanted} on {HOST} cannot be used: {error.strerror}",
                    "choose another with --port, or leave it out",
                ) from error
            return int(found.getsockname()[1])

        first = take(port or 0)
        return [NodePorts(first if node == 0 else take(), take(), take() if sasl else None) for node in range(nodes)]
