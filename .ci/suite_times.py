"""Prints how long each suite of a run took, by pytest's JUnit report. Called by `.ci/run` after the tests.

The processes share the tests, so a suite's share of the wall clock is the sum of its tests over the processes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from xml.etree import ElementTree

SUITES = {"unit": "unit, property", "property": "unit, property", "golden": "unit, property"}
"""Suites that share a bar, by folder of `tests`; any other folder is a suite of its own."""


def suite_of(classname: str) -> str:
    """Return the suite of a test, by the dotted name of its file."""
    parts = classname.split(".")
    folder = parts[1] if len(parts) > 2 else "unit"
    return SUITES.get(folder, folder)


def main(report: str, processes: int) -> None:
    seconds: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  We wrote it ourselves a moment ago.
        suite = suite_of(case.get("classname", ""))
        seconds[suite] += float(case.get("time", 0))
        count[suite] += 1
    for suite, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {suite:<16} {spent / processes:5.0f} s  {count[suite]:5d} tests")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
