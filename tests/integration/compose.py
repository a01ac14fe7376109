"""Reads docker-compose.yml and the Dockerfile, and turns each service into local processes.

What stands in the files is what runs: entry point, command, environment, mounted files, health check, replicas, grace
period. Replaced are only the things that containers have and processes lack: host names, fixed ports, mount points.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ADMIN_PORT = "9464"
PROVIDER = ("provider", "9800")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def load_compose() -> dict[str, Any]:
    """Return docker-compose.yml, anchors and merge keys resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def seconds(text: str) -> float:
    """Return ``1m30s`` as 90.0."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", text))


def dockerfile() -> tuple[list[str], dict[str, str]]:
    """Return the image's entry point and its HEADRACE_ environment."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    entry = re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    assert entry, "the Dockerfile has an ENTRYPOINT in exec form"
    last = text[text.rindex("\nFROM ") :]
    words = [word for line in re.findall(r"^ENV (.*)$", last, re.MULTILINE) for word in shlex.split(line)]
    environment = dict(word.split("=", 1) for word in words)
    return json.loads(entry[1]), {name: value for name, value in environment.items() if name.startswith("HEADRACE_")}


def free_port() -> str:
    """Return a port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@dataclass(eq=False)
class Replica:
    """One process of a service."""

    name: str
    process: subprocess.Popen[bytes]
    health: list[str]
    environment: dict[str, str]
    log: Path

    def healthy(self) -> bool:
        """Whether the service's own health check succeeds."""
        run = subprocess.run(self.health, env=self.environment, capture_output=True, timeout=20, check=False)
        return run.returncode == 0

    def wait_healthy(self, limit_s: float) -> None:
        """Wait for the health check, and tell the log where the process ends or the time does."""
        end = time.monotonic() + limit_s
        while not self.healthy():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.tail()}"
            assert time.monotonic() < end, f"{self.name} is not healthy after {limit_s:.0f} s:\n{self.tail()}"
            time.sleep(0.3)

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4_000:]


@dataclass(eq=False)
class ComposeRun:
    """The services of the file as processes of this machine.

    Args:
        folder: for logs, data and copies of mounted files.
        bootstrap_servers: in place of ``kafka:9092``.
        prefix: in place of the file's topic prefix.
    """

    folder: Path
    bootstrap_servers: str
    prefix: str
    replicas: list[Replica] = field(default_factory=list)
    provider_port: str = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.services = load_compose()["services"]
        self.entry, self.image_environment = dockerfile()

    def run(self, name: str, *arguments: str, limit_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a one-shot service to its end; arguments stand in place of its command."""
        service = self.services[name]
        argv = self._argv(service, list(arguments) or service["command"])
        environment = self._environment(service, free_port())
        return subprocess.run(
            argv, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=limit_s, check=False
        )

    def start(self, name: str) -> list[Replica]:
        """Start every replica of a service."""
        service = self.services[name]
        started = []
        for number in range(service.get("deploy", {}).get("replicas", 1)):
            port = free_port()
            environment, log = self._environment(service, port), self.folder / f"{name}-{number}.log"
            argv = self._argv(service, service["command"])
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    argv, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
                )
            started.append(Replica(f"{name}-{number}", process, self._health(service, port), environment, log))
        self.replicas += started
        return started

    def kill_all(self) -> None:
        """End what still runs."""
        for replica in self.replicas:
            if replica.process.poll() is None:
                replica.process.kill()
            replica.process.wait()

    def _argv(self, service: dict[str, Any], command: list[str]) -> list[str]:
        words = [*service.get("entrypoint", self.entry), *command]
        argv = [self._localised(str(word), service) for word in words]
        return [self._program(argv[0]), *argv[1:]]

    def _health(self, service: dict[str, Any], port: str) -> list[str]:
        kind, *words = service["healthcheck"]["test"]
        assert kind == "CMD", "exec form: nothing needs a shell in the container"
        own = [word.replace(f":{ADMIN_PORT}/", f":{port}/").replace(PROVIDER[1], self.provider_port) for word in words]
        return [self._program(own[0]), *own[1:]]

    def _environment(self, service: dict[str, Any], port: str) -> dict[str, str]:
        """The image's and the service's variables, nothing of the developer's own HEADRACE_ settings."""
        given = {**self.image_environment, **service.get("environment", {})}
        assert all(isinstance(value, str) for value in given.values()), "numbers and booleans are quoted"
        given = {name: self._localised(value, service) for name, value in given.items()}
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        given |= {
            "HEADRACE_TOPICS__PREFIX": self.prefix,
            "HEADRACE_ADMIN__HOST": "127.0.0.1",
            "HEADRACE_ADMIN__PORT": port,
            "HEADRACE_DATA_DIR": str(data),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return {**kept, **given}

    def _localised(self, word: str, service: dict[str, Any]) -> str:
        word = word.replace("kafka:9092", self.bootstrap_servers)
        if word == PROVIDER[1]:
            return self.provider_port
        if word == "0.0.0.0":
            return "127.0.0.1"
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("./") and target in word:
                word = word.replace(target, str(self._mounted(ROOT / source)))
        return word

    def _mounted(self, source: Path) -> Path:
        """Return a folder as it is, and a copy of a file in which the provider's address is the local one."""
        assert source.exists(), f"docker-compose.yml mounts {source}, which is not there"
        if source.is_dir():
            return source
        copy = self.folder / source.name
        text = source.read_text(encoding="utf-8")
        copy.write_text(text.replace(":".join(PROVIDER), f"127.0.0.1:{self.provider_port}"), encoding="utf-8")
        return copy

    def _program(self, word: str) -> str:
        return sys.executable if word == "python" else str(BIN / word)
