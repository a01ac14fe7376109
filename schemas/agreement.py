"""What a message's shape alone does not say: that its ids, headers and numbers agree with each other.

A record that contradicts itself is forged or broken; nobody acts on it. Both ends hold the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.schemas.base import ObjectRef
from headrace.schemas.calls import MAX_WRONG_ANSWER, Failure, Result, Task
from headrace.schemas.codec import ATTEMPT_HEADER, JOB_HEADER, REPLY_HEADER, TASK_HEADER
from headrace.schemas.errors import DecodeError
from headrace.schemas.ids import TASK_ID, TaskId, check_job_id
from headrace.schemas.vectors import check_embed_call

MAX_ATTEMPT = 1_000_000
MAX_COUNT = 10**12
"""Of tokens, micro-US-dollars or milliseconds of one call: no call has more, and sums of many stay within 64 bits."""
MAX_MOMENT_MS = 10**15
"""The year 33658; what lies beyond is no time, and no float."""
MAX_TIMEOUT_MS = 7 * 86_400_000
MAX_MESSAGE = 1_000
"""Characters of a failure's message: an outcome holds a hundred of them."""
MAX_NAME = 200
"""Characters of a model's, an endpoint's or a worker's name, and of what a task names for the journal."""


def check_task(task: Task, headers: Mapping[str, str], *, pool: str, result_partitions: int) -> None:
    """Check a task that a worker is to run.

    Args:
        task: as decoded.
        headers: the record's headers, by lower-case name.
        pool: the pool on whose topic it lay.
        result_partitions: partition count of the results topic.

    Raises:
        DecodeError: it contradicts itself, is meant for another pool, or could not be answered.
    """
    # The usual task at one look: a task's id is legal only where its job's is.
    named = TASK_ID.fullmatch(task.task_id)
    if named is None or named[1] != task.job_id or not 1 <= task.attempt <= MAX_ATTEMPT:
        _check_ids(task.task_id, task.job_id, task.attempt)
    attempt, reply, said = str(task.attempt), str(task.reply_partition), headers.get
    if (
        said(JOB_HEADER, task.job_id) != task.job_id
        or said(TASK_HEADER, task.task_id) != task.task_id
        or said(ATTEMPT_HEADER, attempt) != attempt
        or said(REPLY_HEADER, reply) != reply
    ):
        ids = {JOB_HEADER: task.job_id, TASK_HEADER: task.task_id, ATTEMPT_HEADER: attempt, REPLY_HEADER: reply}
        _check_headers(ids, headers)
    if task.pool != pool:
        raise DecodeError(f"a task for pool {task.pool[:80]!r} lies on a topic of pool {pool!r}", kind="wrong_pool")
    if not 0 <= task.reply_partition < result_partitions:
        # Sending there would fail for ever; so nobody can be answered.
        raise DecodeError(
            f"reply_partition {task.reply_partition} is not one of the {result_partitions} of results",
            kind="wrong_partition",
        )
    for name in _NAMES:
        # They go into the journal: a record that Kafka does not take would end one worker after the other.
        if len(text := getattr(task, name)) > MAX_NAME:
            _check_range(f"the length of {name}", len(text), 0, MAX_NAME)
    if not 1 <= task.timeout_ms <= MAX_TIMEOUT_MS:
        _check_range("timeout_ms", task.timeout_ms, 1, MAX_TIMEOUT_MS)
    for name in _MOMENTS:
        if not -MAX_MOMENT_MS <= (moment := getattr(task, name) or 0) <= MAX_MOMENT_MS:
            _check_range(name, moment, -MAX_MOMENT_MS, MAX_MOMENT_MS)
    if task.call_ref is not None:
        check_ref(task.call_ref)
    if task.embed is not None:
        check_embed_call(task.embed)
        if task.embed.examples_ref is not None:
            check_ref(task.embed.examples_ref)


_NAMES, _MOMENTS = ("step", "tenant", "workflow", "template_hash"), ("not_after_ms", "dispatched_at_ms")


