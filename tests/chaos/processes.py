"""Processes as a StatefulSet keeps them: each has a name, and whatever ends is started again under the same one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.runtime.processes import spawn_attached
from tests.chaos.evidence import Exit

POLL_S = 0.05
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 8.0
STEADY_S = 20.0
"""A process that ran this long has started well: its exits are counted from zero again."""
DRAIN_S = 45.0
"""How long a process may take after SIGTERM before it is killed, which is a finding."""


@dataclass(slots=True)
class Member:
    """One place in the deployment, and the process that has it now."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready_url: str
    popen: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    """Whether it is to run at all."""
    asked: str = ""
    """What we did to it that makes it end: ``kill`` or ``term``."""
    start_at: float = 0.0
    """When it is started again, on the monotonic clock."""
    started: float = 0.0
    failures: int = 0
    log_begin: int = 0
    """Where in the log this start begins."""
    exited: threading.Event = field(default_factory=threading.Event)


class Fleet:
    """Keeps members running. A context manager: leaving it ends them all.

    Args:
        logs: folder of the log files.
        now_s: the run's clock, for notes.
    """

    def __init__(self, logs: Path, now_s: Callable[[], float]) -> None:
        self._logs = logs
        self._now_s = now_s
        self._members: dict[str, Member] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._keep, name="chaos-fleet", daemon=True)
        self.exits: list[Exit] = []

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], *, ready_url: str) -> None:
        """Start a member, or one again that was ended for good."""
        with self._lock:
            member = Member(name, command, env, self._logs / f"{name}.log", ready_url)
            self._members[name] = member
            self._spawn(member)

    def names(self, role: str) -> list[str]:
        """Return the members of a role that are to run."""
        with self._lock:
            return [each.name for each in self._members.values() if each.wanted and each.name.startswith(f"{role}-")]

    def kill(self, name: str, *, down_s: float) -> None:
        """SIGKILL; it is started again after a while."""
        with self._lock:
            member = self._members[name]
            if member.popen is not None:
                member.asked, member.start_at = "kill", time.monotonic() + down_s
                member.popen.send_signal(signal.SIGKILL)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._signal(name, signal.SIGCONT)

    def terminate(self, name: str, *, for_good: bool = False) -> bool:
        """SIGTERM, and wait for the end. Return whether it ended by itself."""
        with self._lock:
            member = self._members[name]
            member.wanted = not for_good
            if member.popen is None:
                return True
            member.asked, member.start_at = "term", time.monotonic()
            member.exited.clear()
            member.popen.send_signal(signal.SIGTERM)
        if member.exited.wait(DRAIN_S):
            return True
        with self._lock:
            if member.popen is not None:
                member.popen.kill()
        return False

    def is_ready(self, name: str) -> bool:
        """Whether it answers that it is ready."""
        with self._lock:
            member = self._members[name]
        try:
            with urllib.request.urlopen(member.ready_url, timeout=1.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, names: Sequence[str], timeout_s: float) -> list[str]:
        """Wait until members are ready; return those that are not in time."""
        deadline = time.monotonic() + timeout_s
        left = list(names)
        while left and time.monotonic() < deadline:
            left = [name for name in left if not self.is_ready(name)]
            time.sleep(POLL_S)
        return left

    def cpu_s(self) -> float:
        """Return the CPU time that the members alive have used (Linux)."""
        ticks = 0
        for member in list(self._members.values()):
            if member.popen is not None and member.popen.poll() is None:
                fields = Path(f"/proc/{member.popen.pid}/stat").read_text().rpartition(") ")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End all: SIGTERM together, SIGKILL to who is left."""
        with self._lock:
            members = [each for each in self._members.values() if each.popen is not None]
            for member in members:
                member.wanted, member.asked = False, "term"
                if member.popen is not None:
                    member.popen.send_signal(signal.SIGCONT)
                    member.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and any(each.popen is not None for each in members):
            time.sleep(POLL_S)
        self._closing.set()
        self._watch.join(5)
        for member in members:
            if member.popen is not None:
                member.popen.kill()
                member.popen.wait()

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _signal(self, name: str, number: int) -> None:
        with self._lock:
            popen = self._members[name].popen
            if popen is not None:
                popen.send_signal(number)

    def _keep(self) -> None:
        while not self._closing.wait(POLL_S):
            with self._lock:
                for member in self._members.values():
                    self._look_after(member)

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if member.popen is None:
            if member.wanted and now >= member.start_at:
                self._spawn(member)
            return
        code = member.popen.poll()
        if code is None:
            return
        member.popen = None
        self._note(member, code)
        if not member.asked:
            member.failures = 1 if now - member.started > STEADY_S else member.failures + 1
            member.start_at = now + min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (member.failures - 1))
        member.asked = ""
        member.exited.set()

    def _note(self, member: Member, code: int) -> None:
        said = ""
        if not member.asked or (member.asked == "term" and code != 0):
            text = member.log.read_bytes()[member.log_begin :].decode("utf-8", "replace")
            said = "\n".join(text.splitlines()[-12:])
        self.exits.append(Exit(member.name, self._now_s(), code, member.asked, said))

    def _spawn(self, member: Member) -> None:
        member.log_begin = member.log.stat().st_size if member.log.is_file() else 0
        member.popen = spawn_attached(member.command, log=member.log, env={**os.environ, **member.env})
        member.started = time.monotonic()
