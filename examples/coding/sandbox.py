"""Runs the tests of the folder that it is started in: ``python -I sandbox.py SECONDS``, and prints what came of them.

A process of its own with bounds of the system (time, memory, size of files, open files) and an audit hook, which no
Python code can take off again: no network, no other process, nothing written outside the folder. It holds back a
model's mistakes; it is no wall against an attacker, who would get a container without network.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import unittest
from typing import Any

MEGABYTE = 1024 * 1024
REFUSED = (
    *("socket.", "ctypes.", "subprocess.", "pty.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.kill", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate"),
    "shutil.",
)
"""Beginnings of audit events that are refused: connections, processes, changes of files."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Set the bounds, run the tests, print one line of JSON."""
    seconds = int(sys.argv[1])
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: 512 * MEGABYTE,
        resource.RLIMIT_FSIZE: MEGABYTE,
        resource.RLIMIT_NOFILE: 64,
    }
    for bound, most in bounds.items():
        with contextlib.suppress(ValueError):  # macOS has no bound of memory.
            resource.setrlimit(bound, (most, most))
    folder = os.getcwd()
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    sys.addaudithook(_guard)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        suite = unittest.defaultTestLoader.discover("tests", top_level_dir=folder)
        result = unittest.TextTestRunner(stream=said, verbosity=0).run(suite)
    broken = [str(test) for test, _ in (*result.failures, *result.errors)]
    sys.stdout.write(json.dumps({"tests": result.testsRun, "broken": broken, "log": said.getvalue()}))


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(REFUSED):
        raise PermissionError(f"{event} is not for the tests of a model's edits")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        raise PermissionError(f"writing {arguments[0]!r} is not for the tests of a model's edits")


if __name__ == "__main__":
    main()
