"""Where dead letters are worked off: what reads them, what knows their jobs, what writes what becomes of them."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from headrace.console.job_states import read_states
from headrace.console.letter_session import LetterSession
from headrace.console.letters import FiledLetter, LetterBox
from headrace.console.reader import TopicReader
from headrace.console.resolver import Resolver
from headrace.runtime.settings import Settings


class Desk:
    """A context manager.

    Args:
        again: take letters, too, that were resolved before.
        force: send what nobody waits for, too.
    """

    def __init__(self, settings: Settings, *, again: bool, force: bool) -> None:
        self._settings = settings
        self.box = LetterBox(settings)
        self._jobs = TopicReader(settings, "letters")
        self.partitions = self._jobs.partitions(settings.topic_names.jobs)
        self.resolver = Resolver(
            settings.topic_names.dead_letters,
            by=who(),
            fetch=self.box.fetch,
            states=lambda job_ids: read_states(self._jobs, settings, job_ids),
            again=again,
            force=force,
        )

    @contextmanager
    def session(self, *, dry_run: bool) -> Iterator[LetterSession | None]:
        """Open the transactions; None where nothing is to be changed.

        Raises:
            DependencyUnavailable: Kafka does not answer, or refuses the transactional id.
        """
        if dry_run:
            yield None
            return
        with LetterSession(self._settings) as session:
            yield session

    def again(self, letters: Sequence[FiledLetter]) -> list[FiledLetter]:
        """Return the same letters as they are now: another session may have resolved some until it was fenced."""
        chosen = {one.address for one in letters}
        return [one for one in self.box.read(lambda _letter: True) if chosen.intersection(one.addresses)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.close()
        self.box.close()


def who() -> str:
    """Return who resolves letters, for those who look at them later."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
