"""The peers' virtual environment: made once, in the user's cache, apart from the project's own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.runtime.folders import cache_folder
from headrace.runtime.kafka_jars import locked
from headrace.schemas.errors import DependencyUnavailable

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
NEWER_PYTHON = HERE / "requirements-newer-python.txt"
"""Pure Python that declares a newer Python than ours and runs on ours as well."""
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps")
LIMIT_S = 600.0


def python() -> Path:
    """Return the interpreter that has the peers; the environment is made where it is missing or out of date.

    Raises:
        DependencyUnavailable: it could not be made; the message has the last lines of what failed.
    """
    folder = cache_folder() / "peers" / fingerprint([REQUIREMENTS.read_text(), NEWER_PYTHON.read_text()])
    interpreter, made = folder / "bin" / "python", folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock"):
        if made.is_file():
            return interpreter
        print(f"installing the peers into {folder}, once …", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(interpreter), *INSTALL, "-r", str(REQUIREMENTS)])
        _run([str(interpreter), *INSTALL, "--ignore-requires-python", "-r", str(NEWER_PYTHON)])
        made.touch()
    return interpreter


def fingerprint(texts: Sequence[str]) -> str:
    """Return the name of an environment: another for other requirements, and for another Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{version}-{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:12]}"


def _run(command: Sequence[str]) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyUnavailable(f"the peers could not be installed: {error}", _HINT) from error
    if ran.returncode != 0:
        said = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-5:])
        raise DependencyUnavailable(f"the peers could not be installed:\n{said}", _HINT)


_HINT = "check the network and pip's settings; with --quick no peer is needed"
