"""Workflows from folders and files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from headrace.orchestrator.core.catalogue import WorkflowCatalogue, WorkflowsInvalid, build_catalogue
from headrace.orchestrator.core.workflow_text import MAX_TEXT_BYTES
from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import Pool
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_files import is_workflow_name

__all__ = ["WorkflowCatalogue", "WorkflowsInvalid", "load_workflows", "read_workflow_file"]

MAX_FILES = 2_000


def load_workflows(
    paths: Iterable[Path],
    *,
    pools: Mapping[str, Pool] | None,
    tools: Mapping[str, ToolSpec] | None = None,
    public_pools: Collection[str] = (),
) -> WorkflowCatalogue:
    """Load every workflow of some folders and files.

    Args:
        paths: files, and folders whose ``*.yaml`` and ``*.yml`` are read, at every depth, in the order of their names;
            tests of workflows (``*.tests.yaml``) are passed over.
        pools: the pools there are; None leaves them unchecked.
        tools: the tools there are; as the pools.
        public_pools: the pools of public endpoints.

    Raises:
        ConfigError: a path is not there or cannot be read.
        WorkflowsInvalid: with every problem of every file.
    """
    files = [file for path in paths for file in _files(path)]
    if len(files) > MAX_FILES:
        raise ConfigError(f"{len(files):,} workflow files; the limit is {MAX_FILES:,}")
    texts = ((str(file), read_workflow_file(file)) for file in files)
    return build_catalogue(texts, pools=pools, tools=tools, public_pools=public_pools)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if is_workflow_name(file.name) and file.is_file())
    if not path.exists():
        raise ConfigError(f"workflows: {path} is not there", "name a folder or a YAML file")
    return [path]


def read_workflow_file(path: Path) -> str:
    """Return the text of a file; at most a little more than the limit is read, so that it is seen to be too long.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TEXT_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"workflows: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"workflows: {path} is not UTF-8") from None
