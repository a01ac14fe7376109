"""Sweeps the object store: deletes what is older than any record that could refer to it. Nothing else, ever.

Only content addresses below the deployment's own root are looked at (`object_keys.is_own_key`): what a producer lays
beside them under a name of its own is never touched. Age is the time since the last write, and a put that finds old
content writes it again, so an object that a new message refers to is young.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headrace.runtime.objects import ObjectStore, Stored
from headrace.schemas.object_keys import is_own_key

AT_ONCE = 100
"""Objects that are looked at side by side and then deleted with one request."""
THREADS = 16
SWEPT_KEY = "last-sweep"
"""Written after each sweep, so that several processes sweep once a day between them."""
EVERY_S = 86_400.0


@dataclass(slots=True)
class Census:
    """What lies in a store, and what of it was old."""

    objects: int = 0
    """Objects of Headrace's own form."""
    size_bytes: int = 0
    """Their size."""
    foreign: int = 0
    """Others in the same folder: never touched."""
    oldest_at: datetime | None = None
    newest_at: datetime | None = None
    old: int = 0
    """Objects older than the limit."""
    old_bytes: int = 0
    """Their size."""
    deleted: int = 0
    """Objects that the sweep deleted."""

    def count(self, found: Stored, *, before: datetime) -> bool:
        """Count an object; return whether it is one of ours and old."""
        if not is_own_key(found.key):
            self.foreign += 1
            return False
        at = found.modified_at
        self.objects += 1
        self.size_bytes += found.size_bytes
        self.oldest_at = at if self.oldest_at is None else min(self.oldest_at, at)
        self.newest_at = at if self.newest_at is None else max(self.newest_at, at)
        if at >= before:
            return False
        self.old += 1
        self.old_bytes += found.size_bytes
        return True


def census(store: ObjectStore, *, older_than_s: float, now: datetime | None = None) -> Census:
    """Count what lies in the store; changes nothing.

    Raises:
        DependencyUnavailable: the store does not answer.
    """
    before = (now or datetime.now(UTC)) - timedelta(seconds=older_than_s)
    found = Census()
    for stored in store.list_own():
        found.count(stored, before=before)
    return found


def sweep(
    store: ObjectStore,
    *,
    older_than_s: float,
    now: datetime | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Census:
    """Delete the store's own objects that are older than the limit.

    Each is looked at again just before it is deleted: it may have been written anew since it was listed. What remains
    is the moment between that look and the deletion; content would have to be put again in it after lying unused for
    the whole retention, and its job would then fail as ``payload_lost``, saying so.

    Args:
        older_than_s: age in seconds; `object_retention` says what is safe.
        now: the time; that of the clock where left out.
        stopped: asked before each deletion; true ends the sweep early.

    Raises:
        DependencyUnavailable: the store does not answer; what was deleted stays deleted.
    """
    before = (now or datetime.now(UTC)) - timedelta(seconds=older_than_s)
    found, old = Census(), []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="sweep") as threads:
        for stored in store.list_own():
            if found.count(stored, before=before):
                old.append(stored.key)
            if len(old) >= AT_ONCE:
                found.deleted += _delete(store, old, before, threads)
                old.clear()
            if stopped():
                break
        else:
            found.deleted += _delete(store, old, before, threads)
    return found


def _delete(store: ObjectStore, keys: list[str], before: datetime, threads: ThreadPoolExecutor) -> int:
    """Delete those of some keys that are still old; return how many."""
    looked = threads.map(store.head, keys)
    still = [stored.key for stored in looked if stored is not None and stored.modified_at < before]
    store.delete(still)
    return len(still)


def is_due(store: ObjectStore, *, now: datetime | None = None) -> bool:
    """Return whether the last sweep of the store, by whomever, was a day ago.

    Raises:
        DependencyUnavailable: the store does not answer.
    """
    last = store.head(SWEPT_KEY)
    return last is None or (now or datetime.now(UTC)) - last.modified_at >= timedelta(seconds=EVERY_S)


def note_swept(store: ObjectStore) -> None:
    """Note that the store was swept now.

    Raises:
        DependencyUnavailable: the store does not answer.
    """
    store.note(SWEPT_KEY, b"the time of the last sweep is that of this object\n")
