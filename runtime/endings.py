"""What Kafka's answers to a transactional producer mean (the table of kafka-mechanics A4), and the generation."""

from __future__ import annotations

import struct
from enum import Enum

from confluent_kafka import KafkaError

from headrace.schemas.errors import SessionError

_METADATA = b"CGMDv2:"


class Ending(Enum):
    """What a failed transactional call means for the transaction (kafka-mechanics A4)."""

    RETRY = "retry"
    """The same call again: a timed-out commit may have committed."""
    ABORT = "abort"
    """Nothing of it is visible; abort, and decide the batch again."""
    FENCED = "fenced"
    """Another producer has this transactional id."""
    LOST = "lost"
    """Nobody knows: a new producer, and the state from the log."""


_FENCED = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.FENCED_INSTANCE_ID}
)

RECORD_ERRORS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.POLICY_VIOLATION,
    }
)
"""What a record brings about by itself. An outage, a rebalance or a missing right is no record's fault, and would send
innocent records to the dead letters if it counted as one (kafka-mechanics A6)."""


def ending_of(error: KafkaError) -> Ending:
    """Return what a failed transactional call means. What is not known to be harmless is taken as lost."""
    if error.fatal():
        return Ending.FENCED if error.code() in _FENCED else Ending.LOST
    if error.txn_requires_abort():
        return Ending.ABORT
    return Ending.RETRY if error.retriable() else Ending.LOST


def group_generation(metadata: bytes) -> int:
    """Return the generation (or member epoch) in a consumer's group metadata; −1 where it is no member.

    confluent-kafka hands out librdkafka's serialised form: a magic word, the generation as a native 32-bit integer,
    then group, member and instance as C strings. Source: ``rd_kafka_consumer_group_metadata_write``, librdkafka 2.16.

    Raises:
        SessionError: the form is another one, so a generation of −1 could no longer be seen.
    """
    if not metadata.startswith(_METADATA) or len(metadata) < len(_METADATA) + 4:
        raise SessionError(
            "the group metadata of this confluent-kafka has an unknown form", "use the version that the lock pins"
        )
    return int(struct.unpack_from("=i", metadata, len(_METADATA))[0])
