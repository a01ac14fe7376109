"""Peers that take turns with Headrace: started for a turn with their server, and stopped, so that none idles beside."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import servers
from benchmarks.peers.driver import FAN_OUT, ROUND_TRIPS
from benchmarks.peers.venv import python
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.schemas.errors import DependencyUnavailable

ROOT = Path(__file__).resolve().parent.parent.parent
SERVERS = {"redis": servers.redis, "postgres": servers.postgres}
READY = "is ready"
"""What a worker writes to its log once it can be asked: Dramatiq by itself, the others by our modules."""
READY_S = 60.0
CELERY = ("-A", "benchmarks.peers.celery_peer", "worker", "-l", "WARNING")
ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer in one setting."""

    case: str
    """Its name in the figures."""
    name: str
    """Of the peer: its name in the ratios."""
    server: str
    """``redis`` or ``postgres``."""
    workers: tuple[tuple[str, ...], ...]
    """Of each worker process to start, the arguments after the interpreter."""
    client: tuple[str, ...]
    """The client's arguments after the interpreter."""
    settings: str
    """What it is set to, for the figures."""
    env: Mapping[str, str] = field(default_factory=dict)
    ready_lines: int = 1
    """How often each of the workers' logs says `READY` once all its processes are there."""


def celery(case: str, processes: int, pool: str) -> Peer:
    """Return Celery with so many processes that work: children of one worker (prefork), or workers (solo)."""
    if pool == "solo":
        workers = tuple(
            ("-m", "celery", *CELERY, "-n", f"bench-{number}@%h", "-P", "solo", *ALONE) for number in range(processes)
        )
    else:
        workers = (("-m", "celery", *CELERY, "-P", pool, "-c", str(processes), *ALONE),)
    settings = f"processes: {processes} ({pool} pool), prefetch multiplier 64; {servers.REDIS_SETTINGS}"
    return Peer(case, "celery", "redis", workers, ("-m", "benchmarks.peers.celery_peer"), settings)


def dramatiq(case: str, processes: int, threads: int, prefetch: int = 1_000) -> Peer:
    """Return Dramatiq with so many worker processes."""
    module = "benchmarks.peers.dramatiq_peer"
    workers = (("-m", "dramatiq", module, "-p", str(processes), "-t", str(threads)),)
    settings = f"processes: {processes}, threads of each: {threads}, prefetch {prefetch:,}; {servers.REDIS_SETTINGS}"
    env = {"dramatiq_queue_prefetch": str(prefetch)}
    return Peer(case, "dramatiq", "redis", workers, ("-m", module), settings, env, processes)


def dbos(case: str, poll_s: float) -> Peer:
    """Return DBOS whose queue and client poll so often."""
    module = "benchmarks.peers.dbos_peer"
    settings = f"processes: 1, queue and client poll every {poll_s * 1e3:g} ms; {servers.POSTGRES_SETTINGS}"
    env = {"PEER_POLL_S": str(poll_s)}
    return Peer(case, "dbos", "postgres", (("-m", module, "worker"),), ("-m", module, "client"), settings, env)


class Turns:
    """Gives peers their turns.

    Args:
        supervisor: runs their servers and workers.
        peers: who will have turns: what they need is installed now.

    Raises:
        DependencyUnavailable: something cannot be installed.
    """

    def __init__(self, supervisor: Supervisor, peers: Sequence[Peer]) -> None:
        self._supervisor = supervisor
        self._python = str(python())
        for server in dict.fromkeys(peer.server for peer in peers):
            servers.installed(server)
        self._count = 0

    @contextmanager
    def turn(self, peer: Peer) -> Iterator[PeerClient]:
        """Start a peer and its server, empty, for the time of a block; yield its client.

        Raises:
            DependencyUnavailable: something of it does not start.
        """
        self._count += 1
        with ExitStack() as started:
            url = started.enter_context(SERVERS[peer.server](self._supervisor, f"{peer.server}-{self._count}"))
            env = {**peer.env, "PEER_URL": url, "PYTHONPATH": str(ROOT)}
            for number, arguments in enumerate(peer.workers):
                name = f"{peer.case}-{self._count}-{number}"
                started.callback(self._supervisor.stop, name)
                self._supervisor.start(ProcessSpec(name, [self._python, *arguments], env=env))
                self._wait_until_ready(name, peer.ready_lines)
            client = PeerClient([self._python, *peer.client], env)
            started.callback(client.close)
            yield client

    def _wait_until_ready(self, name: str, lines: int) -> None:
        status = next(each for each in self._supervisor.status() if each.name == name)
        deadline = time.monotonic() + READY_S
        while (text := status.log.read_text(errors="replace")).count(READY) < lines:
            if time.monotonic() > deadline:
                raise DependencyUnavailable(f"{name} was not ready within {READY_S:g} s", text[-2_000:])
            time.sleep(0.05)


class PeerClient:
    """A peer's client process; what it writes to standard error is shown.

    Args:
        command: that runs it.
        env: added to our own environment.
    """

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
        )

    def fan_out(self, tasks: int) -> float:
        """Fan out and gather once; return the seconds."""
        return self._ask(FAN_OUT, tasks)[0]

    def round_trips(self, count: int) -> list[float]:
        """Send tasks, one at a time; return the seconds of each."""
        return self._ask(ROUND_TRIPS, count)

    def _ask(self, what: str, count: int) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise DependencyUnavailable("a peer's client ended in its turn", "its own words stand above")
        found: list[float] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process: there is nothing more to ask."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
