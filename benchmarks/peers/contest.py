"""What a benchmark asks of its peers: a turn for each in every round, and ratios against the better of their settings.

Headrace's own processes and its broker idle in those turns, on the same cores; what that costs is a figure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.deployment import Deployment, cpu_seconds
from benchmarks.peers.turns import Peer, PeerClient, Turns, celery, dbos, dramatiq
from benchmarks.report import paired


@dataclass(frozen=True, slots=True)
class Entry:
    """A peer, and what part it takes."""

    peer: Peer
    rounds: int
    """In how many of the rounds it runs: the first ones, and fewer where each takes long."""
    few: bool = False
    """Whether it is so slow that a few round trips must do."""


FAN_OUT = (
    Entry(celery("celery_solo_2", 2, "solo"), 3),
    Entry(celery("celery_prefork_2", 2, "prefork"), 3),
    Entry(celery("celery_solo_1", 1, "solo"), 3),
    Entry(dramatiq("dramatiq_2", 2, 8), 5),
    Entry(dramatiq("dramatiq_1", 1, 8), 5),
)
"""Headrace runs in two processes, an orchestrator and a worker, and so do they; and in one, which on two cores beside
their client and Redis may be better."""

LATENCY = (
    Entry(celery("celery_solo_1", 1, "solo"), 5),
    Entry(celery("celery_prefork_1", 1, "prefork"), 5),
    Entry(dbos("dbos_1ms", 0.001), 5),
    Entry(dbos("dbos_default", 1.0), 1, few=True),
)


class Contest:
    """Peers by turns, beside a deployment.

    Args:
        here: the deployment, all of whose processes run.
        entries: who takes part; with nobody there is no peer to install.

    Raises:
        DependencyUnavailable: a peer or its server cannot be installed.
    """

    def __init__(self, here: Deployment, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._turns = Turns(here.supervisor, [entry.peer for entry in entries]) if entries else None
        self._ours = [status.pid for status in here.supervisor.status() if status.pid]
        self._ours += [here.broker_pid] if here.broker_pid else []
        self._idle_cpu_s = self._wall_s = 0.0
        self.found: dict[str, list[dict[str, float]]] = {}
        """By case, what each of its rounds brought."""

    def round(self, number: int, act: Callable[[PeerClient, Entry], dict[str, float]]) -> None:
        """Give each peer that takes part in a round its turn.

        Args:
            number: of the round, counted from 0.
            act: asks the peer's client and returns figures by name.

        Raises:
            DependencyUnavailable: something of a peer does not start, or ends.
        """
        for entry in self._entries:
            if self._turns is None or number >= entry.rounds:
                continue
            began, before = time.monotonic(), self._used()
            with self._turns.turn(entry.peer) as client:
                self.found.setdefault(entry.peer.case, []).append(act(client, entry))
            self._wall_s += time.monotonic() - began
            self._idle_cpu_s += self._used() - before

    def _used(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._ours)

    def settings(self) -> dict[str, str]:
        """Return by case what the peer was set to."""
        return {entry.peer.case: entry.peer.settings for entry in self._entries if entry.peer.case in self.found}

    def idle(self) -> dict[str, dict[str, float | int | str]]:
        """Return what Headrace and its broker took of a core while the peers had their turns; nothing without peers."""
        if not self._wall_s:
            return {}
        return {"headrace_idle_beside_peers": {"cpu_percent": round(self._idle_cpu_s / self._wall_s * 100, 1)}}

    def ratio(self, name: str, figure: str, ours: Sequence[float], *, best: Callable[[list[float]], float]) -> float:
        """Return Headrace ÷ peer, paired by round, against the peer's setting that does best by its median.

        Args:
            name: the peer.
            figure: which of its figures.
            ours: Headrace's, one a round.
            best: picks from medians: `max` for throughput, `min` for latency.
        """
        cases = [entry.peer.case for entry in self._entries if entry.peer.name == name and not entry.few]
        rates = {case: [one[figure] for one in self.found[case]] for case in cases}
        medians = {case: statistics.median(values) for case, values in rates.items()}
        chosen = next(case for case in cases if medians[case] == best(list(medians.values())))
        return paired(ours[: len(rates[chosen])], rates[chosen])

    def names(self) -> list[str]:
        """Return the peers that took part."""
        return list(dict.fromkeys(entry.peer.name for entry in self._entries if entry.peer.case in self.found))
