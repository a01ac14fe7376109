"""Where Headrace keeps what can be fetched again, by the XDG base directory rules."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return this user's cache folder: the jars of the local Kafka."""
    given = Path(os.environ.get("XDG_CACHE_HOME") or "")
    base = given if given.is_absolute() else Path.home() / ".cache"  # A relative path is to be ignored.
    return base / "headrace"
