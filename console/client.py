"""The Python client: submit jobs, wait for their outcomes, cancel them.

::

    with HeadraceClient() as headrace:
        job_id = headrace.submit("summarise@1", {"text": text})
        outcome = headrace.outcome(job_id, timeout_s=300)
        print(outcome.status, outcome.output)
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from headrace.console.input_size import travelling
from headrace.console.item_parts import PART_BYTES
from headrace.console.item_upload import Items, Watch, upload_items
from headrace.console.job_reader import read_outcome, read_report
from headrace.console.job_report import JobReport
from headrace.console.outcome_tail import OutcomeTail
from headrace.console.reader import TopicReader
from headrace.runtime.kafka import producer_config, wait_for_broker
from headrace.runtime.objects import ObjectStore, open_objects
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.telemetry import new_traceparent
from headrace.schemas.codec import TRACE_HEADERS, decode, encode, schema_headers
from headrace.schemas.errors import ConfigError, ContractError, DecodeError, DependencyUnavailable
from headrace.schemas.ids import SESSION_MARK, check_job_id, home_partition, session_of
from headrace.schemas.messages import ItemsRef, Outcome, Submission

ACK_TIMEOUT_S = 30.0
"""How long a submission waits for Kafka's acknowledgement."""


class OutcomeTimeout(DependencyUnavailable):
    """The job has no outcome yet; it goes on, and can be waited for again."""


