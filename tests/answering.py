"""A worker of a test's own making: answers tasks in a thread, fails some of them once, and remembers what it saw."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from headrace.runtime.kafka import producer_config, reader_config
from headrace.schemas.codec import decode, encode
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, Lane, Result, Task
from tests.orchestrators import Site, answer_to


class Answering:
    """Reads the task topics from their beginning, in no group.

    Args:
        fails: tells which tasks fail, as overloaded.
    """

    def __init__(self, here: Site, fails: Callable[[Task], bool]) -> None:
        self.seen: Counter[tuple[str, int]] = Counter()
        """How often each (task, attempt) was read."""
        self.prompts: dict[str, str] = {}
        self._here = here
        self._fails = fails
        self._stopped = threading.Event()
        self._held = threading.Event()
        self._held.set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def hold(self) -> None:
        """Answer nothing until `go_on`."""
        self._held.clear()

    def go_on(self) -> None:
        self._held.set()

    def _run(self) -> None:
        settings = self._here.settings
        topic = settings.topic_names.tasks("noop", Lane.BATCH)
        consumer = Consumer(reader_config(settings, "answering"))
        producer = Producer(producer_config(settings, "answering"))
        places = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(settings.topics.task_partitions)]
        consumer.assign(places)
        while not self._stopped.is_set():
            for message in consumer.consume(500, 0.05):
                if message.error() is None:
                    self._held.wait()
                    self._answer(producer, decode(Task, message.value()))
            producer.poll(0)
        consumer.close()
        producer.flush(5)

    def _answer(self, producer: Producer, task: Task) -> None:
        assert task.call is not None
        self.prompts[task.task_id] = task.call.messages[-1].content
        result: Result = answer_to(task)
        if self._fails(task):
            failure = Failure(kind=ErrorKind.OVERLOADED, message="busy")
            result = result.model_copy(update={"failure": failure, "output": None})
        topic = self._here.settings.topic_names.results
        producer.produce(topic, encode(result), task.job_id.encode(), task.reply_partition)
        self.seen[task.task_id, task.attempt] += 1


@contextmanager
def answering(here: Site, *, fails: Callable[[Task], bool] = lambda _task: False) -> Iterator[Answering]:
    """Answer for the time of a test."""
    made = Answering(here, fails)
    made._thread.start()
    try:
        yield made
    finally:
        made.go_on()
        made._stopped.set()
        made._thread.join(10)
