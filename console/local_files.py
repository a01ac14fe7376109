"""What ``headrace up`` leaves behind so that other commands find it: one small file in the data folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.runtime.processes import ProcessRef
from headrace.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class UpState:
    """A running ``headrace up``."""

    pid: int
    started: str
    """When the process started: a pid alone may be another's by now."""
    bootstrap_servers: str
    prefix: str
    pools_file: str
    logs: str

    @property
    def process(self) -> ProcessRef:
        """The process, and no other with its pid."""
        return ProcessRef(self.pid, self.started)


def _path(settings: Settings) -> Path:
    return settings.data_path / "up.json"


def write_up(settings: Settings, state: UpState) -> None:
    """Record a running ``up``; whoever reads sees the whole file or none."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(asdict(state)), encoding="utf-8")
    half.replace(path)


def read_up(settings: Settings) -> UpState | None:
    """Return the ``up`` that runs, or None; what a crash left behind does not count."""
    try:
        state = UpState(**json.loads(_path(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return state if state.process.alive() else None


def forget_up(settings: Settings) -> None:
    """Remove the record."""
    with suppress(FileNotFoundError):
        _path(settings).unlink()
