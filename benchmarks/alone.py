"""The settings of a service that a benchmark runs without a deployment."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from headrace.runtime.pools import load_pools
from headrace.runtime.settings import Settings
from headrace.schemas.pools import PoolsFile


def loaded(pools: dict[str, Any]) -> tuple[Settings, PoolsFile]:
    """Return settings and pools as a service reads them, from the content of a pools file."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "pools.yaml"
        path.write_text(yaml.safe_dump(pools))
        return Settings.model_validate({"pools_file": path, "data_dir": Path(folder)}), load_pools(path)
