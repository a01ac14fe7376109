"""Whether a submission becomes a job: its workflow, its input, its size, its budget, who may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.acceptance import Refusal, check_input
from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.items_admission import check_items
from headrace.orchestrator.core.nested_admission import Nested, NestingInvalid, nested_graphs, public_calls
from headrace.orchestrator.core.view import Environment
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind, HeadraceError, WorkflowInvalid
from headrace.schemas.ids import SESSION_MARK, session_of
from headrace.schemas.messages import Failure, Sensitivity, Submission


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission that holds."""

    graph: Graph
    input_text: str
    """The input's canonical JSON."""


def admit(
    submission: Submission, value: dict[str, Any], environment: Environment, *, job_id: str
) -> Accepted | Failure:
    """Return what the job runs from, or why it is rejected. Nothing is half accepted.

    Args:
        value: the input, whichever way it was given.
        job_id: the job; it decides which of two versions it gets.
    """
    if submission.workflow is None:
        return Failure(kind=ErrorKind.INVALID_JOB, message="field 'workflow' is missing: name one, or write it inline")
    try:
        document = environment.resolve(submission.workflow, job_id)
        graph = environment.compile(canonical_json(document).decode())
    except WorkflowInvalid as error:
        return Failure(kind=ErrorKind.INVALID_WORKFLOW, message=error.message)
    except HeadraceError as error:
        return Failure(kind=ErrorKind.UNKNOWN_WORKFLOW, message=f"{error.message}. {error.hint}".rstrip(". "))
    except ValueError as error:
        return Failure(kind=ErrorKind.INVALID_WORKFLOW, message=f"the workflow is not JSON: {error}")
    apart_from = None if submission.items is None else "items"
    most = environment.limits.max_job_bytes
    text = check_input(graph, value, max_bytes=most, apart_from=apart_from)
    if isinstance(text, Refusal):
        return Failure(kind=text.kind, message=text.message)
    if submission.items is not None and (failure := check_items(graph, submission.items, environment)):
        return failure
    failure = _check_session(submission, graph, job_id) or _check_all(submission, graph, environment, job_id)
    return failure or Accepted(graph, text)


def _check_all(submission: Submission, graph: Graph, environment: Environment, job_id: str) -> Failure | None:
    """Check the workflow and all that it nests: a nested job that is refused would come to light hours later."""
    confidential = submission.sensitivity is Sensitivity.CONFIDENTIAL
    if not graph.nests:
        return _check_budget(submission, graph) or (_check_pools(graph, environment) if confidential else None)

    def find(workflow: str | dict[str, Any]) -> Graph:
        return environment.compile(canonical_json(environment.resolve(workflow, job_id)).decode())

    depth = submission.parent.depth if submission.parent is not None else 0
    try:
        below = list(nested_graphs(graph, find, depth=depth))
    except NestingInvalid as error:
        return Failure(kind=ErrorKind.INVALID_WORKFLOW, message=error.message)
    for each in (Nested("", graph), *below):
        failure = _check_budget(submission, each.graph)
        if failure is None and (confidential or each.confidential):
            failure = _check_pools(each.graph, environment)
        if failure is not None:
            where = f"{each.way}: " if each.way else ""
            return failure.model_copy(update={"message": f"{where}{failure.message}"[:2_000]})
    return None


def _check_session(submission: Submission, graph: Graph, job_id: str) -> Failure | None:
    """Steps in turn need a session; a nested job has none of its own, and would wait for the job above it."""
    if not graph.in_turn:
        return None
    steps = ", ".join(graph.in_turn)
    if submission.parent is not None:
        return Failure(
            kind=ErrorKind.INVALID_WORKFLOW, message=f"key: session ({steps}) is for jobs that are not nested"
        )
    if session_of(job_id) is None:
        message = f"steps with key: session ({steps}) need a session: begin the job_id with SESSION{SESSION_MARK}"
        return Failure(kind=ErrorKind.INVALID_JOB, message=message)
    return None


def _check_budget(submission: Submission, graph: Graph) -> Failure | None:
    """A budget can only be kept where every call has an upper bound."""
    if submission.budget is None:
        return None
    unbounded = [step.name for step in graph.steps if any(call.max_output_tokens is None for call in step.calls)]
    if not unbounded:
        return None
    message = f"a budget needs max_output_tokens on every call; missing on: {', '.join(unbounded)}"
    return Failure(kind=ErrorKind.INVALID_JOB, message=message)


def _check_pools(graph: Graph, environment: Environment) -> Failure | None:
    """Nothing confidential reaches a topic that a public provider's pool reads."""
    public = public_calls(graph, environment.public_pools)
    if not public:
        return None
    message = f"a confidential job cannot use pools of public endpoints or public tools: {', '.join(public)}"
    return Failure(kind=ErrorKind.INVALID_JOB, message=message)
