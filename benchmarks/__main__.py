"""``python -m benchmarks NAME [--quick] [--json]``: tables on standard error, a line of JSON each on standard output.

A benchmark measures Headrace and its peers side by side in one run, since absolute figures of a shared machine mean
little. ``--quick`` leaves out every peer but the bare Kafka loops and ends within two minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    decisions,
    fairness,
    fanout,
    idle,
    jobs,
    latency,
    raw,
    restore,
    scale,
    semantic,
    size,
    slow_calls,
    steps,
    takeover,
)
from benchmarks.report import Report
from headrace.schemas.errors import HeadraceError

BENCHMARKS: dict[str, Callable[[bool], Report]] = {
    "fanout": fanout.run,
    "fanout-http": fanout.run_http,
    "raw": raw.run,
    "latency": latency.run,
    "slow-calls": slow_calls.run,
    "jobs": jobs.run,
    "decisions": decisions.run,
    "steps": steps.run,
    "semantic": semantic.run,
    "idle": idle.run,
    "fairness": fairness.run,
    "scale": scale.run,
    "size": size.run,
    "size-million": size.run_million,
    "restore": restore.run,
    "takeover": takeover.run,
    "takeover-consumer": takeover.run_consumer,
}
ALONE = ("size-million",)
"""What ``all`` leaves out: a quarter of an hour, to be run once."""


def main() -> int:
    """Run one benchmark, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=[*BENCHMARKS, "all"], metavar="NAME", help=", ".join([*BENCHMARKS, "all"]))
    parser.add_argument("--quick", action="store_true", help="against the bare loops alone, within two minutes")
    parser.add_argument("--json", action="store_true", help="no tables: the line of JSON only")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write each benchmark's line to DIR/NAME.json as well")
    given = parser.parse_args()
    console = Console(file=sys.stderr, quiet=given.json)
    failed = 0
    for name in [name for name in BENCHMARKS if name not in ALONE] if given.name == "all" else [given.name]:
        began = time.monotonic()
        console.print(f"[dim]{name} …[/dim]")
        try:
            report = BENCHMARKS[name](given.quick)
        except HeadraceError as error:
            print(f"error: {name}: {error.message}\n{error.hint}", file=sys.stderr)
            failed = failed or error.exit_code
            continue
        console.print(report.table(name), f"[dim]{time.monotonic() - began:.0f} s[/dim]")
        line = report.json_line(name)
        if given.save:
            given.save.mkdir(parents=True, exist_ok=True)
            (given.save / f"{name}.json").write_text(line + "\n", encoding="utf-8")
        print(line, flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
