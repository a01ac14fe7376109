"""The rules of docs/architecture.md ("Who may import whom"), proved from the source by `ast`.

Nothing is imported here, so a rule is checked even where a dependency is missing. `test_the_checker_can_fail` feeds
the same checker bad snippets: a rule that cannot be broken proves nothing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("schemas", "runtime", "orchestrator", "workers", "console", "examples")
MAX_LINES = 400
LONGER: dict[str, int] = {}


@dataclass(frozen=True)
class Layer:
    """Who lives here, and what of ours it may import."""

    prefix: str
    """Modules under this belong to the layer; the longest prefix wins."""
    may_import: tuple[str, ...]
    """Prefixes of our own modules."""
    instead: str
    """What to do in place of a forbidden import."""


LAYERS = (
    Layer("schemas", ("schemas",), "the contract stands alone: move what you need into schemas/"),
    Layer("runtime", ("runtime", "schemas"), "pass the value or a callback in; runtime knows no service"),
    Layer("orchestrator", ("orchestrator", "runtime", "schemas"), "send a message over Kafka; workers are no library"),
    Layer(
        "orchestrator.core",
        ("orchestrator.core", "schemas"),
        "return an effect, or take a value as an argument: the shell acts, the core decides",
    ),
    Layer("workers", ("workers", "runtime", "schemas"), "send a message over Kafka; the orchestrator is no library"),
    Layer("workers.core", ("workers.core", "schemas"), "take the value as an argument: workers/shell has the I/O"),
    Layer(
        "workers.adapters",
        ("workers.adapters", "workers.http", "schemas"),
        "an adapter sees schemas, adapters/base.py and workers/http.py; the rest comes in AdapterConfig",
    ),
    Layer(
        "workers.tools",
        ("workers.tools", "workers.adapters", "workers.core", "workers.http", "runtime.metrics", "schemas"),
        "a tool sees schemas, tools/base.py, workers/core and workers/http.py; the rest comes in ToolConfig",
    ),
    Layer(
        "console",
        ("console", "runtime", "schemas", "orchestrator.core"),
        "start services as processes (python -m headrace.orchestrator, python -m headrace.workers)",
    ),
    Layer("console.commands.examples", ("console", "examples", "runtime", "schemas"), "other commands need no example"),
    Layer(
        "examples",
        ("examples", "console", "runtime", "schemas"),
        "an example uses Headrace as everybody does: through its client, its topics and its processes",
    ),
)

PURE = ("orchestrator.core", "workers.core")
IMPURE_MODULES = {
    "confluent_kafka": "return an effect; the shell produces",
    "httpx": "return a task; a worker's adapter calls",
    "requests": "return a task; a worker's adapter calls",
    "asyncio": "stay synchronous; the shell schedules",
    "threading": "stay synchronous; the shell schedules",
    "time": "take now_ms as an argument",
    "random": "take the draw as an argument, as retry.backoff_ms takes jitter",
    "uuid": "derive ids with schemas.ids",
    "secrets": "derive ids with schemas.ids",
    "os": "take the value as an argument; runtime.settings reads the environment",
    "socket": "leave the network to the shell",
    "logging": "return an EmitEvent or Ignore effect; the shell logs it",
    "structlog": "return an EmitEvent or Ignore effect; the shell logs it",
}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
HTTP_LIBRARIES = {"httpx", "httpx2", "requests", "aiohttp", "httpx_aiohttp"}
HTTP_MODULE = "workers.http"
HEADERS_MODULE = "runtime.kafka"

_KINDS = "jobs|tasks|results|state|outcomes|events|control|attempts|dead-letters"
WHOLE_TOPIC = re.compile(rf"headrace\.(?:{_KINDS})(?:\.|$)")
TOPIC_SUFFIX = re.compile(rf"\.(?:{_KINDS})(?:\.|$)")


def check_source(module: str, source: str) -> list[str]:
    """Return what is wrong with a module of ours.

    Args:
        module: its dotted name below ``headrace``, such as ``orchestrator.core.machine``.
        source: its text.
    """
    tree = ast.parse(source)
    found = [*_imports(module, tree), *_topics(module, tree), *_headers(module, tree)]
    if module.startswith(PURE):
        found += _clocks(module, tree)
    return found


def _layer(module: str) -> Layer:
    return max((layer for layer in LAYERS if _below(module, layer.prefix)), key=lambda layer: len(layer.prefix))


def _below(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def _imported(tree: ast.Module) -> Iterator[tuple[int, str, int]]:
    """Yield the line, the dotted name and the level of every import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module or ''}.{alias.name}", node.level
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named = (part.value for part in node.args[:1] if isinstance(part, ast.Constant))
            yield from ((node.lineno, name, 0) for name in named if isinstance(name, str))


def _imports(module: str, tree: ast.Module) -> Iterator[str]:
    layer, pure = _layer(module), module.startswith(PURE)
    for line, name, level in _imported(tree):
        place, top = f"{module}:{line}", name.split(".")[0]
        if level:
            yield f"{place}: relative import; write `from headrace.…` in full"
        elif top == "headrace":
            ours = name.removeprefix("headrace.")
            folder = ours.split(".")[0]
            if folder in FOLDERS and not any(_below(ours, allowed) for allowed in layer.may_import):
                yield f"{place}: {layer.prefix} must not import {ours}; instead {layer.instead}"
        elif pure and top in IMPURE_MODULES:
            yield f"{place}: the core must not import {top}; instead {IMPURE_MODULES[top]}"
        elif top in HTTP_LIBRARIES and module != HTTP_MODULE and _below(module, "workers"):
            yield f"{place}: only workers/http.py imports {top}; instead use headrace.workers.http"
        elif _below(module, "schemas") and top not in sys.stdlib_module_names and top != "pydantic":
            yield f"{place}: schemas imports the standard library and pydantic only, not {top}"


