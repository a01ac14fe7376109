"""Reads ``dead-letters``."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING

from headrace.console.reader import TopicReader, scan
from headrace.runtime.settings import Settings
from headrace.schemas.codec import decode
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import DeadLetter


def read_letters(settings: Settings) -> Iterator[DeadLetter]:
    """Yield every dead letter, partition by partition; one that cannot be read itself is passed over.

    Raises:
        TopicMismatch: there is no such topic.
    """
    topic = settings.topic_names.dead_letters
    with TopicReader(settings) as reader:
        offsets = {(topic, partition): OFFSET_BEGINNING for partition in range(reader.partitions(topic))}
        for message in scan(reader, offsets, keep=lambda _key: True):
            try:
                yield decode(DeadLetter, message.value())
            except ContractError:
                continue
