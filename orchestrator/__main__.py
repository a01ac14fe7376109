"""``python -m headrace.orchestrator [--slot NAME] [--workflows DIR…]``: one orchestrator process.

Exit codes: 0 stopped, 1 failure, 2 wrong settings, pools file or workflows, 3 Kafka or topics not there, 143 forced by
a second signal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import headrace.runtime.structlog_alone  # noqa: F401

# isort: split
import structlog

from headrace.orchestrator.service import run_orchestrator
from headrace.runtime.garbage import collect_rarely
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.telemetry import configure_logging
from headrace.schemas.errors import HeadraceError

log = structlog.get_logger("headrace.orchestrator")


def run(settings: Settings) -> int:
    """Run one orchestrator until it is told to stop; return the exit code. Errors end as a message, no traceback."""
    configure_logging(settings)
    collect_rarely()
    try:
        return run_orchestrator(settings)
    except HeadraceError as error:
        return _say(error)
    except Exception as error:
        # Our own bug: the log has the traceback, the terminal one sentence.
        log.exception("orchestrator.failed")
        return _say(HeadraceError(f"{type(error).__name__}: {error}", "the log has the details; please report it"))


def main(argv: list[str] | None = None) -> int:
    """Read the command line and the settings, then `run`."""
    parser = argparse.ArgumentParser(prog="headrace.orchestrator", description=__doc__)
    parser.add_argument("--slot", help="names this instance; default: derived from the host, never random")
    parser.add_argument("--workflows", type=Path, nargs="+", help="folders or files of workflows")
    options = parser.parse_args(argv)
    try:
        return run(_with_flags(load_settings(), options))
    except HeadraceError as error:
        return _say(error)


def _with_flags(settings: Settings, options: argparse.Namespace) -> Settings:
    flags: dict[str, Any] = {}
    if options.slot is not None:
        flags["slot"] = options.slot
    if options.workflows is not None:
        flags["workflows"] = tuple(options.workflows)
    if not flags:
        return settings
    return load_settings(orchestrator={**settings.orchestrator.model_dump(exclude_unset=True), **flags})


def _say(error: HeadraceError) -> int:
    print(f"error: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
