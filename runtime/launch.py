"""Runs a command that must not outlive the process that asked for it, also when that one dies by ``kill -9``.

Run as a script with the standard library only (``python -I -S launch.py OWNER FD COMMAND…``), because the few
milliseconds before ``exec`` are the whole cost. It then *becomes* the command, so pid and exit code are the command's.

- Linux: the kernel is asked for SIGKILL at the parent's death (prctl(2), PR_SET_PDEATHSIG), which survives ``exec``.
- Elsewhere FD is the reading end of a pipe whose other end only the owner holds. A forked watcher kills the command's
  process group when the pipe closes, and ends itself when the command is gone.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
WATCH_INTERVAL_S = 0.5


def die_with_parent(owner: int) -> None:
    """Ask the kernel to kill this process with its parent; end at once if the parent is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != owner:  # It died between fork and prctl, so no signal will come.
        os._exit(128 + signal.SIGKILL)


def watch(target: int, pipe: int) -> None:
    """Kill the target's process group when the pipe closes; return when the target has ended."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # A drain signals the whole group; the watch must outlast it.
    while os.getppid() == target:
        readable, _, _ = select.select([pipe], [], [], WATCH_INTERVAL_S)
        if readable and not os.read(pipe, 1):
            os.killpg(target, signal.SIGKILL)
            return


def main(argv: list[str]) -> int:
    """Bind this process to its owner and become the command."""
    owner, pipe, command = int(argv[1]), int(argv[2]), argv[3:]
    if pipe < 0:
        die_with_parent(owner)
    else:
        target = os.getpid()
        if os.fork() == 0:
            watch(target, pipe)
            os._exit(0)
        os.close(pipe)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a list, no shell
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv))
