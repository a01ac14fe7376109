"""Small stand-ins for what the poller's thread talks to: one log a partition, one group's offsets."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition


class FakeMessage:
    def __init__(self, topic, partition, offset, *, value=None, headers=(), at_ms=0, error=None):
        self._topic, self._partition, self._offset = topic, partition, offset
        self._value, self._headers, self._at_ms, self._error = value, headers, at_ms, error

    def topic(self):
        return self._topic

    def partition(self):
        return self._partition

    def offset(self):
        return self._offset

    def value(self):
        return self._value

    def headers(self):
        return list(self._headers)

    def timestamp(self):
        return 1, self._at_ms

    def error(self):
        return self._error


class FakeLogs:
    """Logs by topic and partition. A record is (at_ms, value, headers); None is a marker."""

    def __init__(self):
        self.logs = {}

    def append(self, topic, partition, value, *, at_ms=0, headers=()):
        self.logs.setdefault((topic, partition), []).append((at_ms, value, headers))

    def mark(self, topic, partition):
        self.logs.setdefault((topic, partition), []).append(None)

    def end(self, topic, partition):
        return len(self.logs.get((topic, partition), []))

    def messages(self, topic, partition, start):
        log = self.logs.get((topic, partition), [])
        found = [
            FakeMessage(topic, partition, offset, at_ms=record[0], value=record[1], headers=record[2])
            for offset, record in enumerate(log)
            if offset >= start and record is not None
        ]
        eof = KafkaError(KafkaError._PARTITION_EOF)
        return [*found, FakeMessage(topic, partition, len(log), error=eof)]


class FakeAdmin:
    """Answers `list_offsets` from the logs; the next `failures` answers are errors."""

    def __init__(self, logs):
        self.logs = logs
        self.failures = []
        self.asked = []
        self.looked_up = []
        self.leaders_known = True
        self.unknown = 0
        """So many answers have no error and no offset, as while a leader is being replaced."""

    def list_offsets(self, wanted, *, request_timeout):
        answers = {}
        failure = self.failures.pop(0) if self.failures else None
        if not self.leaders_known:
            failure = KafkaError.FENCED_LEADER_EPOCH
        for place, spec in wanted.items():
            future = Future()
            self.asked.append((place.topic, place.partition))
            if failure is not None:
                future.set_exception(KafkaException(KafkaError(failure)))
            else:
                offset = OFFSET_INVALID if self.unknown else self._offset(place, spec._value)
                future.set_result(SimpleNamespace(offset=offset))
            answers[place] = future
        self.unknown = max(0, self.unknown - 1)
        return answers

    def list_topics(self, topic, *, timeout):
        self.looked_up.append(topic)
        self.leaders_known = True

    def _offset(self, place, value):
        log = self.logs.logs.get((place.topic, place.partition), [])
        if value < 0:  # The end; the other special values are not asked for.
            return len(log)
        return next((at for at, record in enumerate(log) if record is not None and record[0] >= value), -1)


class FakeReader:
    """A `TailReader` that has everything at once."""

    def __init__(self, logs):
        self.logs = logs
        self.followed = []
        self.open = {}

    def follow(self, topic, partition, offset, take):
        self.followed.append((topic, partition, offset))
        self.open[topic, partition] = (offset, take)

    def leave(self, topic, partition):
        self.open.pop((topic, partition), None)

    def read(self):
        for (topic, partition), (offset, take) in list(self.open.items()):
            for message in self.logs.messages(topic, partition, offset):
                if (topic, partition) in self.open:
                    take(message)

    def close(self):
        self.open.clear()


class FakeGroup:
    """The consumer of a group: what it was told, and what it answers."""

    def __init__(self, topic):
        self.topic = topic
        self.offsets = {}  # partition -> (offset, metadata)
        self.refusals = []  # error codes of the next commits; None: taken
        self.committed_failures = []
        self.commits = []
        self.told = []
        self.positions = {}
        self.seek_failure = None

    def committed(self, wanted, *, timeout):
        if self.committed_failures:
            raise KafkaException(KafkaError(self.committed_failures.pop(0)))
        return [self._stored(part.partition) for part in wanted]

    def _stored(self, partition):
        offset, metadata = self.offsets.get(partition, (-1001, None))
        return TopicPartition(self.topic, partition, offset, **({} if metadata is None else {"metadata": metadata}))

    def commit(self, *, offsets, asynchronous):
        self.commits.append((asynchronous, [(one.partition, one.offset, one.metadata) for one in offsets]))
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise KafkaException(KafkaError(refusal))
        if not asynchronous:
            self.offsets.update({one.partition: (one.offset, one.metadata) for one in offsets})
        return offsets

    def position(self, wanted):
        return [TopicPartition(self.topic, one.partition, self.positions.get(one.partition, -1001)) for one in wanted]

    def seek(self, part):
        if self.seek_failure is not None:
            raise KafkaException(KafkaError(self.seek_failure))
        self.told.append(("seek", (part.partition, part.offset)))

    def __getattr__(self, name):
        if name in ("incremental_assign", "incremental_unassign", "pause", "resume"):
            return lambda parts: self.told.append((name, sorted(part.partition for part in parts)))
        raise AttributeError(name)
