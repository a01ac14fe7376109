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
from tests.chaos.run import Options, run

EVIDENCE = TypeAdapter(Evidence)


def main(argv: list[str] | None = None) -> int:
    """Run, or judge the evidence of an earlier run once more."""
    given = _arguments(argv)
    if given.judge is not None:
        return _tell(judge(EVIDENCE.validate_json(given.judge.read_bytes())), as_json=given.json)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    options = Options(given.seconds, seed, given.protocol, Shape(given.brokers), Pace(given.rate), given.calm)
    verdict, evidence = run(options, folder, _say)
    (folder / "logs" / "evidence.json").write_bytes(EVIDENCE.dump_json(evidence))
    code = _tell(verdict, as_json=given.json)
    if given.keep_logs is not None or code:
        kept = given.keep_logs or folder.with_name(f"{folder.name}-logs")
        shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
        _say(f"logs and evidence: {kept}; again: python -m tests.chaos --seed {seed} --seconds {given.seconds:g}")
    shutil.rmtree(folder)
    return code


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long jobs are submitted")
    parser.add_argument("--seed", type=int, help="which faults and jobs; a random one where left out")
    parser.add_argument("--protocol", choices=["classic", "consumer"], default="classic")
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=3)
    parser.add_argument("--rate", type=float, default=Pace().jobs_per_s, help="jobs a second, probes apart")
    parser.add_argument("--calm", action="store_true", help="no faults: what the load alone does to this machine")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parser.add_argument("--keep-logs", type=Path, help="a folder for the logs; kept in any case where something failed")
    parser.add_argument("--judge", type=Path, help="evidence of an earlier run: judge it once more, and run nothing")
    return parser.parse_args(argv)


def _tell(verdict: Verdict, *, as_json: bool) -> int:
    for line in verdict.violations:
        _say(f"violation: {line}")
    figures = asdict(verdict)
    if as_json:
        print(json.dumps(figures), flush=True)
    for name, value in figures.items():
        if name != "violations":
            _say(f"{name:>16}  {value}")
    return 1 if verdict.violations else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
