"""``python -m benchmarks NAME [--quick]``: a table on standard error, one line of JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import fanout, items, latency, records, restore, takeover
from headrace.schemas.errors import HeadraceError

BENCHMARKS = {
    "fanout": fanout.run,
    "fanout-http": fanout.run_http,
    "items": items.run,
    "latency": latency.run,
    "records": records.run,
    "restore": restore.run,
}


def main() -> int:
    """Run one benchmark, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "takeover", "all"])
    parser.add_argument("--quick", action="store_true", help="fewer tasks and runs")
    parser.add_argument(
        "--protocol", choices=["classic", "consumer"], default="classic", help="takeover: of the groups"
    )
    given = parser.parse_args()
    names = [*BENCHMARKS, "takeover"] if given.name == "all" else [given.name]
    for name in names:
        try:
            figures = takeover.run(given.quick, given.protocol) if name == "takeover" else BENCHMARKS[name](given.quick)
        except HeadraceError as error:
            print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
            return error.exit_code
        table = Table("case", "figure", "value", title=name)
        for case, values in figures.items():
            for figure, value in values.items():
                table.add_row(case, figure, f"{value:,}")
        Console(file=sys.stderr).print(table)
        print(json.dumps({"benchmark": name, "figures": figures}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
