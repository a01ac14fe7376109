"""Results of batch jobs come together before they are written, while interactive jobs come too.

A transaction costs the broker the same for one result as for fifty, and what an interactive job brings must wait for
the one under way. So batch results, which nobody waits for, wait a moment for more of their kind; any other record ends
that at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace.orchestrator.shell.input import Input
from headrace.runtime.letters import Source

GATHER_S = 0.1
"""How long a batch result waits at most for others."""
GATHER_RECORDS = 64
LATELY_S = 30.0
"""So long after an interactive job the next one is expected."""


class Gathering:
    """Decides how long what was read may wait for more.

    Args:
        input: what was read.
        can_wait: whether a record may wait, where so many are in hand.
    """

    def __init__(self, input: Input, can_wait: Callable[[Source, int], bool]) -> None:
        self._input = input
        self._can_wait = can_wait
        self._until = 0.0

    def expect(self) -> None:
        """Say that an interactive job is here: others will follow."""
        self._until = time.monotonic() + LATELY_S

    def gather(self, room: Callable[[], int]) -> None:
        """Read on while all that is in hand may wait.

        Args:
            room: how many records may be read.
        """
        now = time.monotonic()
        if now > self._until:
            return
        late, waiting = now + GATHER_S, self._input.waiting()
        while 0 < waiting < GATHER_RECORDS and (left := late - time.monotonic()) > 0:
            if not all(self._can_wait(read.source, waiting) for read in self._input.in_hand()):
                return
            self._input.poll(left, room())
            waiting = self._input.waiting()
