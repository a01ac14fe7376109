"""Where attempts are run: the pool, this process, and what every attempt looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.runtime.objects import ObjectStore
from headrace.schemas.pools import Pool


@dataclass(frozen=True, slots=True)
class Workplace:
    """What runners have in common, whatever calls they make."""

    pool_name: str
    """The pool, as its topics are called."""
    pool: Pool
    worker: str
    """This process, for results."""
    is_cancelled: Callable[[str], bool]
    """Whether a job is known to be cancelled."""
    objects: Callable[[], ObjectStore]
    """Opens the object store when it is first needed."""
    inline_bytes: int
    """Above this an output travels as a reference."""
    is_called_off: Callable[[str], bool] = lambda _task_id: False
    """Whether a single task is known not to be wanted any more."""
    public: bool = False
    """Whether the endpoint lies outside; then no confidential task is called, whoever dispatched it."""
