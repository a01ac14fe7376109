"""The servers that peers need, from Debian's packages: found, or installed where this process may."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.schemas.errors import DependencyUnavailable

LIMIT_S = 600.0


def program(name: str, package: str, *, folders: str | None = None) -> Path:
    """Return a program, installed now where it is missing.

    Args:
        name: of the executable.
        package: Debian's package that has it.
        folders: a pattern of folders to look in before PATH, the last of them first: ``/usr/lib/postgresql/*/bin``.

    Raises:
        DependencyUnavailable: it is not there and could not be installed.
    """
    found = find(name, folders)
    if found is None:
        install(package, name)
        found = find(name, folders)
    if found is None:
        raise DependencyUnavailable(f"the package {package} has no program {name}", f"put {name} on PATH")
    return found


def find(name: str, folders: str | None) -> Path | None:
    """Return a program that is there already, or None."""
    for folder in sorted(Path("/").glob(folders.lstrip("/")), reverse=True) if folders else ():
        if os.access(folder / name, os.X_OK):
            return folder / name
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def install(package: str, name: str) -> None:
    """Install a package with apt-get.

    Raises:
        DependencyUnavailable: there is no apt-get, we are not root, or it failed.
    """
    hint = f"install {package} (Debian, Ubuntu: apt-get install {package}); with --quick no peer is needed"
    if shutil.which("apt-get") is None:
        raise DependencyUnavailable(f"{name} is not installed, and there is no apt-get here", hint)
    if os.geteuid() != 0:
        raise DependencyUnavailable(f"{name} is not installed, and apt-get needs root", hint)
    print(f"installing {package} …", file=sys.stderr, flush=True)
    _apt(["update", "-qq"], package, hint)
    _apt(["install", "-qq", "-y", "--no-install-recommends", package], package, hint)


def _apt(arguments: Sequence[str], package: str, hint: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        ran = subprocess.run(
            ["apt-get", *arguments], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DependencyUnavailable(f"apt-get did not install {package}: {error}", hint) from error
    if ran.returncode != 0:
        said = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-5:])
        raise DependencyUnavailable(f"apt-get did not install {package}:\n{said}", hint)
