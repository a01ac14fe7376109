"""The object store as the orchestrator's one loop may use it: side by side, read once, and never waited for for long.

The loop decides; threads read and write. `load` returns what is in memory, else waits a little and then says
`DependencyUnavailable`: the loop drops what it was deciding, polls Kafka, and decides it again when the content may be
there. So a slow store slows down the jobs that need it, and a store that is down makes the process unready; neither
keeps the loop from its group, and neither fails a job.

Belongs to the loop's thread, but for what runs in the pool.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Protocol

import structlog

from headrace.orchestrator.shell.daemon_pool import DaemonPool
from headrace.runtime import metrics
from headrace.schemas.errors import ContractError, DependencyUnavailable
from headrace.schemas.messages import ObjectRef
from headrace.schemas.object_keys import check_object_ref, claim_check

log = structlog.get_logger("headrace.orchestrator")

THREADS = 16
PATIENCE_S = 0.2
"""Longest that reads hold up one round of the loop."""
MOST_PATIENCE_S = 15.0
"""A decision may need more than the cache holds, so that what it read is gone when it is made again. Then the patience
doubles with each round up to this: below the 30 s after which a loop counts as stuck, and far below the 300 s after
which a member that does not poll is put out of its group."""
SETTLE_S = 5.0
"""Longest that writes hold up a transaction before it begins."""
SLOW_S = 10.0
"""A read that takes longer makes the process unready."""
FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.1, 5.0
LOST_AFTER = 5
"""Reads of one object that fail, while the store takes and gives others, before the object counts as lost."""
REMEMBERED = 50_000


class Store(Protocol):
    """`runtime.objects.ObjectStore`, as far as it is used here."""

    @property
    def place(self) -> str: ...

    def get(self, ref: ObjectRef) -> bytes: ...

    def put(self, content: bytes) -> ObjectRef: ...

    def probe(self) -> None: ...


@dataclass(slots=True)
class _Read:
    """An object on its way into memory."""

    ref: ObjectRef
    began: float = 0.0
    future: Future[bytes] | None = None
    failures: int = 0
    retry_at: float = 0.0
    error: DependencyUnavailable | None = None


class Payloads:
    """Loads and stores payloads for the loop.

    Args:
        store: the object store.
        cache_bytes: what read objects may take in memory.
        written_s: how long content that this process wrote is known to be there without asking.
        clock: seconds, monotonic.
    """

    def __init__(
        self, store: Store, *, cache_bytes: int, written_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._written_s = written_s
        self._pool = DaemonPool(THREADS, "objects")
        self._cache = _Cache(cache_bytes)
        self._reads: dict[ObjectRef, _Read] = {}
        self._lost: OrderedDict[ObjectRef, tuple[float, ContractError]] = OrderedDict()
        self._writes: dict[str, tuple[Future[ObjectRef], bytes]] = {}
        self._written: OrderedDict[str, float] = OrderedDict()
        self._patience_s = PATIENCE_S
        self._waited_s = 0.0
        self._gave_up = False
        self._failing_since: float | None = None
        self._failing_for = ""

    def close(self) -> None:
        """Let the threads go; what they are at ends with the process."""
        self._pool.close()

    def begin_round(self) -> None:
        """The loop comes round: reads may hold it up again."""
        longer = self._gave_up and self._cache.missed
        self._patience_s = min(self._patience_s * 2, MOST_PATIENCE_S) if longer else PATIENCE_S
        self._waited_s, self._gave_up, self._cache.missed = 0.0, False, False

    def trouble(self) -> str | None:
        """Return why the store cannot be used, for readiness; None where it can."""
        if self._failing_since is not None:
            return self._failing_for
        # Asked from the thread of the admin port: a copy, while the loop goes on.
        slow = [read for read in list(self._reads.values()) if read.future and self._clock() - read.began > SLOW_S]
        return f"object store {self._store.place} does not answer (object {slow[0].ref.key})" if slow else None

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, ref: ObjectRef) -> bytes:
        """Return the content of a claim check.

        Raises:
            ContractError: it is gone, or is not what the reference says, or may not be followed.
            DependencyUnavailable: it cannot be read now, or is not read yet.
        """
        if (found := self._cache.get(ref)) is not None:
            return found
        if ref.key in self._writes:
            return self._writes[ref.key][1]
        self._refuse_lost(ref)
        check_object_ref(ref)
        read = self._start(ref)
        if read.future is None:
            assert read.error is not None
            raise read.error
        began = self._clock()
        wait([read.future], max(0.0, self._patience_s - self._waited_s))
        self._waited_s += self._clock() - began
        if not read.future.done():
            self._gave_up = True
            raise DependencyUnavailable(f"object {ref.key} is being read from {self._store.place}")
        return self._take(read)

    def expect(self, refs: tuple[ObjectRef, ...]) -> None:
        """Begin to read what will be loaded soon, as far as there is room for it."""
        self._collect()
        room = self._cache.capacity_bytes - sum(read.ref.size_bytes for read in self._reads.values() if read.future)
        for ref in refs:
            if ref in self._cache or ref in self._reads or ref in self._lost or ref.key in self._writes:
                continue
            room -= max(0, ref.size_bytes)
            if room < 0:
                return
            self._start(ref)

    def _start(self, ref: ObjectRef) -> _Read:
        """Return the read of an object, begun now where none runs and its backoff is over."""
        read = self._reads.get(ref)
        if read is None:
            read = self._reads[ref] = _Read(ref)
        if read.future is None and self._clock() >= read.retry_at:
            read.began, read.future = self._clock(), self._pool.submit(self._read, ref, read.failures)
        return read

    def _read(self, ref: ObjectRef, failures: int) -> bytes:
        """Read, in the pool. An object that cannot be read from a store that otherwise works is lost (a partition must
        not wait for it for ever): where a name is no file, or access to one object is denied.
        """
        try:
            return self._store.get(ref)
        except DependencyUnavailable as error:
            if failures + 1 < LOST_AFTER:
                raise
            self._store.probe()
            raise ContractError(
                f"object {ref.key} cannot be read from {self._store.place}, which answers otherwise: {error.message}",
                "is it there, and may it be read? (a store may deny what is not there)",
                kind="gone",
            ) from None

    def _take(self, read: _Read) -> bytes:
        """Return what a finished read brought."""
        assert read.future is not None
        try:
            content = read.future.result()
        except ContractError as error:
            del self._reads[read.ref]
            self._remember_lost(read.ref, error)
            metrics.OBJECTS.labels("read", "lost").inc()
            raise
        except DependencyUnavailable as error:
            self._fail(read, error)
            raise
        except Exception as error:  # A bug of ours or of the client: the store is not to blame, the partition waits.
            log.exception("object.read_failed", key=read.ref.key)
            self._fail(read, DependencyUnavailable(f"object {read.ref.key}: {type(error).__name__}"))
            raise read.error or error from None
        del self._reads[read.ref]
        self._failing_since = None
        metrics.OBJECTS.labels("read", "ok").inc()
        self._cache.put(read.ref, content)
        return content

    def _collect(self) -> None:
        """Bring what was read ahead into the cache."""
        for read in [read for read in self._reads.values() if read.future is not None and read.future.done()]:
            try:
                self._take(read)
            except (ContractError, DependencyUnavailable):
                continue  # Whoever needs it is told.

    def _fail(self, read: _Read, error: DependencyUnavailable) -> None:
        metrics.OBJECTS.labels("read", "failed").inc()
        read.future, read.error = None, error
        read.failures += 1
        read.retry_at = self._clock() + min(FIRST_BACKOFF_S * 2 ** min(read.failures, 10), MOST_BACKOFF_S)
        self._note_failure(error)

    def _refuse_lost(self, ref: ObjectRef) -> None:
        """What was lost a moment ago is not asked for again for each item of a part."""
        if (lost := self._lost.get(ref)) is None:
            return
        if self._clock() < lost[0]:
            raise lost[1]
        del self._lost[ref]

    def _remember_lost(self, ref: ObjectRef, error: ContractError) -> None:
        self._lost[ref] = (self._clock() + MOST_BACKOFF_S, error)
        while len(self._lost) > 1_000:
            self._lost.popitem(last=False)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, content: bytes) -> ObjectRef:
        """Begin to store content and return its claim check; `settle` waits for it, before the transaction begins.

        Raises:
            ContractError: it is larger than any reader would read.
        """
        ref = check_object_ref(claim_check(content))
        at = self._written.get(ref.key)
        if ref.key in self._writes or (at is not None and self._clock() - at < self._written_s):
            return ref
        self._writes[ref.key] = (self._pool.submit(self._store.put, content), content)
        return ref

    def settle(self) -> None:
        """Wait until everything is stored that was put.

        Raises:
            DependencyUnavailable: not everything, or not yet. What is under way goes on; the batch is decided again.
        """
        if not self._writes:
            return
        _, slow = wait([future for future, _ in self._writes.values()], SETTLE_S)
        failed: DependencyUnavailable | None = None
        for key, (future, _) in list(self._writes.items()):
            if future in slow:
                continue
            del self._writes[key]
            error = future.exception()
            metrics.OBJECTS.labels("write", "failed" if error else "ok").inc()
            if error is None:
                self._remember_written(key)
            elif isinstance(error, DependencyUnavailable):
                failed = error
            else:
                log.error("object.write_failed", key=key, error=repr(error))
                failed = DependencyUnavailable(f"object {key} cannot be written: {type(error).__name__}")
        if failed is None and slow:
            failed = DependencyUnavailable(f"{len(slow)} objects are being written to {self._store.place}")
        if failed is not None:
            self._note_failure(failed)
            raise failed
        self._failing_since = None

    def _remember_written(self, key: str) -> None:
        self._written[key] = self._clock()
        self._written.move_to_end(key)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    def _note_failure(self, error: DependencyUnavailable) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock()
            log.warning("objects.failing", error=error.message)
        self._failing_for = error.message


class _Cache:
    """The objects that were read last, by their size together."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.missed = False
        """Whether something was asked for that had been here and had to go."""
        self._kept: OrderedDict[ObjectRef, bytes] = OrderedDict()
        self._size_bytes = 0
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, ref: ObjectRef) -> bool:
        return ref in self._kept

    def get(self, ref: ObjectRef) -> bytes | None:
        found = self._kept.get(ref)
        if found is not None:
            self._kept.move_to_end(ref)
        elif ref.key in self._gone:
            self.missed = True
        return found

    def put(self, ref: ObjectRef, content: bytes) -> None:
        self._gone.pop(ref.key, None)
        self._kept[ref] = content
        self._size_bytes += len(content)
        while self._size_bytes > self.capacity_bytes and self._kept:
            gone, evicted = self._kept.popitem(last=False)
            self._size_bytes -= len(evicted)
            self._gone[gone.key] = None
        while len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)
