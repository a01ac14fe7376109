"""Which jobs run and which are over: many at once, each home partition read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from confluent_kafka import OFFSET_BEGINNING

from headrace.console.job_reader import apply_record, read_message
from headrace.console.job_report import report_job
from headrace.console.reader import TopicReader, scan
from headrace.orchestrator.core.state import Marker, StateRecord, job_key, marker_key
from headrace.runtime.settings import Settings
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Outcome

RUNNING = "running"


def read_states(reader: TopicReader, settings: Settings, job_ids: Iterable[str]) -> dict[str, str]:
    """Return by job ``running`` or how it ended; jobs of which nothing is known are left out.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    names, count = settings.topic_names, reader.partitions(settings.topic_names.state)
    by_home: dict[int, set[str]] = defaultdict(set)
    for job_id in job_ids:
        by_home[home_partition(job_id, count)].add(job_id)
    states: dict[str, str] = {}
    for home, wanted in by_home.items():
        states.update(_from_state(reader, (names.state, home), wanted))
        if missing := wanted - states.keys():
            states.update(_from_outcomes(reader, (names.outcomes, home), missing))
    return states


def _from_state(reader: TopicReader, place: tuple[str, int], wanted: set[str]) -> dict[str, str]:
    keys = {key(job_id).encode(): job_id for job_id in wanted for key in (job_key, marker_key)}
    records: dict[str, dict[str, StateRecord]] = defaultdict(dict)
    for message in scan(reader, {place: OFFSET_BEGINNING}, keep=lambda key: key in keys):
        apply_record(records[keys[message.key()]], message.key().decode(), message.value())
    found: dict[str, str] = {}
    for job_id, of_job in records.items():
        report = report_job(job_id, of_job)
        lost = isinstance(of_job.get(marker_key(job_id)), Marker)  # It ended, though nobody knows here how.
        if report is not None or lost:
            found[job_id] = report.status if report else "over"
    return found


def _from_outcomes(reader: TopicReader, place: tuple[str, int], wanted: set[str]) -> dict[str, str]:
    keys = {job_id.encode() for job_id in wanted}
    found: dict[str, str] = {}
    for message in scan(reader, {place: OFFSET_BEGINNING}, keep=lambda key: key in keys):
        outcome = read_message(Outcome, message)
        if outcome is not None and outcome.job_id.encode() == message.key():
            found[outcome.job_id] = outcome.status.value
    return found
