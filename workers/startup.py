"""What a worker checks before it takes work: the broker, its topics, and whether its endpoint listens."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.runtime.kafka import wait_for_broker
from headrace.runtime.needs import worker_needs
from headrace.runtime.settings import Settings
from headrace.runtime.start_checks import check_kafka
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch
from headrace.schemas.messages import Lane
from headrace.workers.settings import WorkerPlan

log = structlog.get_logger("headrace.worker")


def wait_for_topics(plan: WorkerPlan, settings: Settings) -> dict[str, int]:
    """Return the partition counts of the pool's topics once they all exist.

    Topics are made by ``headrace topics apply`` or by the orchestrator, which may be starting at this moment.

    Raises:
        DependencyUnavailable: no broker, or a topic is missing when the time is over, or the journal is too narrow, or
            rights or limits do not fit.
    """
    names = settings.topic_names
    wanted = [
        *(names.tasks(plan.pool_name, lane) for lane in Lane),
        names.attempts(plan.pool_name),
        names.results,
        names.control,
        names.dead_letters,
    ]
    admin = wait_for_broker(settings)
    deadline, found = time.monotonic() + settings.kafka.connect_timeout_s, _partition_counts(admin)
    while missing := [name for name in wanted if name not in found]:
        if time.monotonic() >= deadline:
            raise TopicMismatch(f"topics are missing: {', '.join(missing)}", "headrace topics apply")
        time.sleep(0.2)
        found = _partition_counts(admin)
    counts = {name: found[name] for name in wanted}
    journal = names.attempts(plan.pool_name)
    if counts[journal] < (tasks := max(counts[names.tasks(plan.pool_name, lane)] for lane in Lane)):
        # A partition of tasks is journalled on the partition with its number.
        raise TopicMismatch(f"{journal} has {counts[journal]} partitions, {tasks} are needed", "headrace topics apply")
    check_kafka(admin, settings, worker_needs(settings, plan.pool_name))
    return counts


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    try:
        found = admin.list_topics(timeout=5.0).topics
    except KafkaException as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error.args[0].str()}", "see headrace doctor") from None
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


async def warn_if_closed(plan: WorkerPlan) -> None:
    """Warn where nothing listens at the endpoint. The worker runs on: calls fail as ``network`` and are retried."""
    if not plan.endpoint.base_url:
        return
    url = urlsplit(plan.endpoint.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(url.hostname, port)
    except (OSError, TimeoutError):
        log.warning("endpoint.unreachable", endpoint=plan.pool.endpoint, host=url.hostname, port=port)
        return
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
