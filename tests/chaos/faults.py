"""Carries the plan out, one fault after the other, and notes what was done when."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby

from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Done
from tests.chaos.plan import Act, Fault, node_of

READY_S = 40.0
"""How long a member may take until it says that it is ready."""
IN_SYNC_S = 40.0
Say = Callable[[str], None]


class Injector:
    """Does what the plan says.

    Args:
        now_s: the run's clock, on which the plan's times are.
        say: told each thing that is done.
    """

    def __init__(self, cluster: Cluster, now_s: Callable[[], float], say: Say) -> None:
        self._cluster = cluster
        self._fleet = cluster.fleet
        self._now_s = now_s
        self._say = say
        self.done: list[Done] = []

    def run(self, plan: Sequence[Fault]) -> None:
        """Do all of it. A fault whose turn has come waits until the one before is over."""
        for _, together in groupby(plan, key=lambda fault: fault.number):
            faults = list(together)
            wait = faults[0].at_s - self._now_s()
            if wait > 0:
                time.sleep(wait)
            self._together(faults)

    def _together(self, faults: Sequence[Fault]) -> None:
        if any(fault.role == "broker" for fault in faults) and not self._cluster.wait_in_sync(IN_SYNC_S):
            self._say(f"{self._now_s():6.1f} s  skipped: the brokers' copies are not in sync")
            return
        begun = [(fault, self._begin(fault)) for fault in faults]
        notes = {id(fault): self._end(fault, began_s) for fault, began_s in begun}
        members = [name for role in ("orchestrator", "http", "noop") for name in self._fleet.names(role)]
        late = self._fleet.wait_ready(members, READY_S)
        for fault, began_s in begun:
            note = notes[id(fault)] or (f"not ready within {READY_S:g} s: {', '.join(late)}" if late else "")
            self.done.append(Done(fault, began_s, self._now_s(), note))
        took = self._now_s() - begun[0][1]
        self._say(f"{self._now_s():6.1f} s      over after {took:.1f} s" + (f"; not ready: {late}" if late else ""))

    def _begin(self, fault: Fault) -> float:
        """Do what takes no time; return when."""
        began_s = self._now_s()
        self._say(f"{self._now_s():6.1f} s  {str(fault)[10:]}")
        for name in fault.members:
            match fault.act, fault.role:
                case Act.KILL, "broker":
                    self._cluster.brokers.kill(node_of(name))
                case Act.KILL, _:
                    self._fleet.kill(name, down_s=fault.down_s)
                case Act.PAUSE, "broker":
                    self._cluster.brokers.pause(node_of(name))
                case Act.PAUSE, _:
                    self._fleet.pause(name)
        return began_s

    def _end(self, fault: Fault, began_s: float) -> str:
        """Do the rest; return what went wrong."""
        match fault.act:
            case Act.KILL | Act.PAUSE:
                time.sleep(max(0.0, began_s + fault.down_s - self._now_s()))
                for name in fault.members:
                    self._bring_back(fault, name)
                return ""
            case Act.ROLL:
                return "; ".join(filter(None, [self._roll(name) for name in fault.members]))
            case Act.SCALE:
                return self._scale(fault)

    def _bring_back(self, fault: Fault, name: str) -> None:
        """Killed members are started again by the fleet itself."""
        match fault.act, fault.role:
            case Act.KILL, "broker":
                self._cluster.restart_broker(node_of(name))
            case Act.PAUSE, "broker":
                self._cluster.brokers.resume(node_of(name))
            case Act.PAUSE, _:
                self._fleet.resume(name)

    def _roll(self, name: str) -> str:
        ended = self._fleet.terminate(name)
        late = self._fleet.wait_ready([name], READY_S)
        return "" if ended and not late else f"{name}: {'not ready again' if ended else 'did not end by itself'}"

    def _scale(self, fault: Fault) -> str:
        running = self._fleet.names(fault.role)
        for number in range(len(running), fault.count):
            self._cluster.start(fault.role, number)
        unclean = [name for name in running[fault.count :] if not self._fleet.terminate(name, for_good=True)]
        return f"did not end by themselves: {', '.join(unclean)}" if unclean else ""
