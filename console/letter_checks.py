"""Whether an edited value may be sent: by the same rules as those who will read it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from headrace.schemas.agreement import check_result, check_task
from headrace.schemas.codec import decode, header_map
from headrace.schemas.errors import ContractError
from headrace.schemas.ids import check_job_id
from headrace.schemas.messages import Control, Redrive, Result, Submission, Task


class Kind(StrEnum):
    """What a record was before it was set aside."""

    JOB = "job"
    RESULT = "result"
    TASK = "task"
    ORDER = "order"
    EXHAUSTED = "exhausted"
    """A task that failed for good; what can be edited is the payload of its redrive."""


def check_value(
    kind: Kind,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]] = (),
    *,
    pool: str = "",
    partitions: int = 1,
) -> list[str]:
    """Return everything that is wrong with an edited value; empty where it may be sent.

    Args:
        pool: the pool that a task goes to.
        partitions: count of ``results``.
    """
    try:
        match kind:
            case Kind.JOB:
                return _job_problems(key, decode(Submission, value))
            case Kind.RESULT:
                check_result(decode(Result, value), header_map(headers))
            case Kind.TASK:
                check_task(decode(Task, value), header_map(headers), pool=pool, result_partitions=partitions)
            case Kind.ORDER:
                return _order_problems(key, decode(Control, value))
            case Kind.EXHAUSTED:
                decode(Redrive, value)
    except ContractError as error:
        return [error.message]
    return []


def _order_problems(key: bytes | None, order: Control) -> list[str]:
    if order.subject.encode() == key:
        return []
    return [f"subject is {order.subject[:80]!r}, and the record's key {(key or b'').decode('utf-8', 'replace')!r}"]


def _job_problems(key: bytes | None, submission: Submission) -> list[str]:
    problems = []
    if submission.job_id is not None:
        check_job_id(submission.job_id)
    elif not key and submission.type != "job":
        problems.append(f"a {submission.type} needs a job_id")
    if submission.type == "job" and submission.workflow is None:
        problems.append("field 'workflow' is missing")
    return problems
