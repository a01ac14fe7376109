"""``python -m tests.chaos [--seconds S] [--seed N] [--protocol P] [--json]``: exit 1 on any finding."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from tests.chaos.evidence import Evidence
from tests.chaos.judge import Verdict, judge
from tests.chaos.load import Pace
from tests.chaos.plan import Shape
from tests.chaos.record import record
from tests.chaos.run import Options, run

EVIDENCE = TypeAdapter(Evidence)
PROTOCOLS = {"classic": ["classic"], "consumer": ["consumer"], "both": ["classic", "consumer"]}


def main(argv: list[str] | None = None) -> int:
    """Run, or judge the evidence of earlier runs once more; write the record."""
    given = _arguments(argv)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    if given.judge:
        runs = [EVIDENCE.validate_json(path.read_bytes()) for path in given.judge]
    else:
        runs = [_run(given, seed, protocol) for protocol in PROTOCOLS[given.protocol]]
    verdicts = [judge(seen) for seen in runs]
    for verdict in verdicts:
        _tell(verdict, as_json=given.json)
    if given.record is not None:
        given.record.write_text(record(runs), encoding="utf-8")
        _say(f"written: {given.record}")
    return int(any(verdict.violations for verdict in verdicts))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long jobs are submitted")
    parser.add_argument("--seed", type=int, help="which faults and jobs; a random one where left out")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="classic", help="both: one run after the other")
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=3)
    parser.add_argument("--rate", type=float, default=Pace().jobs_per_s, help="jobs a second, probes apart")
    parser.add_argument("--calm", action="store_true", help="no faults: what the load alone does to this machine")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each run on standard output")
    parser.add_argument("--keep-logs", type=Path, help="a folder for the logs; kept in any case where something failed")
    parser.add_argument("--judge", type=Path, nargs="+", help="evidence of earlier runs: judge it again, run nothing")
    parser.add_argument("--record", type=Path, help="the page to write: docs/reliability-record.md")
    return parser.parse_args(argv)


def _run(given: argparse.Namespace, seed: int, protocol: str) -> Evidence:
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    kept = (given.keep_logs or folder.with_name(f"{folder.name}-logs")) / protocol
    options = Options(given.seconds, seed, protocol, Shape(given.brokers), Pace(given.rate), given.calm)
    evidence = None
    try:
        evidence = run(options, folder, _say)
        (folder / "logs" / "evidence.json").write_bytes(EVIDENCE.dump_json(evidence))
        return evidence
    finally:
        if given.keep_logs is not None or evidence is None or judge(evidence).violations:
            shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
            _say(f"logs and evidence: {kept}")
        shutil.rmtree(folder)


def _tell(verdict: Verdict, *, as_json: bool) -> None:
    for line in verdict.violations:
        _say(f"violation: {line}")
    figures = asdict(verdict)
    if as_json:
        print(json.dumps(figures), flush=True)
    for name, value in figures.items():
        if name != "violations":
            _say(f"{name:>16}  {value}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
