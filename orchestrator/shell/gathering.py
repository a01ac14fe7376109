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
from headrace.schemas.messages import Lane

GATHER_S = 0.1
"""How long a batch result waits at most for others."""
GATHER_RECORDS = 64
OUT_FOR_EACH = 16
"""Tasks of a batch job that are out for each of its results that waits: a worker may stand still for every one."""
LATELY_S = 30.0
"""So long after an interactive job the next one is expected."""


class Gathering:
    """Decides how long what was read may wait for more.

    Args:
        input: what was read.
        results: name of the topic of results.
        out: how many tasks of a job of that lane are out.
    """

    def __init__(self, input: Input, results: str, out: Callable[[str, Lane], int]) -> None:
        self._input = input
        self._results = results
        self._out = out
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

    def _can_wait(self, source: Source, in_hand: int) -> bool:
        """Return whether a record may wait with so many others: a result of a batch job with many more tasks out."""
        if source.topic != self._results or source.key is None:
            return False
        return self._out(source.key.decode(errors="replace"), Lane.BATCH) >= OUT_FOR_EACH * in_hand
