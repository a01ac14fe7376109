"""The model server: llama.cpp's OpenAI-compatible HTTP server in a process of its own, on the loopback interface only.

``python -m headrace.runtime.local_model --model FILE --alias small --alias large --port 9801``

One process serves one model under any number of names. llama.cpp answers every request, whatever model it names, and
its reply's ``model`` is the first of the names in byte order. So the model's true name is served too, with a capital
first: replies, and with them receipts, say what really answered, also where ``large`` is the small model.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headrace.runtime.model_files import bundled_small_model, resolve_model
from headrace.schemas.errors import ConfigError, DependencyUnavailable, HeadraceError

__all__ = [
    "HOST",
    "ModelServer",
    "base_url",
    "bundled_small_model",
    "command",
    "resolve_model",
    "serve",
    "server_available",
    "served_names",
    "true_name",
    "wait_until_ready",
]

HOST = "127.0.0.1"
"""There is no option for another one: the server has neither keys nor limits."""

_PROMPT_CACHE_MIB = 256
"""llama.cpp would keep up to 8 GiB of old prompts; measured, the process grew to 1 GB within minutes."""

_INSTALL_HINT = "install the extra: `pip install 'headrace[local-models]'`; or point the pools at another endpoint"


@dataclass(frozen=True, slots=True)
class ModelServer:
    """What one server process serves."""

    model: Path
    """The GGUF file."""
    aliases: tuple[str, ...]
    """The names that pools ask for."""
    port: int
    """The TCP port on the loopback interface."""
    parallel: int = 4
    """Requests that run side by side; they share the context and the processor."""
    context: int = 8192
    """Tokens for all slots together: each request has ``context / parallel``."""
    threads: int = 0
    """Threads of the computation; 0 takes the processors that this process may use."""


def base_url(port: int) -> str:
    """Return the address for the pools file."""
    return f"http://{HOST}:{port}/v1"


def true_name(model: Path) -> str:
    """Return the name by which replies say which model answered: the file's stem, its first letter a capital."""
    return model.stem[:1].upper() + model.stem[1:]


def served_names(server: ModelServer) -> list[str]:
    """Return the names that the server knows, the one that stands in its replies first."""
    return sorted({true_name(server.model), *server.aliases})


def command(server: ModelServer) -> list[str]:
    """Return the command line of the server process, for a supervisor."""
    names = [word for alias in server.aliases for word in ("--alias", alias)]
    sizes = ["--port", str(server.port), "--parallel", str(server.parallel), "--context", str(server.context)]
    threads = ["--threads", str(server.threads)] if server.threads else []
    start = [sys.executable, "-m", "headrace.runtime.local_model", "--model", str(server.model)]
    return [*start, *names, *sizes, *threads]


def server_available() -> str | None:
    """Return why the model server cannot run here, or None if it can.

    The import is tried in another process: a wheel built for a processor with more instructions would end this one.
    """
    tried = subprocess.run(
        [sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, check=False, timeout=60
    )
    if tried.returncode == 0:
        return None
    where = f"{sys.platform}, {os.uname().machine}, Python {sys.version_info.major}.{sys.version_info.minor}"
    if "ModuleNotFoundError" in tried.stderr:
        return f"the model server xllamacpp is not installed, or has no wheel for this platform ({where})"
    if tried.returncode < 0:
        return f"the model server xllamacpp does not run on this processor ({where}): signal {-tried.returncode}"
    last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return f"the model server xllamacpp cannot be loaded ({where}): {last}"


def wait_until_ready(url: str, *, timeout_s: float = 60.0, alive: Callable[[], bool] | None = None) -> list[str]:
    """Wait until the server can answer and return the names it serves.

    ``/health`` says ok shortly before the model is usable, so ``data`` of ``/v1/models`` decides.

    Args:
        url: the base URL, with ``/v1``.
        timeout_s: how long to wait.
        alive: says whether the process still runs, so that a dead one is not waited for.

    Raises:
        DependencyUnavailable: it did not become ready, or its process ended.
    """
    deadline = time.monotonic() + timeout_s
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while True:
            if names := _names_at(client, url):
                return names
            if alive is not None and not alive():
                raise DependencyUnavailable(f"the model server at {url} ended at its start", "see its log")
            if time.monotonic() >= deadline:
                raise DependencyUnavailable(
                    f"the model server at {url} is not ready after {timeout_s:g} s", "see its log; is the port right?"
                )
            time.sleep(0.05)


def _names_at(client: httpx.Client, url: str) -> list[str]:
    try:
        data = client.get(f"{url}/models").json().get("data") or []
        return [name for model in data for name in (model.get("aliases") or [model["id"]])]
    except (httpx.HTTPError, ValueError, AttributeError, TypeError, KeyError):
        return []


def serve(server: ModelServer) -> None:
    """Serve until SIGTERM or SIGINT arrives.

    The signals are blocked before llama.cpp starts its threads, which inherit this: otherwise one of them would be
    ended in the middle. The process ends without destructors, for they wait for running requests.

    Raises:
        ConfigError: the port is taken.
        DependencyUnavailable: there is no server for this platform, or it cannot load the model.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _require_free(server.port)
    running = _start(server)
    names = ", ".join(served_names(server))
    print(f"model server: {server.model.name} as {names} at {base_url(server.port)}", file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    print("model server: stopped", file=sys.stderr, flush=True)
    assert running is not None  # The name keeps the server alive up to here.
    os._exit(0)


def _start(server: ModelServer) -> Any:
    try:
        import xllamacpp
    except ImportError:
        raise DependencyUnavailable(server_available() or "the model server cannot be loaded", _INSTALL_HINT) from None
    params = xllamacpp.CommonParams()
    params.model.path = str(server.model)
    params.model_alias = set(served_names(server))
    params.hostnames, params.port = [HOST], server.port
    params.n_ctx, params.n_parallel = server.context, server.parallel
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.endpoint_metrics = True
    params.endpoint_slots = False  # It would show the prompts of others.
    params.ui = False
    threads = server.threads or _processors()
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise DependencyUnavailable(
            f"llama.cpp cannot serve {server.model}: {error}", "is it a complete GGUF file, and is there memory for it?"
        ) from None


def _processors() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 16)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on {HOST} cannot be used: {error.strerror}", "choose another with --port"
            ) from None


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m headrace.runtime.local_model", description="Serve one model.")
    parser.add_argument("--model", help="GGUF file or URL; the bundled small model where it is left out")
    parser.add_argument("--sha256", help="checksum of the model; required with a URL")
    parser.add_argument("--alias", action="append", help="name that pools ask for; repeatable (default: small)")
    parser.add_argument("--port", type=int, default=9801)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server process and return its exit code."""
    chosen = _parsed(arguments)
    try:
        model = resolve_model(chosen.model, chosen.sha256) if chosen.model else bundled_small_model()
        aliases = tuple(chosen.alias or ["small"])
        serve(ModelServer(model, aliases, chosen.port, chosen.parallel, chosen.context, chosen.threads))
    except HeadraceError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
