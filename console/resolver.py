"""Redrives and drops dead letters, one after another, and says what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from headrace.console.job_states import RUNNING
from headrace.console.letters import Address, Fetch, FiledLetter, fetched
from headrace.console.redrive import Invalid, Redriver, Refused, Sending
from headrace.schemas.codec import Record, encode, schema_headers
from headrace.schemas.errors import ConfigError, ContractError, HeadraceError
from headrace.schemas.messages import Resolution

DROP_BATCH = 500

States = Callable[[Iterable[str]], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a letter."""

    filed: FiledLetter
    action: Literal["redriven", "dropped", "refused", "would_send", "would_drop"]
    to: str = ""
    """Where it was sent, or would be."""
    reason: str = ""
    hint: str = ""
    record: Record | None = None
    """What would be sent."""

    def plain(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {
            "id": str(self.filed.address), "action": self.action, "to": self.to, "reason": self.reason,
            "hint": self.hint,
        }  # fmt: skip


class Session(Protocol):
    """The transactions, as they are used here."""

    def send(self, record: Record, note: Callable[[str], Record]) -> str: ...

    def note(self, records: Sequence[Record]) -> None: ...


@dataclass(frozen=True, slots=True)
class Resolver:
    """Works letters off.

    Args:
        topic: of dead letters.
        by: who does it.
        fetch: returns letters with their values.
        states: returns what is known of jobs (`job_states.read_states`).
        again: take letters, too, that were resolved before.
        force: send what nobody waits for, too.
    """

    topic: str
    by: str
    fetch: Fetch
    states: States
    again: bool = False
    force: bool = False
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    def check(self, letters: Sequence[FiledLetter], redriver: Redriver) -> dict[Address, Sending]:
        """Make every record at once, as an edit demands: one that breaks the contract keeps all of them here.

        Raises:
            ConfigError: with the problems of every letter; nothing may be sent.
        """
        made: dict[Address, Sending] = {}
        problems = []
        for filed, letter in fetched(letters, self.fetch):
            try:
                made[filed.address] = redriver.record(letter)
            except Invalid as error:
                problems.append(f"{filed.address}: {error.message}")
            except Refused:
                continue  # Said when its turn comes.
        if problems:
            raise ConfigError("; ".join(problems), "nothing was sent; the contract is in schemas/json/")
        return made

    def redrive(
        self,
        letters: Sequence[FiledLetter],
        redriver: Redriver,
        session: Session | None,
        *,
        made: dict[Address, Sending],
        per_second: float,
    ) -> Iterator[Verdict]:
        """Send letters back where they came from.

        Args:
            session: None changes nothing and says what would be sent.
            made: records that exist already (`check`).
            per_second: the most that are sent.

        Raises:
            HeadraceError: Kafka did not take one; what was sent before is noted.
        """
        states = self.states({filed.letter.job_id for filed in letters if filed.letter.job_id})
        next_at = time.monotonic()
        for filed, letter in fetched(letters, self.fetch):
            try:
                self._check_open(filed)
                sending = made.get(filed.address) or redriver.record(letter)
                self._check_job(sending, states)
                if session is None:
                    yield Verdict(filed, "would_send", _place(sending.record), record=sending.record)
                    continue
                time.sleep(max(0.0, next_at - time.monotonic()))
                next_at = max(next_at, time.monotonic()) + 1 / per_second
                to = session.send(sending.record, partial(self._note, filed, "redriven"))
                yield Verdict(filed, "redriven", to)
            except (Refused, Invalid, ContractError) as error:
                yield _refused(filed, error)

    def drop(self, letters: Sequence[FiledLetter], session: Session | None) -> Iterator[Verdict]:
        """Note that letters need nothing any more."""
        for start in range(0, len(letters), DROP_BATCH):
            batch, verdicts = [], []
            for filed in letters[start : start + DROP_BATCH]:
                try:
                    self._check_open(filed)
                except Refused as error:
                    verdicts.append(_refused(filed, error))
                    continue
                batch.append(self._note(filed, "dropped", ""))
                verdicts.append(Verdict(filed, "dropped" if session else "would_drop"))
            if batch and session is not None:
                session.note(batch)
            yield from verdicts

    def _check_open(self, filed: FiledLetter) -> None:
        found = filed.resolution
        if found is not None and not self.again:
            raise Refused(f"was {found.action} before, by {found.by}", "--force takes it once more")

    def _check_job(self, sending: Sending, states: dict[str, str]) -> None:
        job_id = sending.job_id
        if job_id is None:
            return
        if job_id not in states:
            states.update(self.states([job_id]))  # An edit named another job.
        state = states.get(job_id)
        if state is not None and state != RUNNING:
            raise Refused(
                f"belongs to job {job_id}, which is over ({state}): its outcome stands",
                "submit it under another id",
            )
        if state is None and sending.needs_job and not self.force:
            raise Refused(f"belongs to job {job_id}, of which nothing is known here", "--force sends it all the same")

    def _note(self, filed: FiledLetter, action: Literal["redriven", "dropped"], to: str) -> Record:
        """Return the resolution of a letter: under its key, on its partition."""
        resolution = Resolution(
            origin=filed.letter.origin,
            letter=str(filed.address),
            action=action,
            at_ms=self.now_ms(),
            by=self.by,
            to=to,
        )
        return Record(self.topic, filed.key, encode(resolution), filed.address.partition, schema_headers(Resolution))


def _refused(filed: FiledLetter, error: HeadraceError) -> Verdict:
    return Verdict(filed, "refused", reason=error.message, hint=error.hint)


def _place(record: Record) -> str:
    return f"{record.topic}[{'by key' if record.partition is None else record.partition}]"
