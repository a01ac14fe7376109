from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headrace.runtime import kafka_jars
from headrace.runtime.java import Java
from headrace.runtime.kafka_jars import cached_jars, fetch_jars, jar_folder, kafka_version
from headrace.schemas.errors import DependencyUnavailable

JAVA = Java(Path("/j/bin/java"), 21, "PATH")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _maven(tmp_path: Path, script: str) -> Path:
    program = tmp_path / "mvn"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    return program


FETCHES = """
for word in "$@"; do case $word in -DoutputDirectory=*) out=${word#*=};; esac; done
echo "$JAVA_HOME" >> "$(dirname "$0")/ran"
sleep 0.1; mkdir -p "$out"; touch "$out/kafka_2.13-VERSION.jar" "$out/slf4j-simple-1.7.36.jar"
"""


def test_two_that_start_together_fetch_once_and_maven_gets_our_java(tmp_path: Path) -> None:
    maven = _maven(tmp_path, FETCHES.replace("VERSION", kafka_version()))
    both = [threading.Thread(target=fetch_jars, args=(JAVA, maven)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert cached_jars() == jar_folder()
    assert (tmp_path / "ran").read_text().splitlines() == ["/j"]


def test_a_failed_fetch_tells_mavens_last_lines_and_leaves_nothing(tmp_path: Path) -> None:
    maven = _maven(tmp_path, "echo '[ERROR] no route to host'; exit 1\n")
    with pytest.raises(DependencyUnavailable, match="no route to host"):
        fetch_jars(JAVA, maven)
    assert cached_jars() is None
    assert [path.name for path in jar_folder().parent.iterdir()] == [".lock"]


def test_half_a_folder_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    jar_folder().mkdir(parents=True)
    (jar_folder() / f"kafka_2.13-{kafka_version()}.jar").touch()
    assert cached_jars() is None
    fetch_jars(JAVA, _maven(tmp_path, FETCHES.replace("VERSION", kafka_version())))
    assert cached_jars() is not None


def test_the_pom_names_each_jar_that_is_looked_for() -> None:
    assert kafka_jars._named_jars() == [f"kafka_2.13-{kafka_version()}.jar", "slf4j-simple-1.7.36.jar"]
