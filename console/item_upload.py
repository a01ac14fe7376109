"""Uploads items: parts side by side, those that are there already not again."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headrace.console.item_parts import PART_BYTES, Part, cut, lines_from, lines_of, part_bytes_for
from headrace.runtime.objects import ObjectStore
from headrace.schemas.errors import ConfigError
from headrace.schemas.messages import ItemsPart, ItemsRef, ObjectRef
from headrace.schemas.submission import MAX_PARTS

THREADS = 8
AHEAD = 16
"""Parts that wait for a thread: what an upload holds in memory."""

Items = Iterable[Any] | str | os.PathLike[str]
"""Values, or the path of a file of JSON Lines; ``-`` is standard input."""


@dataclass(slots=True)
class Progress:
    """How far an upload is."""

    items: int = 0
    parts: int = 0
    size_bytes: int = 0
    """Of the parts so far."""
    sent: int = 0
    """Parts that had to be sent; the others were there."""
    total_bytes: int | None = None
    """Of the file, where it is known."""


Watch = Callable[[Progress], None]


def upload_items(
    store: ObjectStore, items: Items, *, part_bytes: int = PART_BYTES, watch: Watch = lambda _progress: None
) -> ItemsRef:
    """Cut items into parts, store those that are not there, and return the reference for a submission.

    A run that was interrupted is simply run again: the same lines give the same parts, and what is stored is not sent
    again. Nothing is submitted here.

    Args:
        part_bytes: about how large the parts are.
        watch: told after each part.

    Raises:
        BadLines: lines that are no JSON, up to ten of them with their numbers.
        ConfigError: a file that cannot be read, no items, or too many.
        DependencyUnavailable: the object store does not answer.
    """
    with _source(items, part_bytes) as (lines, name, size, total_bytes):
        progress = Progress(total_bytes=total_bytes)
        stored = _stored(store, cut(lines, name, part_bytes=size), progress, watch)
        parts = tuple(_part(ref, count) for ref, count in stored)
    return ItemsRef(parts=parts)


@contextmanager
def _source(items: Items, part_bytes: int) -> Iterator[tuple[Iterable[tuple[int, bytes]], str, int, int | None]]:
    """Yield the lines, a name for them, the size of parts, and the bytes in all where they are known."""
    if not isinstance(items, str | os.PathLike):
        yield lines_from(items), "the list of items", part_bytes, None
        return
    if items == "-":
        yield lines_of(sys.stdin.buffer, "standard input"), "standard input", part_bytes, None
        return
    path = Path(items)
    with ExitStack() as opened:
        size = part_bytes_for(path, part_bytes)
        stream = opened.enter_context(_open(path))
        yield lines_of(stream, str(path)), str(path), size, os.fstat(stream.fileno()).st_size


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=1_048_576)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _stored(
    store: ObjectStore, parts: Iterable[Part], progress: Progress, watch: Watch
) -> Iterator[tuple[ObjectRef, int]]:
    """Store parts side by side; yield their references in order."""
    under_way: deque[tuple[Future[tuple[ObjectRef, bool]], int]] = deque()

    def first() -> tuple[ObjectRef, int]:
        future, count = under_way.popleft()
        ref, sent = future.result()
        progress.items += count
        progress.parts += 1
        progress.size_bytes += ref.size_bytes
        progress.sent += sent
        watch(progress)
        return ref, count

    with ThreadPoolExecutor(THREADS, thread_name_prefix="upload") as threads:
        try:
            for number, part in enumerate(parts, 1):
                if number > MAX_PARTS:
                    raise ConfigError(f"more than {MAX_PARTS:,} parts", "give a larger --part-bytes")
                under_way.append((threads.submit(store.ensure, part.data, look_above=0), part.items))
                if len(under_way) >= AHEAD:
                    yield first()
            while under_way:
                yield first()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _part(ref: ObjectRef, items: int) -> ItemsPart:
    return ItemsPart(key=ref.key, size_bytes=ref.size_bytes, sha256=ref.sha256, items=items)
