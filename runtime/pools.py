"""Loads the pools file: endpoints, pools, tools and prices in one YAML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Never

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import TOOLS_ADAPTER, Endpoint, Pool, PoolsFile, Price
from headrace.schemas.schema_cost import TooCostly, check_references
from headrace.schemas.tools import TOOL_KINDS, ToolSpec

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
    if problems := [*_unknown_adapters(pools), *_unusable_schemas(pools), *_served_otherwise(pools)]:
        raise ConfigError(f"pools file {path}: {'; '.join(problems)}")
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


def secret(variable: str, whose: str) -> SecretStr:
    """Return what an environment variable holds.

    Args:
        whose: who needs it, for the message.

    Raises:
        ConfigError: the variable is not set; it is named, its value never shown.
    """
    if not (value := os.environ.get(variable)):
        raise ConfigError(f"{whose} needs {variable}, which is not set", f"export {variable}=…")
    return SecretStr(value)


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
    parts = finding["loc"]
    is_tool = len(parts) > 2 and parts[0] == "tools"
    # Of a tool, the third part is its kind, which stands nowhere in the file.
    place = ".".join(str(part) for part in (parts[:2] + parts[3:] if is_tool else parts))
    if finding["type"] == "union_tag_invalid":
        return (
            f"{place}.kind: unknown kind {finding['ctx']['tag']!r}{suggest(finding['ctx']['tag'], tuple(TOOL_KINDS))}"
        )
    if finding["type"] == "union_tag_not_found":
        return f"{place}: a tool needs its kind (known: {', '.join(TOOL_KINDS)})"
    if finding["type"] != "extra_forbidden":
        said = str(finding["msg"]).removeprefix("Value error, ")
        return f"{place}: {said}" if place else said
    model = _tool_model(parts) if is_tool else _model(parts)
    return f"unknown field {place}{suggest(str(parts[-1]), tuple(model.model_fields))}"


def _model(parts: Sequence[Any]) -> type[BaseModel]:
    if "price" in parts[:-1]:
        return Price
    return PoolsFile if len(parts) == 1 else _MODELS.get(str(parts[0]), PoolsFile)


def _tool_model(parts: Sequence[Any]) -> type[BaseModel]:
    """Return the model of which the last part is no field: the tool's, or one within."""
    kind = TOOL_KINDS.get(str(parts[2]), ToolSpec)
    return kind.NESTED.get(str(parts[3]), kind) if len(parts) > 4 else kind


def _unknown_adapters(pools: PoolsFile) -> Iterator[str]:
    tool_pools = {pool for pool in pools.pools if pools.tools_of(pool)}
    for name, endpoint in pools.endpoints.items():
        if endpoint.adapter == TOOLS_ADAPTER and name not in tool_pools:
            yield f"endpoints.{name}.adapter: {TOOLS_ADAPTER!r} is not written: a tool's kind says it (section tools)"
        elif endpoint.adapter not in (*ADAPTERS, TOOLS_ADAPTER):
            known = suggest(endpoint.adapter, tuple(ADAPTERS))
            yield f"endpoints.{name}.adapter: unknown adapter {endpoint.adapter!r}{known}"


def _served_otherwise(pools: PoolsFile) -> Iterator[str]:
    """Yield the pools whose endpoint's adapter cannot do what they serve."""
    for name, pool in pools.pools.items():
        adapter = pools.endpoints[pool.endpoint].adapter
        if pool.serves not in (can := ADAPTERS.get(adapter, (pool.serves,))):
            yield (
                f"pools.{name} serves {pool.serves}, and its endpoint {pool.endpoint!r} has the adapter {adapter!r}, "
                f"which serves {' and '.join(can)}: say `serves: {can[0]}`, or name another endpoint"
            )


def _unusable_schemas(pools: PoolsFile) -> Iterator[str]:
    """Yield the tools whose schema of arguments is none: better here than with the first job."""
    if not pools.tools:
        return
    import jsonschema_rs

    for name, tool in pools.tools.items():
        try:
            check_references(tool.arguments)
            jsonschema_rs.validator_for(
                tool.arguments, retriever=_no_outside, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (ValueError, TooCostly) as error:
            said = " ".join(str(getattr(error, "message", error)).split())
            yield f"tools.{name}.arguments: no JSON Schema: {said[:300]}"


def _no_outside(uri: str) -> Never:
    raise ValueError(f"{uri} lies outside the schema")


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())[:300]
