"""What each service does with Kafka: the table "ACLs" of docs/operations.md, as the checks at start use it."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.runtime.settings import Settings
from headrace.runtime.start_checks import Needs
from headrace.schemas.messages import Lane

_READ = frozenset({"Read"})
_WRITE = frozenset({"Write"})
_BOTH = _READ | _WRITE


def orchestrator_needs(settings: Settings, pools: Iterable[str]) -> Needs:
    """Return what an orchestrator needs."""
    topics, pools = settings.topic_names, list(pools)
    tasks = [topics.tasks(pool, lane) for pool in pools for lane in Lane]
    written = [*tasks, topics.outcomes, topics.events, topics.control, topics.dead_letters]
    return Needs(
        topics={
            topics.jobs: _BOTH,
            topics.state: _BOTH,
            topics.results: _READ,
            **dict.fromkeys(written, _WRITE),
        },
        groups=(topics.orchestrator_group, *(topics.worker_group(pool) for pool in pools[:1])),
        transactions=True,
        inline_topics=(topics.jobs, topics.state, topics.outcomes, *tasks),
    )


def worker_needs(settings: Settings, pool: str) -> Needs:
    """Return what a worker of a pool needs."""
    topics = settings.topic_names
    return Needs(
        topics={
            **dict.fromkeys((topics.tasks(pool, lane) for lane in Lane), _READ),
            topics.control: _READ,
            topics.results: _WRITE,
            topics.dead_letters: _WRITE,
            topics.attempts(pool): _BOTH,
        },
        groups=(topics.worker_group(pool),),
        inline_topics=(topics.results, topics.attempts(pool)),
    )
