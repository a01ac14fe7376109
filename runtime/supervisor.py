"""Starts, watches and stops the processes of one machine: model server, orchestrators, workers.

Each runs in a process group of its own, with a log file of its own, and is killed by the system if the supervisor
itself is killed (`processes.py`). A process that crashes is started again after a bounded backoff, if it asks for it.
Stopping goes by stage, the last one first: SIGTERM, a drain, then SIGKILL to its whole group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from headrace.runtime.processes import rss_bytes, spawn_attached
from headrace.schemas.errors import ConfigError, DependencyUnavailable

_POLL_S = 0.05
STEADY_S = 30.0
"""A process that ran this long has started well: its crashes are counted from zero again."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to run."""

    name: str
    """Unique; also the log file's name."""
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    cwd: Path | None = None
    ready: str | Callable[[], bool] | None = None
    """A URL that answers 200, or a function, called until true; None: ready once started."""
    ready_timeout_s: float = 30.0
    max_restarts: int = 0
    """How often it is started again after crashes in a row; 0 leaves a crash as it is."""
    stage: int = 0
    """Processes of one stage stop together, higher stages first."""
    drain_timeout_s: float = 10.0
    """How long it may take after SIGTERM."""


State = Literal["starting", "running", "restarting", "exited", "failed", "stopped"]
"""``exited``: by itself with code 0; ``failed``: crashed and not started again; ``stopped``: by us."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What is shown of one process."""

    name: str
    state: State
    pid: int | None
    restarts: int
    exit_code: int | None
    rss_bytes: int | None
    log: Path


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    log: Path
    popen: subprocess.Popen[bytes]
    started: float
    state: State = "starting"
    restarts: int = 0
    crashes: int = 0
    restart_at: float = 0.0


