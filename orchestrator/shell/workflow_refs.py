"""Which workflow texts on one partition of ``state`` are still used by a job, and since when the others are not."""

from __future__ import annotations

from collections import Counter

from headrace.orchestrator.core.state import JobHeader, StateRecord, WorkflowRecord, workflow_key

LINGER_MS = 60_000
"""How long an unused text stays: the next job often brings it again, and writing it costs more than keeping it."""


class WorkflowRefs:
    """Counts committed headers by their workflow."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()
        self._texts: dict[str, int | None] = {}
        """By key of a text that lies here: when it was found to be unused, or None. The longest unused first."""

    def note(self, key: str, before: StateRecord | None, record: StateRecord | None) -> None:
        """Note that the committed record under a key changed."""
        if key.startswith("job/"):
            self._count(before, -1)
            self._count(record, 1)
        elif key.startswith("workflow/"):
            if isinstance(record, WorkflowRecord):
                self._texts.setdefault(key, None)
            else:
                self._texts.pop(key, None)

    def _count(self, record: StateRecord | None, sign: int) -> None:
        if not isinstance(record, JobHeader):
            return
        key = workflow_key(record.spec.workflow_sha256)
        self._used[key] += sign
        if self._used[key] <= 0:
            del self._used[key]
        if key in self._texts:  # To the end of the order, to be looked at anew.
            self._texts.pop(key)
            self._texts[key] = None

    def unused(self, now_ms: int, at_most: int) -> list[str]:
        """Return keys of texts that no job has used for `LINGER_MS`."""
        found: list[str] = []
        for key, since in self._texts.items():
            if key in self._used:
                continue
            if since is None:
                self._texts[key] = now_ms
            elif now_ms - since >= LINGER_MS:
                found.append(key)
                if len(found) >= at_most:
                    break
        return found
