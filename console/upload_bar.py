"""Shows an upload of items: a bar on a terminal, nothing elsewhere but the line at its end. On standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from headrace.console.item_upload import Progress


class UploadBar:
    """Takes what an upload says of itself.

    Args:
        bar: drawn where standard error is a terminal; else None.
    """

    def __init__(self, bar: Bar | None) -> None:
        self._bar = bar
        self._task = bar.add_task("uploading", total=None, items="", parts="") if bar else None
        self._last = Progress()

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        self._last = progress
        if self._bar is not None and self._task is not None:
            items, parts = f"{progress.items:,} items", f"{progress.parts:,} parts, {progress.sent:,} sent"
            size, total = progress.size_bytes, progress.total_bytes
            self._bar.update(self._task, completed=size, total=total, items=items, parts=parts)

    def summary(self) -> str:
        """Return what was done, in one line."""
        done = self._last
        there = done.parts - done.sent
        known = f", {there:,} of them there already" if there else ""
        return f"{done.items:,} items in {done.parts:,} parts of {done.size_bytes:,} bytes in all{known}"


@contextmanager
def upload_bar() -> Iterator[UploadBar]:
    """Yield a bar for the time of an upload."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield UploadBar(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[items]}"),
        TextColumn("{task.fields[parts]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        yield UploadBar(bar)
