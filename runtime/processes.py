"""Child processes: attached ones that die with their owner, detached ones that outlive it, and telling them apart.

A pid alone names nobody: it is given again after its process ended. `ProcessRef` therefore holds the start time too,
and nothing here signals a pid whose start time differs.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launch.py")
_POLL_S = 0.02
_Start = Callable[[], "subprocess.Popen[bytes]"]


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """One process, and no other that may get its pid later."""

    pid: int
    started: str
    """When it started, in the system's own words: clock ticks since boot (Linux) or what ``ps`` prints."""

    @classmethod
    def of(cls, pid: int) -> ProcessRef | None:
        """Return a reference to a process that lives now, or None."""
        started = start_time(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        return start_time(self.pid) == self.started

    def signal(self, signum: int) -> None:
        """Send a signal to this process if it still is the same one."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)


def start_time(pid: int) -> str | None:
    """Return when a process started, or None when it is gone or a zombie.

    Source: proc_pid_stat(5); fields are counted after the last ``)``, because the name may hold blanks.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = _ps(pid, "stat=,lstart=")
    return None if shown is None or shown.startswith("Z") else shown.split(maxsplit=1)[-1]


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of a process in bytes, or None when it is gone."""
    if sys.platform == "linux":
        try:
            resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
        except OSError:
            return None
        return int(resident) * os.sysconf("SC_PAGE_SIZE")
    shown = _ps(pid, "rss=")
    return None if shown is None else int(shown) * 1024


def _ps(pid: int, columns: str) -> str | None:
    found = subprocess.run(["ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def end(processes: Sequence[ProcessRef], *, timeout_s: float) -> bool:
    """End processes: SIGTERM to all at once, SIGKILL to those that are left after the timeout.

    Returns:
        Whether all ended by themselves.
    """
    for process in processes:
        process.signal(signal.SIGTERM)
    if _all_gone(processes, timeout_s):
        return True
    for process in processes:
        process.signal(signal.SIGKILL)
    _all_gone(processes, 5.0)
    return False


def _all_gone(processes: Sequence[ProcessRef], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def spawn_detached(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that outlives this one; its output is appended to the log."""
    with log.open("ab") as sink:
        started = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=env,
            start_new_session=True,
        )
    _detached.append(started)
    return started


_detached: list[subprocess.Popen[bytes]] = []
"""Held on purpose: a Popen that is let go while its process runs warns of it, and here that is the intention."""


def spawn_attached(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    watcher: bool = sys.platform != "linux",
) -> subprocess.Popen[bytes]:
    """Start a process, in a group of its own, that is killed when this process ends, however it ends.

    The group keeps the terminal's Ctrl-C away from it: its owner stops it in order. See `launch.py`.

    Args:
        command: program and arguments, no shell.
        log: the file its output is appended to.
        env: its whole environment; None for ours.
        cwd: its working directory; None for ours.
        watcher: use the pipe and watcher process in place of the kernel's parent death signal.
    """
    pipe = _lifeline() if watcher else -1
    full = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(pipe), *command]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as sink:
            return subprocess.Popen(
                full,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=env,
                cwd=cwd,
                start_new_session=True,
                pass_fds=[pipe] if watcher else [],
            )

    return _Spawner.of_this_process().run(start)


_lifelines: dict[int, int] = {}


def _lifeline() -> int:
    """Return the reading end of this process's lifeline; the writing end stays open until we are gone."""
    if os.getpid() not in _lifelines:
        _lifelines[os.getpid()] = os.pipe()[0]
    return _lifelines[os.getpid()]


class _Spawner:
    """The one thread that forks attached processes.

    Linux sends the parent death signal when the *thread* that forked ends (prctl(2)), so a child started from a
    short-lived thread would die with it. This thread is a daemon and lives exactly as long as the process.
    """

    _current: _Spawner | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._calls: queue.SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="headrace-spawner", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> _Spawner:
        with cls._guard:
            if cls._current is None or cls._current._pid != os.getpid():
                cls._current = cls()
            return cls._current

    def run(self, start: _Start) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._calls.put((start, future))
        return future.result()

    def _work(self) -> None:
        while True:
            start, future = self._calls.get()
            try:
                future.set_result(start())
            except BaseException as error:
                future.set_exception(error)
            del future
