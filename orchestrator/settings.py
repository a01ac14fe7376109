"""Who this orchestrator is: its slot, never random and never shared (kafka-mechanics A2).

The slot names the transactional id and the group's static member. A restarted instance must get the same one, so that
it fences its own past; two instances must never share one, or they fence each other for ever.
"""

from __future__ import annotations

import fcntl
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError

ORDINAL = re.compile(r".*-\d{1,6}")
"""A StatefulSet's pod is called ``<name>-<n>``, and keeps its name when it is restarted."""
MAX_SLOTS = 256


@dataclass(slots=True)
class Slot:
    """A slot, held until the process ends."""

    name: str
    lock: IO[str] | None = None
    """The locked file, where the slot was numbered on this machine. The system frees it with the process."""

    def release(self) -> None:
        """Give a numbered slot back."""
        if self.lock is not None:
            self.lock.close()
            self.lock = None


def claim_slot(settings: Settings, *, hostname: str | None = None) -> Slot:
    """Return the slot: the setting's; else a StatefulSet's host name; else the first free one of this machine.

    Raises:
        ConfigError: the slot cannot be locked, or another process of this machine holds it.
    """
    host = re.sub(r"[^A-Za-z0-9._-]", "-", hostname or socket.gethostname())
    folder = settings.data_path / "slots" / settings.topics.prefix
    if settings.orchestrator.slot is not None:
        return _held(folder, settings.orchestrator.slot)
    if ORDINAL.fullmatch(host):
        return _held(folder, host)
    for number in range(MAX_SLOTS):
        lock = _lock(folder, f"{host}-{number}")
        if lock is not None:
            return Slot(f"{host}-{number}", lock)
    raise ConfigError(f"{MAX_SLOTS} orchestrators run on this machine already", "stop one, or name a --slot")


def _held(folder: Path, name: str) -> Slot:
    """Return a slot that was given; its lock is a courtesy that catches the same slot twice on one machine."""
    lock = _lock(folder, name)
    if lock is None:
        raise ConfigError(f"another orchestrator of this machine runs under slot {name!r}", "give it another --slot")
    return Slot(name, lock)


def _lock(folder: Path, name: str) -> IO[str] | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("w")
    except OSError as error:
        raise ConfigError(
            f"slots cannot be kept in {folder}: {error.strerror}", "set data_dir to a folder that can be written"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
