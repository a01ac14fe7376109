"""Writes what becomes of dead letters: the record that goes back and the note of it, both or neither.

One Kafka transaction a letter, under one transactional id for everybody. So a letter is never sent twice: a session
that is killed leaves nothing half done, and of two at once the older one is fenced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.runtime.endings import RECORD_ERRORS, Ending, ending_of
from headrace.runtime.kafka import producer_config
from headrace.runtime.settings import Settings
from headrace.schemas.codec import Record
from headrace.schemas.errors import ContractError, DependencyUnavailable, Fenced, HeadraceError

TIMEOUT_S = 30.0
TRANSACTION_TIMEOUT_MS = 30_000


class LetterSession:
    """A transactional producer. A context manager.

    Raises:
        DependencyUnavailable: Kafka does not answer, or refuses the transactional id.
    """

    def __init__(self, settings: Settings) -> None:
        self._id = settings.topic_names.console_transactional_id
        self._producer = Producer(
            {
                **producer_config(settings, "letters"),
                "transactional.id": self._id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "message.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 0,
            }
        )
        try:
            self._producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            raise DependencyUnavailable(
                f"no transaction can be made under {self._id}: {error.args[0].str()}",
                "may this user write under that transactional id? docs/operations.md, ACLs",
            ) from None

    def send(self, record: Record, note: Callable[[str], Record]) -> str:
        """Write a record and the note of it; return where the record went.

        Args:
            note: makes the note; told where the record went.

        Raises:
            ContractError: the topic does not take the record; nothing was written.
            Fenced: somebody else began to resolve letters; nothing was written.
            DependencyUnavailable: Kafka did not take it.
        """
        places: list[str] = []

        def both() -> None:
            places.extend(self._produce([record]))
            self._produce([note(places[0])])

        self._transaction(both)
        return places[0]

    def note(self, records: Sequence[Record]) -> None:
        """Write notes of letters that go nowhere.

        Raises:
            Fenced: somebody else began to resolve letters; nothing was written.
            DependencyUnavailable: Kafka did not take them.
        """
        self._transaction(lambda: self._produce(records))

    def _transaction(self, act: Callable[[], object]) -> None:
        try:
            self._producer.begin_transaction()
            act()
            self._commit()
        except KafkaException as error:
            raise self._failed(error.args[0]) from None

    def _commit(self) -> None:
        """Commit; where the answer does not come, ask again: it may have been committed."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self._producer.commit_transaction(TIMEOUT_S)
            except KafkaException as error:
                if ending_of(error.args[0]) is not Ending.RETRY or time.monotonic() > deadline:
                    raise
            else:
                return

    def _produce(self, records: Sequence[Record]) -> list[str]:
        """Write records, wait for all of them, and return where they are."""
        places: list[str] = []
        errors: list[KafkaError] = []

        def landed(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                places.append(f"{message.topic()}[{message.partition()}]@{message.offset()}")

        for record in records:
            partition = -1 if record.partition is None else record.partition
            arguments = (record.topic, record.value, record.key, partition, landed)
            self._producer.produce(*arguments, headers=[*record.headers])
        left = self._producer.flush(TIMEOUT_S)
        if left:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} records were not acknowledged"))
        if errors:
            raise KafkaException(errors[0])
        return places

    def _failed(self, error: KafkaError) -> HeadraceError:
        """Abort, and say what it was."""
        if ending_of(error) is Ending.FENCED:
            return Fenced(f"somebody else began to resolve dead letters: {error.str()}", "run it again when he is done")
        try:
            self._producer.abort_transaction(TIMEOUT_S)
        except KafkaException as again:
            if ending_of(again.args[0]) is Ending.FENCED:
                return Fenced(f"somebody else began to resolve dead letters: {again.args[0].str()}", "run it again")
        if error.code() in (*RECORD_ERRORS, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC):
            return ContractError(f"the topic does not take it: {error.str()}", kind="unwritable")
        return DependencyUnavailable(f"Kafka did not take it: {error.str()}", "see headrace doctor")

    def close(self) -> None:
        """Drop the connection."""
        self._producer.purge()
        self._producer.flush(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
