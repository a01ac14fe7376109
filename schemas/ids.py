"""Ids and home partitions. Nothing random: a replay of the same log gives the same ids."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from headrace.schemas.errors import DecodeError
from headrace.schemas.values import value_object

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
"""No slash, since a task id is a path, and nothing that needs escaping in a shell, a URL or a log."""
TASK_ID = re.compile(rf"({JOB_ID.pattern})/([A-Za-z][A-Za-z0-9_]{{0,63}})/(0|[1-9][0-9]{{0,9}})")
"""One spelling for each task: ASCII digits, none in front."""


def check_job_id(job_id: str) -> str:
    """Return the id unchanged.

    Raises:
        DecodeError: it is empty, above 200 characters, or has characters outside ``A-Za-z0-9._:-``.
    """
    if not JOB_ID.fullmatch(job_id):
        raise DecodeError(
            f"job_id {job_id[:80]!r} is not legal",
            "use 1 to 200 characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit",
            kind="invalid_job_id",
        )
    return job_id


SESSION_MARK = "::"
"""Ends the session in the id of a job that belongs to one: ``SESSION::TURN``."""


def session_of(job_id: str) -> str | None:
    """Return the session that a job's id names, or None. Jobs of one session have one home partition."""
    # Asked of every job several times: nearly none has one, and a search is half of a cut.
    return job_id.partition(SESSION_MARK)[0] if SESSION_MARK in job_id else None


def nested_job_id(task_id: str, attempt: int) -> str:
    """Return the id of the job that does an attempt of a task: the same whenever it is asked for.

    It begins with the parent's id, cut where it is long, so that it tells whose it is; the hash keeps it apart.
    """
    job_id, step, index = task_id.split("/")
    digest = sha256(f"{task_id}:{attempt}".encode()).hexdigest()[:16]
    return f"{job_id[:90]}.{step}.{index}.{digest}"


def assigned_job_id(partition: int, offset: int) -> str:
    """Return the id of a job that came without one: its place on the ``jobs`` topic."""
    return f"j-{partition}-{offset}"


@value_object(frozen=True, slots=True)
class TaskId:
    """Where a task stands: the job, the step, and the task's number within the step, from 0."""

    job_id: str
    step: str
    index: int

    def __str__(self) -> str:
        return f"{self.job_id}/{self.step}/{self.index}"

    @classmethod
    def parse(cls, text: str) -> TaskId:
        """Read ``<job>/<step>/<index>``.

        Raises:
            DecodeError: the text has another shape.
        """
        return _task_id(text)


@lru_cache(maxsize=4_096)  # Read at the edge and again in the core.
def _task_id(text: str) -> TaskId:
    found = TASK_ID.fullmatch(text)
    if found is None:
        raise DecodeError(f"task_id {text[:120]!r} is not <job>/<step>/<index>", kind="invalid_task_id")
    return TaskId(found[1], found[2], int(found[3]))


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of the bytes, as the Java client's default partitioner computes it.

    Source: ``org.apache.kafka.common.utils.Utils.murmur2``; the tests hold its published vectors.
    """
    mask, m, length = 0xFFFFFFFF, 0x5BD1E995, len(data)
    h = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def home_partition(job_id: str, partitions: int) -> int:
    """Return the partition that owns a job, whatever partitioner its producer had: that of its session, if it has one.

    Args:
        job_id: the job; its session alone gives the same.
        partitions: the partition count of ``jobs`` and its companions.
    """
    return (murmur2((session_of(job_id) or job_id).encode()) & 0x7FFFFFFF) % partitions