def check_result(result: Result, headers: Mapping[str, str]) -> Result:
    """Check a result, and return it with its texts cut to what a job's records can hold.

    Raises:
        DecodeError: it contradicts itself, or a number in it is no count.
    """
    # The usual result at one look, as in `check_task`.
    task_id, job_id, attempt = result.task_id, result.job_id, result.attempt
    named, said, number = TASK_ID.fullmatch(task_id), headers.get, str(attempt)
    if named is None or named[1] != job_id or not 1 <= attempt <= MAX_ATTEMPT:
        _check_ids(task_id, job_id, attempt)
    if (
        said(TASK_HEADER, task_id) != task_id
        or said(JOB_HEADER, job_id) != job_id
        or said(ATTEMPT_HEADER, number) != number
    ):
        _check_headers({JOB_HEADER: job_id, TASK_HEADER: task_id, ATTEMPT_HEADER: number}, headers)
    counts = (result.cost_microusd, result.call_ms, *result.usage.__dict__.values())
    if min(counts) < 0 or max(counts) > MAX_COUNT:
        for name, count in (*result.usage.__dict__.items(), ("cost_microusd", result.cost_microusd)):
            _check_range(name, count, 0, MAX_COUNT)
        _check_range("call_ms", result.call_ms, 0, MAX_COUNT)
    if result.confidence is not None and not 0 <= result.confidence <= 1:  # Not a number is neither.
        raise DecodeError("confidence is not between 0 and 1", kind="out_of_range")
    if result.output_ref is not None:
        check_ref(result.output_ref)
    return _cut(result)


def check_ref(ref: ObjectRef) -> None:
    """Check a claim check: ours are content-addressed; another key would make the store look where it should not.

    Raises:
        DecodeError: its key is not ``sha256/<its checksum>``, or its size is none.
    """
    hexadecimal = len(ref.sha256) == 64 and all(digit in "0123456789abcdef" for digit in ref.sha256)
    if not hexadecimal or ref.key != f"sha256/{ref.sha256}":
        raise DecodeError(f"object {ref.key[:120]!r} is not sha256/<its checksum>", kind="invalid_reference")
    _check_range("size_bytes", ref.size_bytes, 0, MAX_COUNT)


def _check_ids(task_id: str, job_id: str, attempt: int) -> None:
    if TaskId.parse(task_id).job_id != check_job_id(job_id):
        raise DecodeError(f"task {task_id[:120]!r} is not one of job {job_id!r}", kind="task_of_another_job")
    _check_range("attempt", attempt, 1, MAX_ATTEMPT)


def _check_headers(said: Mapping[str, str], headers: Mapping[str, str]) -> None:
    for name, value in said.items():
        if headers.get(name, value) != value:
            message = f"header {name} says {headers[name][:120]!r} and the value {value[:120]!r}"
            raise DecodeError(message, "one of them is forged or broken", kind="headers_contradict")


def _check_range(name: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise DecodeError(f"{name} is not between {least} and {most}", kind="out_of_range")


def _cut(result: Result) -> Result:
    """Return the result with its texts cut; the usual one is returned as it is."""
    texts = (result.finish_reason, result.model, result.endpoint, result.pool, result.worker)
    if result.failure is None and not result.wrong_answer and len("".join(texts)) <= MAX_NAME:
        return result
    changes: dict[str, object] = {}
    for name in ("finish_reason", "model", "endpoint", "pool", "worker"):
        if len(text := getattr(result, name)) > MAX_NAME:
            changes[name] = text[:MAX_NAME]
    if len(result.wrong_answer) > MAX_WRONG_ANSWER:
        changes["wrong_answer"] = result.wrong_answer[:MAX_WRONG_ANSWER]
    failure: Failure | None = result.failure
    if failure is not None and len(failure.message) > MAX_MESSAGE:
        changes["failure"] = failure.model_copy(update={"message": failure.message[:MAX_MESSAGE]})
    return result.model_copy(update=changes) if changes else result
