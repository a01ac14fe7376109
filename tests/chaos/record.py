"""The text of docs/reliability-record.md: what was done to the engine, what came of it, how to do it again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tests.chaos.evidence import Evidence
from tests.chaos.judge import Verdict, judge
from tests.chaos.plan import Act

Column = tuple[Evidence, Verdict]

SHOWN_S = 2.0
"""Shorter stalls are not listed."""

HEAD = """# Reliability record

Written by `make chaos`; not edited by hand. Real processes on a real Apache Kafka of three brokers are killed (`kill
-9`), paused (SIGSTOP past the session timeout, then SIGCONT), restarted one after the other and scaled out and in, at
moments drawn from the seed, under load all the time. Then every outcome, every dead letter, every receipt and every
call at the scripted provider is judged. How: [tests/chaos](../tests/chaos/__init__.py).
"""

MEANING = """## What the words mean

- **lost**: jobs that Kafka acknowledged and that have no outcome. **double outcomes**: jobs with two different
  `ce_id`, or two first outcomes.
- **duplicate calls**: calls at the provider minus distinct (task, attempt). **calls too many**: those, and good
  answers to a task that had one already; by what was to blame: *kill* and *pause* of the worker, *stop* in a rolling
  restart, *scale* out or in. The bound is the number of calls in flight when workers were killed or paused. Calls
  here are shorter than the drain timeout.
- **stall**: a time in which a partition of `jobs`, or of a pool's task topic, ended none of its probes (one a second
  for each partition, answered through the whole engine) while one waited. Bar: session timeout + 5 s = 11 s; where a
  broker was killed or paused, broker session timeout + 10 s = 13 s (and one session more where a member was hurt with
  it); where the only member of its role was killed, 5 s after it was started again and ready, if that is later.
- **longest wait** of a probe counts queues too; it has no bar.
- **late tick**: how long a thread that only sleeps 50 ms was kept waiting. Together with the load average it tells a
  stall of the engine from a machine that is busy with other things.
"""


def record(runs: Sequence[Evidence]) -> str:
    """Return the page.

    Args:
        runs: one a column.
    """
    columns = [(run, judge(run)) for run in runs]
    parts = [HEAD, _table(columns), *(_stalls(each) for each in columns), *(_findings(each) for each in columns)]
    parts += [MEANING, _again(runs)]
    return "\n".join(parts)


def _table(columns: Sequence[Column]) -> str:
    rows: list[tuple[str, Callable[[Evidence, Verdict], object]]] = [
        ("date (UTC)", lambda seen, _: seen.run.date),
        ("Headrace, Kafka, brokers", lambda seen, _: f"{seen.run.version}, {seen.run.kafka}, {seen.run.brokers}"),
        ("seed, seconds under load", lambda seen, _: f"{seen.run.seed}, {seen.run.seconds:g}"),
        ("kills: orchestrators, workers, brokers", lambda seen, _: _hurt(seen, Act.KILL)),
        ("pauses: orchestrators, workers, brokers", lambda seen, _: _hurt(seen, Act.PAUSE)),
        ("restarts in rolling restarts: orchestrators, workers", lambda seen, _: _hurt(seen, Act.ROLL, brokers=False)),
        ("scaled to (workers of the pool that is paid)", lambda seen, _: _scaled(seen)),
        ("jobs accepted", lambda _, found: found.jobs),
        ("tasks", lambda _, found: found.tasks),
        ("calls at the provider", lambda _, found: found.calls),
        ("**lost**", lambda _, found: f"**{found.lost}**"),
        ("**double outcomes**", lambda _, found: f"**{found.doubled}**"),
        ("**duplicate calls**", lambda _, found: f"**{found.repeated_keys}**"),
        ("calls too many: kill, pause, stop, scale, other", lambda _, found: _by_cause(found)),
        ("bound: calls in flight at kills and pauses", lambda _, found: found.in_flight),
        ("**longest stall**", lambda _, found: f"**{found.stall.seconds:.1f} s**" if found.stall else "none"),
        ("longest wait of a probe", lambda _, found: f"{found.longest_wait_s:.1f} s"),
        ("all over after the end of the load", lambda _, found: f"{found.settled_s:.0f} s"),
        ("cores, load average (mean, most)", lambda _, found: _machine(found)),
        ("longest late tick, slowest acknowledgement", lambda _, found: _late(found)),
        ("findings", lambda _, found: len(found.violations)),
    ]
    lines = [_row("", *(seen.run.protocol for seen, _ in columns)), _row(*["---"] * (len(columns) + 1))]
    lines += [_row(name, *(cell(seen, found) for seen, found in columns)) for name, cell in rows]
    return "\n".join(lines) + "\n"


def _stalls(column: Column) -> str:
    seen, found = column
    lines = [
        f"## Longest stall by what went on, {seen.run.protocol}\n",
        _row("meanwhile", f"seconds ({SHOWN_S:g} and more)"),
        _row("---", "---"),
    ]
    lines += [_row(cause, f"{seconds:.1f}") for cause, seconds in found.stalls_by_fault.items() if seconds >= SHOWN_S]
    return "\n".join(lines) + "\n"


def _findings(column: Column) -> str:
    seen, found = column
    lines = [f"## Findings, {seen.run.protocol}\n"]
    lines += [f"- {line}" for line in found.violations] or ["None: every bar was kept."]
    return "\n".join(lines) + "\n"


def _again(runs: Sequence[Evidence]) -> str:
    lines = ["## Again\n", "```"]
    for run in (each.run for each in runs):
        lines.append(f"python -m tests.chaos --seed {run.seed} --seconds {run.seconds:g} --protocol {run.protocol}")
    return "\n".join([*lines, "```", ""])


def _hurt(seen: Evidence, act: Act, *, brokers: bool = True) -> str:
    kinds = [("orchestrator",), ("http", "noop"), *([("broker",)] if brokers else [])]
    faults = [done.fault for done in seen.done if done.fault.act is act]
    return ", ".join(str(sum(len(each.members) for each in faults if each.role in roles)) for roles in kinds)


def _scaled(seen: Evidence) -> str:
    counts = [done.fault.count for done in seen.done if done.fault.act is Act.SCALE and done.fault.role == "http"]
    return " → ".join(map(str, [1, *counts]))


def _by_cause(found: Verdict) -> str:
    named = ("kill", "pause", "roll", "scale")
    other = sum(count for cause, count in found.duplicates.items() if cause not in named)
    return ", ".join(map(str, [*(found.duplicates.get(cause, 0) for cause in named), other]))


def _machine(found: Verdict) -> str:
    machine = found.machine
    return f"{machine.cores}, {machine.load_mean:.1f}, {machine.load_max:.1f}"


def _late(found: Verdict) -> str:
    return f"{found.machine.longest_tick_s:.1f} s, {found.slowest_ack_s:.1f} s"


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, _escaped(cells)))} |"


def _escaped(cells: Iterable[object]) -> Iterable[str]:
    return (str(cell).replace("|", "\\|") for cell in cells)
