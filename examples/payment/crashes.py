"""Kills processes at chosen moments: when a service has done something and has not answered yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.examples.deployment import Deployment
from headrace.examples.payment.services import Deed

BEFORE_THE_ANSWER_S = 0.2
"""How long the answer waits after a kill: there is nobody left to take it."""


@dataclass(slots=True)
class Crashes:
    """Each of them happens once.

    Args:
        here: whose processes are killed.
        planned: the name of the process, by the service and what it has just done.
    """

    here: Deployment
    planned: Mapping[tuple[str, Deed], str]
    happened: dict[tuple[str, Deed], str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def after(self, service: str, deed: Deed) -> None:
        """Kill what is to be killed now; for `Service.before_answer`."""
        with self._lock:
            name = self.planned.get((service, deed))
            if name is None or (service, deed) in self.happened:
                return
            self.happened[service, deed] = name
            self.here.kill(name)
        time.sleep(BEFORE_THE_ANSWER_S)
