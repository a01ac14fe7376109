"""How often the broker told a transaction to wait for the one before: CONCURRENT_TRANSACTIONS, and what was asked.

librdkafka repeats such a request by itself and counts nothing; the broker counts every answer. It is asked over JMX
(`BrokerCounts.java`), between the timed runs only.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from headrace.runtime.java import find_java

SOURCE = Path(__file__).with_name("BrokerCounts.java")
FLAGS = ("-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the broker counted since its start, or between two looks."""

    concurrent: int = 0
    """Answers CONCURRENT_TRANSACTIONS, one for each partition that a refused request named, as Kafka counts errors."""
    requests: int = 0
    """Requests AddPartitionsToTxn, repetitions included: those are what is refused."""
    ended: int = 0
    """Requests EndTxn: transactions."""

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.concurrent - other.concurrent, self.requests - other.requests, self.ended - other.ended)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.concurrent + other.concurrent, self.requests + other.requests, self.ended + other.ended)


class BrokerCounts:
    """Asks one broker of this machine. A context manager.

    Args:
        pid: of its JVM; None where the broker is not ours to ask.
    """

    def __init__(self, pid: int | None) -> None:
        self._reader: subprocess.Popen[str] | None = None
        self.missing = "" if pid else "not counted: the broker is none that this benchmark started"
        """Why nothing is counted, if so."""
        java = find_java().java
        if pid and java:
            command = [str(java.executable), *FLAGS, str(SOURCE), str(pid)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self._reader = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
            self.read()  # The compiler runs now, and not beside the first run.

    def read(self) -> Counts:
        """Return what the broker counted by now; zeros where nothing is counted."""
        if self._reader is None:
            return Counts()
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        try:
            self._reader.stdin.write("\n")
            self._reader.stdin.flush()
            line = self._reader.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:  # Reading it takes a JDK: a JRE has no compiler.
            self._reader.kill()
            _, said = self._reader.communicate()
            self._reader = None
            self.missing = f"not counted: {(said.strip().splitlines() or ['Java ended'])[0]}"
            return Counts()
        return Counts(**json.loads(line))

    def close(self) -> None:
        """End the reader."""
        if self._reader is not None:
            self._reader.communicate()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tally:
    """What the broker counted during the runs of one case."""

    def __init__(self, broker: BrokerCounts) -> None:
        self._broker = broker
        self._sum = Counts()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count for the time of a block, which nothing else may share the broker with."""
        before = self._broker.read()
        yield
        self._sum += self._broker.read() - before

    def figures(self) -> dict[str, float | int | str]:
        """Return the figures of all runs so far, or why there are none."""
        return counted(self._sum, self._broker.missing)


def counted(counts: Counts, missing: str = "") -> dict[str, float | int | str]:
    """Return counts as figures: refusals in all, and requests a transaction, which are one or two without refusals."""
    if missing:
        return {"concurrent_transactions": missing}
    return {
        "concurrent_transactions": counts.concurrent,
        "add_partitions_per_transaction": round(counts.requests / max(counts.ended, 1), 2),
    }
