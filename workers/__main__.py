"""``python -m headrace.workers POOL [--concurrency N]``: one worker process.

Exit codes: 0 drained, 1 failure, 2 wrong settings or usage, 3 Kafka or topics not there, 143 forced by a second signal.
"""

from __future__ import annotations

import argparse
import sys

import headrace.runtime.structlog_alone  # noqa: F401

# isort: split
from headrace.runtime.garbage import collect_rarely
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.telemetry import configure_logging
from headrace.schemas.errors import HeadraceError
from headrace.workers.service import run_worker
from headrace.workers.settings import plan_worker


def run(pool: str, settings: Settings, concurrency: int | None = None) -> int:
    """Run one worker until it is told to stop; return the exit code. Errors end as one line, without a traceback."""
    configure_logging(settings)
    collect_rarely()
    try:
        return run_worker(plan_worker(pool, settings, concurrency), settings)
    except HeadraceError as error:
        return _say(error)


def main(argv: list[str] | None = None) -> int:
    """Read the command line and the settings, then `run`."""
    parser = argparse.ArgumentParser(prog="headrace.workers", description=__doc__)
    parser.add_argument("pool", help="a pool of the pools file")
    parser.add_argument("--concurrency", type=int, help="most calls side by side; default: the pools file's")
    options = parser.parse_args(argv)
    try:
        settings = load_settings()
    except HeadraceError as error:
        return _say(error)
    return run(options.pool, settings, options.concurrency)


def _say(error: HeadraceError) -> int:
    print(f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