class Supervisor:
    """Runs processes. A context manager: leaving it stops them all.

    Args:
        logs: folder of the log files; made if missing.
        backoff_s: first and longest wait before a crashed process is started again; doubles in between.
    """

    def __init__(self, logs: Path, *, backoff_s: tuple[float, float] = (0.5, 8.0)) -> None:
        self._logs = logs
        self._backoff_s = backoff_s
        self._children: dict[str, _Child] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._hurry = threading.Event()
        self._watch = threading.Thread(target=self._watch_all, name="headrace-supervisor", daemon=True)
        logs.mkdir(parents=True, exist_ok=True)
        self._watch.start()

    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start a process and return when it is ready.

        Raises:
            ConfigError: the name is taken.
            DependencyUnavailable: it ended or was not ready in time; it is stopped and its last lines are told.
        """
        log = self._logs / f"{spec.name}.log"
        with self._lock:
            if spec.name in self._children:
                raise ConfigError(f"a process named {spec.name} was started already")
            child = _Child(spec, log, _spawn(spec, log), time.monotonic())
            self._children[spec.name] = child
        try:
            self._wait_until_ready(child)
        except BaseException:
            self._stop_together([child])
            raise
        with self._lock:
            if child.state == "starting":
                child.state = "running"
            return _status(child)

    def status(self) -> list[ProcessStatus]:
        """Return what is known of every process, in the order of their start."""
        with self._lock:
            return [_status(child) for child in self._children.values()]

    def stop(self, name: str | None = None) -> None:
        """Stop one process, or all of them by stage. Safe to call again."""
        with self._lock:
            chosen = [child for child in self._children.values() if name in (None, child.spec.name)]
        if name is None:
            self._closing.set()
        for stage in sorted({child.spec.stage for child in chosen}, reverse=True):
            self._stop_together([child for child in chosen if child.spec.stage == stage])

    def hurry(self) -> None:
        """End a drain that is under way: SIGKILL now."""
        self._hurry.set()

    def wait(self) -> int:
        """Run until Ctrl-C, SIGTERM or the end of every process, then stop all. A second Ctrl-C ends at once.

        Returns:
            0 after Ctrl-C or SIGTERM, or when all ended well; 1 when a process failed.
        """
        asked = threading.Event()
        with _signals(lambda: self.hurry() if asked.is_set() else asked.set()):
            while not asked.is_set() and any(_unfinished(child.state) for child in self._copy()):
                time.sleep(_POLL_S)
            failed = any(child.state == "failed" for child in self._copy())
            self.stop()
        return 1 if failed and not asked.is_set() else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _copy(self) -> list[_Child]:
        with self._lock:
            return list(self._children.values())

    def _wait_until_ready(self, child: _Child) -> None:
        deadline = time.monotonic() + child.spec.ready_timeout_s
        while not _is_ready(child.spec.ready):
            if not _unfinished(child.state) or (child.spec.ready and self._closing.is_set()):
                code = child.popen.returncode
                raise DependencyUnavailable(f"{child.spec.name} ended at start (exit code {code})", _tail(child.log))
            if time.monotonic() > deadline:
                waited = child.spec.ready_timeout_s
                raise DependencyUnavailable(f"{child.spec.name} was not ready within {waited:g} s", _tail(child.log))
            time.sleep(_POLL_S)

    def _stop_together(self, children: Sequence[_Child]) -> None:
        with self._lock:  # From here on the watch leaves them alone.
            children = [child for child in children if _unfinished(child.state)]
            for child in children:
                child.state = "stopped"
            # One that waits for its restart is reaped: its pid may be another's by now.
            running = [child for child in children if child.popen.returncode is None]
            for child in running:
                child.popen.send_signal(signal.SIGTERM)  # The leader only: it stops its own children in its order.
        begun = time.monotonic()
        for child in running:
            limit = begun + child.spec.drain_timeout_s
            while child.popen.poll() is None and time.monotonic() < limit and not self._hurry.is_set():
                time.sleep(_POLL_S)
            _kill_group(child)  # Also what a process that ended left behind in its group.
            child.popen.wait()

    def _watch_all(self) -> None:
        while not self._closing.wait(_POLL_S):
            with self._lock:
                for child in self._children.values():
                    self._look_after(child)

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.state == "restarting" and now >= child.restart_at:
            child.popen, child.started = _spawn(child.spec, child.log), now
            child.state, child.restarts = "running", child.restarts + 1
        elif child.state in ("starting", "running") and child.popen.poll() is not None:
            self._ended(child, now)

    def _ended(self, child: _Child, now: float) -> None:
        _kill_group(child)
        if child.popen.returncode == 0:
            child.state = "exited"
            return
        child.crashes = 1 if now - child.started > STEADY_S else child.crashes + 1
        if child.crashes > child.spec.max_restarts:
            child.state = "failed"
            return
        first, longest = self._backoff_s
        child.restart_at = now + min(longest, first * 2.0 ** (child.crashes - 1))
        child.state = "restarting"


def _unfinished(state: State) -> bool:
    return state in ("starting", "running", "restarting")


def _spawn(spec: ProcessSpec, log: Path) -> subprocess.Popen[bytes]:
    return spawn_attached(spec.command, log=log, env={**os.environ, **spec.env}, cwd=spec.cwd)


def _kill_group(child: _Child) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies.
        os.killpg(child.popen.pid, signal.SIGKILL)


def _is_ready(ready: str | Callable[[], bool] | None) -> bool:
    if ready is None:
        return True
    if callable(ready):
        return ready()
    try:
        with urllib.request.urlopen(ready, timeout=1.0) as answer:  # noqa: S310 - the caller's own process
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _status(child: _Child) -> ProcessStatus:
    alive = child.popen.returncode is None
    return ProcessStatus(
        name=child.spec.name,
        state=child.state,
        pid=child.popen.pid if alive else None,
        restarts=child.restarts,
        exit_code=child.popen.returncode,
        rss_bytes=rss_bytes(child.popen.pid) if alive else None,
        log=child.log,
    )


def _tail(log: Path, lines: int = 8) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return f"{log}:\n" + "\n".join(text.splitlines()[-lines:])


@contextmanager
def _signals(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` on SIGINT and SIGTERM, for the time of the block; only the main thread may."""

    def handle(_signum: int, _frame: FrameType | None) -> None:
        act()

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