def _clocks(module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            called = ".".join(ast.unparse(node).split(".")[-2:])
            if called in CLOCKS:
                yield f"{module}:{node.lineno}: the core must not read the clock ({called}); instead take now_ms"


def _headers(module: str, tree: ast.Module) -> Iterator[str]:
    """Reading a message's headers raises SystemError where a name is not UTF-8: one function catches that."""
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "headers"
        if called and not (node.args or node.keywords) and module != HEADERS_MODULE:
            yield f"{module}:{node.lineno}: headers of a message are read here; instead use runtime.kafka.headers_of"


def _topics(module: str, tree: ast.Module) -> Iterator[str]:
    if module == "schemas.topics":
        return
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    loggers = {id(part) for call in calls if ast.unparse(call.func).endswith("get_logger") for part in call.args}
    for node in ast.walk(tree):
        if id(node) in loggers:
            continue
        whole = isinstance(node, ast.Constant) and isinstance(node.value, str) and WHOLE_TOPIC.match(node.value)
        if whole or (isinstance(node, ast.JoinedStr | ast.BinOp) and _glued(node)):
            yield f"{module}:{node.lineno}: a topic is spelled here; instead use headrace.schemas.topics.Topics"


def _glued(node: ast.JoinedStr | ast.BinOp) -> bool:
    """Whether a prefix is joined to a topic's name: f"{prefix}.jobs", or prefix + ".jobs"."""
    if isinstance(node, ast.BinOp):
        parts: list[ast.expr] = [node.left, node.right] if isinstance(node.op, ast.Add) else []
    else:
        parts = list(node.values)
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, str) and TOPIC_SUFFIX.match(part.value)
        for part in parts[1:]
    )


def sources() -> list[Path]:
    """Return every Python file of the product."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """Return ``orchestrator.core.machine`` for ``orchestrator/core/machine.py``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_imports_only_what_its_layer_may() -> None:
    found = [line for path in sources() for line in check_source(module_name(path), path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    files = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = [f"{name}: {count} lines" for name, count in lines.items() if count > LONGER.get(name, MAX_LINES)]
    assert not long, f"above {MAX_LINES} lines, split by noun (docs/architecture.md, file map): {'; '.join(long)}"


def test_the_sources_are_found() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in sources()} == set(FOLDERS)


@pytest.mark.parametrize(
    ("module", "snippet", "says"),
    [
        ("orchestrator.core.bad", "import time", "take now_ms"),
        ("orchestrator.core.bad", "def f():\n    from random import random", "take the draw"),
        ("orchestrator.core.bad", "from datetime import datetime\nat = datetime.now()", "take now_ms"),
        ("orchestrator.core.bad", "import datetime\nat = datetime.datetime.utcnow()", "take now_ms"),
        ("orchestrator.core.bad", "from headrace.runtime.kafka import common_config", "return an effect"),
        ("orchestrator.core.bad", "import importlib\nimportlib.import_module('os')", "runtime.settings"),
        ("workers.core.bad", "import asyncio", "the shell schedules"),
        ("orchestrator.shell.bad", "from headrace.workers.core import offsets", "over Kafka"),
        ("workers.shell.bad", "from headrace import orchestrator", "over Kafka"),
        ("workers.adapters.bad", "from headrace.workers.shell.pool import WorkPool", "AdapterConfig"),
        ("workers.adapters.bad", "import httpx", "workers/http.py"),
        ("workers.tools.bad", "from headrace.workers.shell.pool import WorkPool", "ToolConfig"),
        ("runtime.bad", "import headrace.workers.service", "knows no service"),
        ("schemas.bad", "import httpx", "pydantic only"),
        ("schemas.bad", "from headrace.runtime.settings import Settings", "stands alone"),
        ("console.bad", "from headrace.workers.service import run_worker", "as processes"),
        ("console.bad", "from headrace.orchestrator.shell import loop", "as processes"),
        ("console.bad", "from ..workers import service", "relative import"),
        ("runtime.bad", "headers = message.headers()", "runtime.kafka.headers_of"),
        ("runtime.bad", 'topic = f"{prefix}.jobs"', "schemas.topics"),
        ("runtime.bad", 'topic = prefix + ".dead-letters"', "schemas.topics"),
        ("runtime.bad", 'topic = "headrace.tasks.small.batch"', "schemas.topics"),
    ],
)
def test_the_checker_can_fail(module: str, snippet: str, says: str) -> None:
    found = check_source(module, snippet)
    assert len(found) == 1
    assert says in found[0]


@pytest.mark.parametrize(
    ("module", "snippet"),
    [
        ("orchestrator.core.good", "from datetime import datetime\nat = datetime.fromtimestamp(1)"),
        ("orchestrator.shell.good", "import time\nfrom headrace.runtime.kafka import common_config"),
        ("console.good", "from headrace.orchestrator.core.graph import compile_workflow"),
        ("workers.adapters.good", "from headrace.workers.http import HttpClient"),
        ("workers.shell.good", 'log = structlog.get_logger("headrace.control")'),
        ("schemas.topics", 'jobs = f"{prefix}.jobs"'),
    ],
)
def test_the_checker_lets_good_code_pass(module: str, snippet: str) -> None:
    assert check_source(module, snippet) == []
