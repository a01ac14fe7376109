"""``python -m tests.simulation --seed S``: run worlds from their seeds; exit 1 where a judge saw a broken promise."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from multiprocessing import Pool

from tests.simulation.faults import Switches, draw_switches, only
from tests.simulation.run import JOBS, Verdict, run_seed
from tests.simulation.world import World

PROBLEMS_SHOWN = 12
CHUNK = 8
CHUNKS_OF_A_CHILD = 25
"""A process ends after so many chunks, so that no leak matters."""


def main(argv: list[str] | None = None) -> int:
    """Read the command line, run, and report."""
    names = [each.name for each in fields(Switches)]
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one world")
    parser.add_argument("--seeds", type=_range, metavar="A..B", help="many worlds, both ends included")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"jobs of a world (default {JOBS})")
    parser.add_argument("--processes", type=int, default=1, help="how many worlds run side by side")
    parser.add_argument("--faults", type=_names(names), help=f"these in place of the seed's own: {', '.join(names)}")
    parser.add_argument("--without", type=_names(names), default=(), help="the seed's own faults without these")
    parser.add_argument("--trace", action="store_true", help="print every step of one world")
    options = parser.parse_args(argv)
    if options.seed is None and options.seeds is None:
        parser.error("name a --seed, or --seeds A..B")
    began = time.perf_counter()
    failed = 0
    for count, verdict in enumerate(_verdicts(options), 1):
        failed += bool(verdict.problems)
        if verdict.problems or options.seed is not None:
            print(tell(verdict, jobs=options.jobs), flush=True)
        elif count % 100 == 0:
            print(f"{count} seeds, {failed} failed, {time.perf_counter() - began:.0f} s", flush=True)
    if options.seeds is not None:
        seconds = time.perf_counter() - began
        print(f"{len(options.seeds)} seeds in {seconds:.0f} s, {failed} failed")
    return 1 if failed else 0


def tell(verdict: Verdict, *, jobs: int = JOBS) -> str:
    """Return what there is to say about a run, with the command that repeats it."""
    faults = ",".join(verdict.switches.on()) or "none"
    figures = ", ".join(f"{name} {value:g}" for name, value in verdict.figures.items())
    lines = [
        f"seed {verdict.seed}: {'FAILED' if verdict.problems else 'passed'} (faults: {faults}; {figures}; "
        f"digest {verdict.digest:016x})"
    ]
    lines += [f"  {problem}" for problem in verdict.problems[:PROBLEMS_SHOWN]]
    if len(verdict.problems) > PROBLEMS_SHOWN:
        lines.append(f"  and {len(verdict.problems) - PROBLEMS_SHOWN} more")
    if verdict.problems:
        lines.append(
            f"  again: python -m tests.simulation --seed {verdict.seed} --jobs {jobs} --faults {faults} --trace"
        )
    return "\n".join(lines)


def _verdicts(options: argparse.Namespace) -> Iterator[Verdict]:
    if options.seed is not None:
        yield run_one(options.seed, options.jobs, options.faults, options.without, print if options.trace else None)
        return
    with Pool(options.processes, maxtasksperchild=CHUNKS_OF_A_CHILD) as pool:
        work = ((seed, options.jobs, options.faults, options.without) for seed in options.seeds)
        yield from pool.imap(_run_tuple, work, chunksize=CHUNK)


def _run_tuple(work: tuple[int, int, tuple[str, ...] | None, tuple[str, ...]]) -> Verdict:
    return run_one(*work)


def run_one(
    seed: int,
    jobs: int,
    faults: tuple[str, ...] | None,
    without: tuple[str, ...] = (),
    trace: Callable[[str], None] | None = None,
) -> Verdict:
    """Run a seed with its own faults, with others, or without some of them."""
    switches = None if faults is None else only(*faults)
    if without:
        switches = replace(switches or draw_switches(World(seed)), **dict.fromkeys(without, False))
    return run_seed(seed, jobs=jobs, switches=switches, trace=trace)


def _range(text: str) -> range:
    first, dots, last = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError("write A..B")
    return range(int(first), int(last) + 1)


def _names(known: list[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        names = tuple(name for name in text.split(",") if name not in ("", "none"))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return names

    return read


if __name__ == "__main__":
    sys.exit(main())
