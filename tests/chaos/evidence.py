"""What was seen in a run, as plain data: the judges read nothing else, so a test can make any of it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.machine import Machine
from tests.chaos.plan import Fault


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come of a job."""

    statuses: tuple[str, ...] = ("succeeded",)
    """How it may end."""
    output: Any = None
    """What it must put out where it succeeds; None: whatever it likes."""
    may_be_cut: bool = False
    """Whether its texts may end early, as the provider cut them."""
    letters: tuple[str, ...] = ()
    """Reasons of dead letters that may lie there for it."""
    must_letters: tuple[str, ...] = ()
    """Reasons of dead letters that must lie there for it."""
    budget_microusd: int | None = None
    """What it may spend."""


@dataclass(slots=True)
class Submitted:
    """A job as it was submitted."""

    kind: str
    """What sort of job, for people."""
    expects: Expectation
    accepted_s: float | None = None
    """When Kafka first acknowledged it; None: never, so nothing may be said of it."""
    copies: int = 0
    """Acknowledged submissions of the same content."""
    conflicts: int = 0
    """Acknowledged submissions of other content under the same id."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record of ``outcomes``."""

    job_id: str
    ce_id: str
    repeat: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of ``dead-letters``."""

    reason: str
    job_id: str | None
    place: str
    """``topic[partition]@offset`` of what was set aside."""
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """A line of the provider's log, on the run's clock."""

    task_id: str
    attempt: int
    caller: str
    began_s: float
    ended_s: float
    status: int
    fault: str
    cost_microusd: int

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"{self.task_id}:{self.attempt}"

    @property
    def job_id(self) -> str:
        return self.task_id.partition("/")[0]

    @property
    def good(self) -> bool:
        """Whether a worker takes this answer for an answer: a further call of the task is one too many."""
        return self.status == 200 and self.fault in ("", "stall", "truncated")


@dataclass(frozen=True, slots=True)
class Done:
    """A fault as it was carried out."""

    fault: Fault
    began_s: float
    ended_s: float
    """When everything ran again and said that it is ready."""
    note: str = ""
    """What went wrong with it."""

    @property
    def name(self) -> str:
        return f"{self.fault.act.value} {', '.join(self.fault.members) or self.fault.role}"


@dataclass(frozen=True, slots=True)
class Probe:
    """A small job for one partition."""

    job_id: str
    partition: int
    """Of ``jobs``."""
    task_partition: int
    """Of its pool's task topic."""
    acknowledged_s: float
    done_s: float | None
    """When its outcome could be read; None: it never could."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A process that ended."""

    name: str
    at_s: float
    code: int
    asked: str
    """``kill`` or ``term`` where it was our doing."""
    said: str
    """Its last lines, where it was not."""


@dataclass(frozen=True, slots=True)
class Run:
    """Which run it was."""

    date: str = ""
    """When it began, UTC, to the minute."""
    version: str = ""
    """Of Headrace."""
    kafka: str = ""
    """Version of Apache Kafka."""
    protocol: str = "classic"
    seed: int = 0
    seconds: float = 0.0
    brokers: int = 3


@dataclass(slots=True)
class Evidence:
    """All of it."""

    run: Run = field(default_factory=Run)

    submitted: dict[str, Submitted] = field(default_factory=dict)
    """By job id; probes are among them."""
    nameless: int = 0
    """Submissions without an id whose place on ``jobs`` is not known."""
    outcomes: list[Seen] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    stray_letters: list[str] = field(default_factory=list)
    """Places of submissions without any id that must lie in the dead letters."""
    calls: list[Call] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    lags: dict[str, int] = field(default_factory=dict)
    """Records that are not committed as done, by ``group topic[partition]``; only where there are any."""
    state_keys: list[str] = field(default_factory=list)
    """Keys of ``state`` that have a value after the end."""
    settled_s: float = 0.0
    """How long after the end of the load everything was over."""
    settle_limit_s: float = 120.0
    slowest_ack_s: float = 0.0
    """The longest wait for Kafka's acknowledgement of a probe."""
    machine: Machine = field(default_factory=Machine)
