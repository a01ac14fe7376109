"""Starts, finds and stops the model servers of this user: which model has which name, and what is written down of it.

One process serves `small` and, where no other model is given, `large` too: the same weights under a second name cost
neither memory nor another set of threads. A `large` of its own gets a second process at the next port.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.runtime.local_model import ModelServer, base_url, command, true_name, wait_until_ready
from headrace.runtime.processes import ProcessRef, end, spawn_detached
from headrace.schemas.errors import ConfigError, DependencyUnavailable

STATE_FILE = "model-servers.json"
STOP_TIMEOUT_S = 10.0
LARGE_CONTEXT = 16_384
"""Tokens of a large model's two slots together."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """One server process as the state file knows it."""

    process: ProcessRef
    """The process, told apart from any later one with its pid."""
    port: int
    """Its port on the loopback interface."""
    model: str
    """The model's true name, as replies say it."""
    aliases: tuple[str, ...]
    """The names that pools ask for."""
    log: str
    """Its log file."""

    @property
    def url(self) -> str:
        """The base URL for the pools file."""
        return base_url(self.port)


def plan(*, small: Path, large: Path | None, port: int, parallel: int = 4, context: int = 8192) -> list[ModelServer]:
    """Return the server processes for these models.

    Args:
        small: the model of pool `small`.
        large: the model of pool `large`, or None for the small one under a second name.
        port: of the first process; the next one takes the next.
        parallel: requests side by side on the small model.
        context: tokens of all its slots together.
    """
    if large is None or large == small:
        return [ModelServer(small, ("small", "large"), port, parallel, context)]
    return [
        ModelServer(small, ("small",), port, parallel, context),
        ModelServer(large, ("large",), port + 1, 2, LARGE_CONTEXT),
    ]


def describe(servers: Sequence[ModelServer] | Sequence[RunningServer]) -> list[str]:
    """Return one line a name: what it is and where; it says plainly where `large` is the small model."""
    lines = []
    for server in servers:
        model = server.model if isinstance(server, RunningServer) else true_name(server.model)
        for alias in sorted(server.aliases, reverse=True):
            same = alias == "large" and "small" in server.aliases
            note = " (the small model under its own name: no other one was given)" if same else ""
            lines.append(f"{alias}: {model} at {base_url(server.port)}{note}")
    return lines


def start_detached(servers: Sequence[ModelServer], folder: Path, *, timeout_s: float = 120.0) -> list[RunningServer]:
    """Start the servers so that they outlive this process, and wait until all can answer.

    Raises:
        ConfigError: there are running ones already.
        DependencyUnavailable: one did not become ready; then none is left running.
    """
    if alive := [server for server in read_state(folder) if server.process.alive()]:
        raise ConfigError(
            f"a model server runs already: pid {alive[0].process.pid} at {alive[0].url}",
            "stop it first: `headrace model stop`",
        )
    folder.mkdir(parents=True, exist_ok=True)
    running: list[RunningServer] = []
    try:
        for server in servers:
            running.append(_start(server, folder))
            _write_state(folder, running)  # Written before it is ready, so that none is ever unknown.
        for started in running:
            _wait(started, timeout_s=timeout_s)
    except BaseException:
        stop(folder)
        raise
    return running


def stop(folder: Path) -> list[RunningServer]:
    """Stop the servers of the state file and return those that were running. A recycled pid is left alone."""
    alive = [server for server in read_state(folder) if server.process.alive()]
    end([server.process for server in alive], timeout_s=STOP_TIMEOUT_S)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return alive


def read_state(folder: Path) -> list[RunningServer]:
    """Return what the state file says, running or not; nothing if there is none that can be read."""
    try:
        return [_parsed(entry) for entry in json.loads((folder / STATE_FILE).read_text("utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _parsed(entry: dict[str, object]) -> RunningServer:
    process = entry.pop("process")
    aliases = entry.pop("aliases")
    if not isinstance(process, dict) or not isinstance(aliases, list):
        raise TypeError("not a state file of this version")
    return RunningServer(process=ProcessRef(**process), aliases=tuple(aliases), **entry)  # type: ignore[arg-type]


def _start(server: ModelServer, folder: Path) -> RunningServer:
    log = folder / f"model-{server.port}.log"
    log.unlink(missing_ok=True)
    child = spawn_detached(command(server), log=log)
    process = ProcessRef.of(child.pid)
    child.returncode = 0  # It outlives us on purpose; without this Popen warns when it is collected.
    if process is None:
        raise DependencyUnavailable("the model server ended at its start" + _last_words(log), f"see {log}")
    return RunningServer(process, server.port, true_name(server.model), server.aliases, str(log))


def _wait(server: RunningServer, *, timeout_s: float) -> None:
    alive: Callable[[], bool] = server.process.alive
    try:
        wait_until_ready(server.url, timeout_s=timeout_s, alive=alive)
    except DependencyUnavailable as error:
        log = Path(server.log)
        raise DependencyUnavailable(error.message + _last_words(log), f"see {log}") from None


def _last_words(log: Path) -> str:
    """Return what the process said of its own error, for the message."""
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return f": {said[-1]}" if said else ""


def _write_state(folder: Path, servers: Sequence[RunningServer]) -> None:
    draft = folder / f"{STATE_FILE}.{os.getpid()}"
    draft.write_text(json.dumps([asdict(server) for server in servers], indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / STATE_FILE)
