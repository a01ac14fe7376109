"""``python -m headrace.workers.adapters.faulty --port N --script FILE.yaml``: the scripted provider as a process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.faulty.provider import ScriptedProvider
from headrace.workers.adapters.faulty.recorded import read_recordings
from headrace.workers.adapters.faulty.script import Script, parse_script
from headrace.workers.adapters.faulty.server import serve


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="headrace.workers.adapters.faulty", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses; the address is printed")
    parser.add_argument("--script", type=Path, help="YAML; without it every call is echoed at once")
    parser.add_argument(
        "--recorded", type=Path, help="JSON Lines (.gz) of real models' answers, in place of the script's"
    )
    parser.add_argument("--keep-bodies", action="store_true", help="keep request bodies in GET /log")
    options = parser.parse_args(argv)
    try:
        script = _read(options.script)
        recorded = read_recordings(options.recorded) if options.recorded else None
        provider = ScriptedProvider(script, now_s=time.monotonic, keep_bodies=options.keep_bodies, recorded=recorded)
        asyncio.run(_serve(provider, options.host, options.port))
    except ConfigError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _read(path: Path | None) -> Script:
    if path is None:
        return Script()
    try:
        return parse_script(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"script {path} cannot be read: {error.strerror}") from None


async def _serve(provider: ScriptedProvider, host: str, port: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serve(provider, host=host, port=port, ready=lambda at: print(f"http://{host}:{at}/v1", flush=True))


if __name__ == "__main__":
    sys.exit(main())
