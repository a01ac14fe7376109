"""Every error that Headrace raises, and every error kind that crosses Kafka.

::

    HeadraceError                 has a message, a hint (what to do) and an exit code
      ├─ ConfigError              settings, pools file, command line (exit 2)
      │   └─ WorkflowInvalid      a workflow with all of its problems
      ├─ DependencyUnavailable    broker, model server, Java, object store (exit 3)
      │   └─ TopicMismatch        topics that differ from the plan
      ├─ ContractError            a message that breaks the public contract
      │   ├─ DecodeError          not JSON, wrong shape, wrong encoding
      │   └─ UnknownSchemaVersion written by a newer Headrace
      ├─ IllegalTransition        an event that the job's state cannot take; the state is unchanged
      ├─ AdapterError             a provider or tool call that failed: kind, retry_after_ms, unconfirmed
      └─ SessionError             the Kafka session is not what it was
          ├─ Fenced               another instance has this one's place
          ├─ CommitFailed         aborted; the batch is to be read again
          └─ SessionLost          unknown ending; the producer is to be made anew and the state restored
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HeadraceError(Exception):
    """Base of all our errors: what went wrong and what to do about it.

    Args:
        message: what went wrong and where, without secrets.
        hint: what the reader can do about it.
    """

    exit_code: int = 1
    """The exit code of a command that ends with this error."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(HeadraceError):
    """Settings, a file or a command line that cannot be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a workflow, placed where the author can find it."""

    path: str
    """Where in the workflow, for example ``steps.notes.llm.pool``."""
    message: str
    """What is wrong, with a suggestion where one is near."""
    line: int | None = None
    """Line in the file, counted from 1; None for an inline workflow."""

    def __str__(self) -> str:
        place = f"line {self.line}: {self.path}" if self.line else self.path
        return f"{place}: {self.message}"


class WorkflowInvalid(ConfigError):
    """A workflow that does not hold; carries all of its problems at once."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        listed = "; ".join(str(problem) for problem in problems)
        super().__init__(f"workflow {name} is invalid: {listed}")
        self.problems = problems


class DependencyUnavailable(HeadraceError):
    """Something outside this process that it cannot work without."""

    exit_code = 3


class TopicMismatch(DependencyUnavailable):
    """Topics that are missing or differ from the plan, all differences listed."""


class ContractError(HeadraceError):
    """A message that breaks the public contract."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "", *, kind: str = "contract") -> None:
        super().__init__(message, hint)
        self.kind = kind


class DecodeError(ContractError):
    """A message that cannot be read: not UTF-8, not JSON, or of another shape."""


class UnknownSchemaVersion(ContractError):
    """A message written by a newer Headrace than this one."""


class IllegalTransition(HeadraceError):
    """An event that the state of its job cannot take. The state is unchanged."""


class ErrorKind(StrEnum):
    """Why a task or a job failed. The names are part of the contract; `KINDS` has their meaning."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    NETWORK = "network"
    SERVER_ERROR = "server_error"
    INTERRUPTED = "interrupted"
    MALFORMED_OUTPUT = "malformed_output"
    TRUNCATED = "truncated"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    BUDGET_EXCEEDED = "budget_exceeded"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    INVALID_JOB = "invalid_job"
    UNKNOWN_WORKFLOW = "unknown_workflow"
    INVALID_WORKFLOW = "invalid_workflow"
    INVALID_INPUT = "invalid_input"
    UNKNOWN_POOL = "unknown_pool"
    TOO_LARGE = "too_large"
    PAYLOAD_LOST = "payload_lost"


@dataclass(frozen=True, slots=True)
class KindRule:
    """What the orchestrator does with an error kind."""

    retriable: bool
    """Whether another attempt can help."""
    meaning: str
    """One sentence for people."""


KINDS: dict[ErrorKind, KindRule] = {
    ErrorKind.RATE_LIMITED: KindRule(True, "The provider asked for fewer calls (HTTP 429)."),
    ErrorKind.OVERLOADED: KindRule(True, "The provider has no capacity now (HTTP 503, 529)."),
    ErrorKind.TIMEOUT: KindRule(True, "No answer within the step's timeout_s."),
    ErrorKind.NETWORK: KindRule(True, "The connection failed or broke before the whole answer was read."),
    ErrorKind.SERVER_ERROR: KindRule(True, "The provider failed (HTTP 5xx)."),
    ErrorKind.INTERRUPTED: KindRule(True, "The worker stopped before the call ended."),
    ErrorKind.MALFORMED_OUTPUT: KindRule(True, "The answer is not what the step's output schema asks for."),
    ErrorKind.TRUNCATED: KindRule(False, "The answer ended at max_output_tokens though a schema needs it whole."),
    ErrorKind.CONTEXT_TOO_LONG: KindRule(False, "The prompt does not fit the model's context."),
    ErrorKind.CONTENT_FILTERED: KindRule(False, "The provider refused the content."),
    ErrorKind.AUTH: KindRule(False, "The provider refused the key, or the money is used up."),
    ErrorKind.BAD_REQUEST: KindRule(False, "The provider cannot understand the request (HTTP 4xx)."),
    ErrorKind.DEADLINE_EXCEEDED: KindRule(False, "The deadline passed."),
    ErrorKind.BUDGET_EXCEEDED: KindRule(False, "The job's budget does not allow the next call."),
    ErrorKind.CANCELLED: KindRule(False, "The job was cancelled."),
    ErrorKind.INTERNAL: KindRule(False, "Headrace itself failed; the dead letter has the cause."),
    ErrorKind.INVALID_JOB: KindRule(False, "The submission breaks the contract."),
    ErrorKind.UNKNOWN_WORKFLOW: KindRule(False, "No orchestrator has this workflow."),
    ErrorKind.INVALID_WORKFLOW: KindRule(False, "The workflow does not hold; the message lists every problem."),
    ErrorKind.INVALID_INPUT: KindRule(False, "The input does not fit the workflow's input schema."),
    ErrorKind.UNKNOWN_POOL: KindRule(False, "The workflow names a pool that the pools file lacks."),
    ErrorKind.TOO_LARGE: KindRule(False, "The job is above a size limit."),
    ErrorKind.PAYLOAD_LOST: KindRule(False, "A payload is gone from the object store, or is not what was stored."),
}


class AdapterError(HeadraceError):
    """A provider or tool call that failed.

    Args:
        kind: decides whether the orchestrator tries again.
        message: for people, without prompts and without secrets.
        retry_after_ms: the provider's own wish, in milliseconds, or None.
        unconfirmed: the request may have reached the provider, and its bill is not known.
    """

    def __init__(
        self, kind: ErrorKind, message: str, *, retry_after_ms: int | None = None, unconfirmed: bool = False
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_ms = retry_after_ms
        self.unconfirmed = unconfirmed


class SessionError(HeadraceError):
    """The Kafka session is not what it was."""


class Fenced(SessionError):
    """Another instance has taken this one's transactional id or partitions."""


class CommitFailed(SessionError):
    """The transaction was aborted; the batch is to be read and decided again."""


class SessionLost(SessionError):
    """A transaction whose ending is unknown: make the producer anew, restore the state from the log."""
