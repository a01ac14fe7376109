"""How an input travels: inline where it is small, else through the object store, up to the largest there may be."""

from __future__ import annotations

from collections.abc import Callable

from headrace.runtime.objects import ObjectStore
from headrace.schemas.codec import canonical_json, encode
from headrace.schemas.errors import ConfigError, ContractError
from headrace.schemas.messages import Submission
from headrace.schemas.submission import MAX_JOB_BYTES

MAX_RECORD_BYTES = 950_000
"""A submission with its headers and key must pass Kafka's limit of a million bytes, also where it is forwarded."""


def travelling(submission: Submission, store: Callable[[], ObjectStore], *, inline_bytes: int) -> Submission:
    """Return a submission as it is to be written: its input replaced by a reference where it is large.

    What is stored is canonical JSON, so an orchestrator knows a repetition by its hash alone.

    Args:
        store: opens the object store.
        inline_bytes: above this an input goes through the store.

    Raises:
        ContractError: the input is larger than a job's may be, or no JSON.
        ConfigError: the extra ``objects`` is not installed, and the input does not fit without it.
        DependencyUnavailable: the object store does not answer.
    """
    if submission.input_ref is not None:
        return submission
    try:
        text = canonical_json(submission.input)
    except ValueError as error:
        raise ContractError(f"the input is no JSON: {error}", kind="invalid_input") from None
    if len(text) > MAX_JOB_BYTES:
        raise ContractError(
            f"the input has {len(text):,} bytes; the limit is {MAX_JOB_BYTES:,}",
            "split the job, or give a long list as items (--items FILE.jsonl, or items=… of the client)",
            kind="too_large",
        )
    fits = len(encode(submission)) <= MAX_RECORD_BYTES
    if fits and len(text) <= inline_bytes:
        return submission
    try:
        ref = store().put(text)
    except ConfigError:
        if fits:
            return submission
        raise
    return submission.model_copy(update={"input": {}, "input_ref": ref})