class HeadraceClient:
    """Speaks to Headrace through its topics. One client serves one thread; it keeps two connections open.

    Args:
        settings: how to reach Kafka; read from environment and file where left out.

    Raises:
        DependencyUnavailable: Kafka does not answer or refuses the credentials.
        TopicMismatch: the topics of this prefix are not there.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or load_settings()
        wait_for_broker(self._settings)
        self._reader = TopicReader(self._settings, "client")
        try:
            self._partitions = self._reader.partitions(self._settings.topic_names.jobs)
        except BaseException:
            self._reader.close()
            raise
        # One submission waits for its acknowledgement: waiting for a fuller batch would only add to it.
        config = {**producer_config(self._settings, "client"), "linger.ms": 0, "message.timeout.ms": 30_000}
        self._producer = Producer(config)
        self._tail: OutcomeTail | None = None
        self._objects: ObjectStore | None = None

    def submit(
        self,
        workflow: str | dict[str, Any],
        input: dict[str, Any] | None = None,
        *,
        items: Items | ItemsRef | None = None,
        job_id: str | None = None,
        session: str | None = None,
        deadline: datetime | str | None = None,
        **options: Any,
    ) -> str:
        """Submit a job and return its id once Kafka has acknowledged it.

        An input that is too large to travel inline goes through the object store by itself.

        Args:
            workflow: ``name@version``, ``name`` (the newest version), or a whole workflow.
            input: the workflow's input.
            items: what templates see as ``input.items``, where it is long: values, a file of JSON Lines, or what
                `upload_items` returned. It goes through the object store in parts and is never in memory as a whole.
            job_id: the idempotency key: submitting it again starts nothing new. A random one where left out.
            session: the conversation that the job is a turn of; ``SESSION::`` goes before the job's id.
            deadline: after this moment the job ends as ``expired``; with a time zone.
            options: ``tenant``, ``lane``, ``priority``, ``budget``, ``sensitivity``, ``labels``, as in `Submission`.

        Raises:
            DecodeError: a value that the contract does not allow; the message names each.
            ContractError: it is larger than a job may be.
            ConfigError: items that are no JSON; or something needs the extra ``objects``, which is not installed.
            DependencyUnavailable: no acknowledgement, or the object store does not answer. The job may have been
                written all the same: submit again with the same ``job_id``.
        """
        job_id = job_id if session is None else turn_id(session, job_id)
        plain = {"workflow": workflow, "input": input or {}, "job_id": job_id, "deadline": deadline, **options}
        given = {name: value for name, value in plain.items() if value is not None}
        text = json.dumps(given, ensure_ascii=False, default=_plain_value).encode()
        submission = decode(Submission, text, max_bytes=len(text))  # `travelling` says how large an input may be.
        return self.send(submission if items is None else self.with_items(submission, items))

    def upload_items(self, items: Items, *, part_bytes: int = PART_BYTES, watch: Watch | None = None) -> ItemsRef:
        """Store items in parts and return their reference, for one job or several. Parts that are there are not sent.

        Args:
            items: values, or the path of a file of JSON Lines.
            part_bytes: about how large the parts are.
            watch: told after each part.

        Raises:
            ConfigError: lines that are no JSON (up to ten are named), no items, too many, or no extra ``objects``.
            DependencyUnavailable: the object store does not answer.
        """
        return upload_items(self._store(), items, part_bytes=part_bytes, watch=watch or (lambda _progress: None))

    def with_items(self, submission: Submission, items: Items | ItemsRef, **options: Any) -> Submission:
        """Return a submission with its items by reference, uploaded where they are not yet.

        Raises:
            DecodeError: the submission has items already.
            ConfigError, DependencyUnavailable: as `upload_items`.
        """
        if submission.items is not None or "items" in submission.input:
            raise DecodeError("the items are given twice, in the submission and beside it", "leave one out")
        ref = items if isinstance(items, ItemsRef) else self.upload_items(items, **options)
        return submission.model_copy(update={"items": ref})

    def send(self, submission: Submission) -> str:
        """Write a submission to its home partition and return its job id; a job without one gets a random one.

        Raises:
            DecodeError: the job id is not legal.
            ContractError: it is larger than a job may be, or than Kafka takes.
            ConfigError: its input needs the object store, and the extra ``objects`` is not installed.
            DependencyUnavailable: no acknowledgement, or the object store does not answer.
        """
        job_id = check_job_id(submission.job_id or str(uuid.uuid4()))
        if submission.type == "job":
            submission = travelling(submission, self._store, inline_bytes=self._settings.objects.inline_bytes)
            self._outcomes().expect(job_id)
        self._write(job_id, encode(submission.model_copy(update={"job_id": job_id})))
        return job_id

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end; its outcome will be ``cancelled`` unless it was faster."""
        self.send(Submission(type="cancel", job_id=job_id))

    def signal(self, job_id: str, name: str, payload: Any = None) -> None:
        """Send a signal to a job: a step waits for it, or will. The first that fits counts; a repeat does nothing.

        Raises:
            DecodeError: the job id or the payload is not legal.
            ContractError: it is larger than Kafka takes.
            DependencyUnavailable: no acknowledgement; send it again.
        """
        text = json.dumps({"type": "signal", "job_id": job_id, "name": name, "payload": payload}, ensure_ascii=False)
        self.send(decode(Submission, text.encode()))

    def status(self, job_id: str) -> JobReport | None:
        """Return what is known of a job, or None. Reads the job's home partition of ``state``."""
        return read_report(self._reader, self._settings, check_job_id(job_id))

    def outcome(self, job_id: str, timeout_s: float | None = None) -> Outcome:
        """Wait for a job's outcome and return it; at once if the job has ended.

        Args:
            timeout_s: how long to wait; None: for ever.

        Raises:
            OutcomeTimeout: none in time.
        """
        tail = self._outcomes()
        if not tail.expects(job_id):
            # Expected first and looked up second: whatever is committed in between is seen by one of the two.
            tail.expect(job_id)
            found = read_outcome(self._reader, self._settings, check_job_id(job_id))
            if found is not None:
                tail.forget(job_id)
                return found
        outcome = tail.take(job_id, timeout_s)
        if outcome is None:
            raise OutcomeTimeout(f"job {job_id} has no outcome after {timeout_s:g} s", f"headrace watch {job_id}")
        return outcome

    def wait(self, job_ids: list[str], timeout_s: float | None = None) -> dict[str, Outcome]:
        """Wait for several jobs and return their outcomes, in the order of the ids.

        Raises:
            OutcomeTimeout: not all in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return {
            job_id: self.outcome(job_id, None if deadline is None else max(0.0, deadline - time.monotonic()))
            for job_id in job_ids
        }

    def _store(self) -> ObjectStore:
        """Return the object store, opened at the first need."""
        if self._objects is None:
            self._objects = open_objects(self._settings)
        return self._objects

    def _outcomes(self) -> OutcomeTail:
        """Return the reader at the tail of ``outcomes``, opened at the first need and kept: opening costs 20 ms."""
        if self._tail is None:
            self._tail = OutcomeTail(self._settings)
        return self._tail

    def _write(self, job_id: str, value: bytes) -> None:
        failures: list[KafkaError | None] = []
        trace = (TRACE_HEADERS[0], new_traceparent().encode())
        try:
            self._producer.produce(
                self._settings.topic_names.jobs,
                key=job_id.encode(),
                value=value,
                partition=home_partition(job_id, self._partitions),
                headers=[*schema_headers(Submission), trace],
                on_delivery=lambda error, _message: failures.append(error),
            )
        except KafkaException as error:
            raise _refused(error.args[0], len(value)) from None
        deadline = time.monotonic() + ACK_TIMEOUT_S + 5
        while not failures:
            self._producer.poll(0.5)
            if time.monotonic() > deadline:
                raise DependencyUnavailable(f"no acknowledgement of job {job_id} within {ACK_TIMEOUT_S:.0f} s")
        if (failure := failures[0]) is not None:
            raise _refused(failure, len(value))

    def close(self) -> None:
        """Close the connections."""
        if self._tail is not None:
            self._tail.close()
        self._producer.flush(5)
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def turn_id(session: str, job_id: str | None) -> str:
    """Return the id of a job of a session; a random one where it has none, and as it is where it names the session.

    Raises:
        ConfigError: the session has a ``::`` of its own, or the id names another session.
    """
    if SESSION_MARK in session or not session:
        raise ConfigError(f"session {session[:80]!r} is empty, or has {SESSION_MARK}", "it ends before the first one")
    named = None if job_id is None else session_of(job_id)
    if named is not None and named != session:
        raise ConfigError(f"job {job_id!r} is of session {named!r}, not {session!r}", "leave one out")
    return job_id if named is not None and job_id is not None else f"{session}{SESSION_MARK}{job_id or uuid.uuid4()}"


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    raise ConfigError(f"a {type(value).__name__} in a submission is no JSON", "give plain values")


def _refused(error: KafkaError, size: int) -> ContractError | DependencyUnavailable:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return ContractError(
            f"the submission has {size:,} bytes, more than Kafka's message.max.bytes takes",
            "shorten the input, or raise message.max.bytes on the topic and in kafka.options",
            kind="too_large",
        )
    return DependencyUnavailable(f"Kafka did not take the submission: {error.str()}", "see headrace doctor")
