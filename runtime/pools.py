"""Loads the pools file: endpoints, pools and prices in one YAML."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import Endpoint, Pool, PoolsFile, Price

ADAPTERS = {
    "minilm": ("embeddings",),
    "noop": ("chat", "embeddings"),
    "openai": ("chat", "embeddings"),
}
"""The adapters that workers have, and what pools on them can serve; a test holds this against the workers' own
registry."""

_MODELS: dict[str, type[BaseModel]] = {"endpoints": Endpoint, "pools": Pool}


def load_pools(path: Path | None) -> PoolsFile:
    """Read and check the pools file.

    Raises:
        ConfigError: it is missing, not YAML, or wrong; every finding is named with its field and a suggestion.
    """
    if path is None:
        raise ConfigError("no pools file", "set HEADRACE_POOLS_FILE or pools_file to the YAML of endpoints and pools")
    try:
        content = yaml.safe_load(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"pools file {path} cannot be read: {reason}", "correct HEADRACE_POOLS_FILE") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"pools file {path} is not YAML: {_one_line(error)}") from None
    try:
        pools = PoolsFile.model_validate({} if content is None else content)
    except ValidationError as error:
        findings = "; ".join(
            _explain(dict(finding)) for finding in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"pools file {path}: {findings}", "see docs/operations.md, pools") from None
    for name, endpoint in pools.endpoints.items():
        if endpoint.adapter not in ADAPTERS:
            known = suggest(endpoint.adapter, tuple(ADAPTERS))
            raise ConfigError(
                f"pools file {path}: endpoints.{name}.adapter: unknown adapter {endpoint.adapter!r}{known}"
            )
    for name, pool in pools.pools.items():
        adapter = pools.endpoints[pool.endpoint].adapter
        if pool.serves not in (can := ADAPTERS[adapter]):
            raise ConfigError(
                f"pools file {path}: pools.{name} serves {pool.serves}, and its endpoint {pool.endpoint!r} has the "
                f"adapter {adapter!r}, which serves {' and '.join(can)}",
                f"say `serves: {can[0]}`, or name another endpoint",
            )
    return pools


def find_pool(pools: PoolsFile, name: str) -> tuple[Pool, Endpoint]:
    """Return a pool and its endpoint.

    Raises:
        ConfigError: there is no such pool; the message suggests one.
    """
    if name not in pools.pools:
        raise ConfigError(f"unknown pool {name!r}{suggest(name, tuple(pools.pools))}", "add it to the pools file")
    pool = pools.pools[name]
    return pool, pools.endpoints[pool.endpoint]


def api_key(endpoint: Endpoint, name: str) -> SecretStr | None:
    """Return the endpoint's key from the environment variable that it names, or None where it names none.

    Raises:
        ConfigError: the variable is not set; it is named, its value never shown.
    """
    variable = endpoint.api_key_env
    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise ConfigError(f"endpoint {name!r} needs its key in {variable}, which is not set", f"export {variable}=…")
    return SecretStr(value)


def suggest(name: str, known: tuple[str, ...]) -> str:
    """Return a bracket that names the nearest known name, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known) or 'none'})"


def _explain(finding: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in finding["loc"])
    if finding["type"] != "extra_forbidden":
        return f"{place}: {finding['msg']}" if place else str(finding["msg"])
    parts = finding["loc"]
    model: type[BaseModel] = PoolsFile if len(parts) == 1 else _MODELS.get(str(parts[0]), PoolsFile)
    if "price" in parts[:-1]:
        model = Price
    return f"unknown field {place}{suggest(str(parts[-1]), tuple(model.model_fields))}"


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())[:300]
