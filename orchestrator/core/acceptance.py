"""May this submission run? Pure checks of one job against its compiled workflow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.json_value import json_problem
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ItemsRef, Submission


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job is rejected."""

    kind: ErrorKind
    """The reason on its outcome."""
    message: str
    """For people; names each field, quotes no value."""


def check_input(graph: Graph, value: Any, *, max_bytes: int, apart_from: str | None = None) -> Refusal | str:
    """Return the input's canonical JSON, or why it cannot be taken.

    Args:
        graph: the workflow.
        value: the input.
        max_bytes: the most its canonical JSON may have.
        apart_from: a field that is given by reference: the schema is checked without it.
    """
    if found := json_problem(value):
        path, reason = found
        return Refusal(ErrorKind.INVALID_INPUT, f"input{'.' if path else ''}{path}: {reason}")
    data = canonical_json(value)
    if len(data) > max_bytes:
        return Refusal(ErrorKind.TOO_LARGE, f"the input has {len(data):,} bytes; the limit is {max_bytes:,}")
    if wrong := findings(graph.input_schema, value, apart_from=apart_from):
        listed = "; ".join(wrong)
        return Refusal(ErrorKind.INVALID_INPUT, f"the input does not fit {graph.ref}: {listed}")
    return data.decode()


def content_hash(workflow: Any, value: Any, items: ItemsRef | None = None) -> str:
    """Return the hash that tells a repeated submission from another one under the same id.

    Args:
        workflow: as submitted: a reference or a whole workflow.
        value: the input.
        items: the items, where they are given by reference.
    """
    return hash_of_parts(workflow, hashlib.sha256(canonical_json(value)).hexdigest(), items)


def hash_of_parts(workflow: Any, input_sha256: str, items: ItemsRef | None) -> str:
    """Return the content hash from that of the input's canonical JSON: the same, whichever way the input came.

    Items by reference count by the content of their parts and not by where these lie. The same items cut in another
    way are other content: to see that they are the same, all of them would have to be read.
    """
    parts: dict[str, Any] = {"workflow": workflow, "input_sha256": input_sha256}
    if items is not None:
        parts["items"] = [[part.sha256, part.items] for part in items.parts]
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def submission_hash(submission: Submission) -> str:
    """Return the content hash of a submission, its input by reference taken to be canonical JSON.

    It is, where Headrace wrote it. The core looks closer where another producer did (`inputs.read_input`).
    """
    if submission.input_ref is not None:
        return hash_of_parts(submission.workflow, submission.input_ref.sha256, submission.items)
    return content_hash(submission.workflow, submission.input, submission.items)
