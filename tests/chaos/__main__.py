"""``python -m tests.chaos [--seconds S] [--seed N] [--protocol P] [--json]``: exit 1 on any finding."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.load import Pace
from tests.chaos.plan import Shape
from tests.chaos.run import Options, run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long jobs are submitted")
    parser.add_argument("--seed", type=int, help="which faults and jobs; a random one where left out")
    parser.add_argument("--protocol", choices=["classic", "consumer"], default="classic")
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=3)
    parser.add_argument("--rate", type=float, default=Pace().jobs_per_s, help="jobs a second, probes apart")
    parser.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    parser.add_argument("--keep-logs", type=Path, help="a folder for the logs; kept in any case where something failed")
    given = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    options = Options(given.seconds, seed, given.protocol, Shape(given.brokers), Pace(given.rate))
    verdict, evidence = run(options, folder, lambda line: print(line, file=sys.stderr, flush=True))
    for line in verdict.violations:
        print(f"violation: {line}", file=sys.stderr)
    print(verdict, file=sys.stderr)
    print([e for e in evidence.exits if not e.asked], file=sys.stderr)
    print(folder, file=sys.stderr)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
