"""Finds one job on the topics: its records on ``state``, its outcome on ``outcomes``.

The home partition is read from its beginning: compaction keeps ``state`` small, and there is no other index. What that
costs, docs/cli.md says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING
from pydantic import BaseModel

from headrace.console.failure import warn
from headrace.console.job_report import JobReport, report_job, report_outcome
from headrace.console.reader import Place, TopicReader, scan
from headrace.orchestrator.core.record_codec import decode_record
from headrace.orchestrator.core.state import Marker, StateRecord, job_key, marker_key
from headrace.runtime.kafka import headers_of
from headrace.runtime.settings import Settings
from headrace.schemas.codec import decode, header_map
from headrace.schemas.errors import ContractError, DecodeError, HeadraceError
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Event, Outcome

M = TypeVar("M", bound=BaseModel)


class UnknownJob(HeadraceError):
    """Nothing is known of a job: never submitted here, not read by an orchestrator yet, or long forgotten."""


def unknown_job(job_id: str, settings: Settings) -> UnknownJob:
    """Return the error, with the prefix that was looked under."""
    return UnknownJob(
        f"no job {job_id!r} under prefix {settings.topics.prefix!r}",
        "is an orchestrator running, and is the prefix right? Also look at: headrace dead-letters list",
    )


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a job lives."""

    job_id: str
    partition: int


def place_of(reader: TopicReader, settings: Settings, job_id: str) -> JobPlace:
    """Return a job's home, by the partition count that ``state`` really has."""
    return JobPlace(job_id, home_partition(job_id, reader.partitions(settings.topic_names.state)))


def read_records(reader: TopicReader, settings: Settings, job_id: str) -> dict[str, StateRecord]:
    """Return the header and the marker of a job, as far as they are there."""
    where = place_of(reader, settings, job_id)
    wanted = {job_key(job_id).encode(), marker_key(job_id).encode()}
    latest: dict[str, bytes | None] = {}
    place = (settings.topic_names.state, where.partition)
    for message in scan(reader, {place: OFFSET_BEGINNING}, keep=lambda key: key in wanted):
        latest[message.key().decode()] = message.value()
    records: dict[str, StateRecord] = {}
    for key, value in latest.items():
        apply_record(records, key, value)
    return records


def read_report(reader: TopicReader, settings: Settings, job_id: str) -> JobReport | None:
    """Return what is known of a job, or None. A job whose marker has gone is found by its outcome."""
    found = report_job(job_id, read_records(reader, settings, job_id))
    if found is not None:
        return found
    outcome = _read_outcomes(reader, settings, job_id)
    return report_outcome(outcome) if outcome else None


def read_outcome(reader: TopicReader, settings: Settings, job_id: str) -> Outcome | None:
    """Return a job's outcome from its marker, or from ``outcomes`` once the marker has gone; None before its end."""
    records = read_records(reader, settings, job_id)
    marker = records.get(marker_key(job_id))
    if isinstance(marker, Marker) and marker.outcome:
        return Outcome.model_validate_json(marker.outcome)
    return None if job_key(job_id) in records else _read_outcomes(reader, settings, job_id)


def _read_outcomes(reader: TopicReader, settings: Settings, job_id: str) -> Outcome | None:
    partition = place_of(reader, settings, job_id).partition
    place, wanted, found = (settings.topic_names.outcomes, partition), job_id.encode(), None
    for message in scan(reader, {place: OFFSET_BEGINNING}, keep=lambda key: key == wanted):
        outcome = read_message(Outcome, message)
        found = outcome if outcome is not None and outcome.job_id == job_id else found
    return found


def read_message(model: type[M], message: Any) -> M | None:
    """Return a record's message, or None with a warning: one record that cannot be read hides no other."""
    try:
        return decode(model, message.value(), header_map(headers_of(message)))
    except ContractError as error:
        warn(f"{message.topic()}[{message.partition()}]@{message.offset()} was passed over: {error.message}")
        return None


def follow(
    reader: TopicReader, settings: Settings, job_id: str, *, every_s: float, patience_s: float = 10.0
) -> Iterator[JobReport | Event]:
    """Yield a job's reports and events as they are committed, the last one finished.

    While nothing is committed the last report comes again every ``every_s``, so that a screen can be drawn anew.

    Args:
        every_s: how long nothing may be yielded, once the job is known.
        patience_s: how long a job may stay unknown: one that was just submitted is not on ``state`` yet.

    Raises:
        UnknownJob: nothing came to be known of it.
    """
    names, partition = settings.topic_names, place_of(reader, settings, job_id).partition
    places: list[Place] = [(names.state, partition), (names.events, partition)]
    reader.assign(dict.fromkeys(places, OFFSET_BEGINNING))
    records: dict[str, StateRecord] = {}
    keys = {job_key(job_id), marker_key(job_id)}
    shown, give_up = 0.0, time.monotonic() + patience_s
    while True:
        changed = False
        for message in reader.read(min(every_s, 0.25)):
            key = (message.key() or b"").decode(errors="replace")
            if message.topic() == names.events and key == job_id:
                if (event := read_message(Event, message)) is not None:
                    yield event
            elif message.topic() == names.state and key in keys:
                changed = True
                apply_record(records, key, message.value())
        report = report_job(job_id, records)
        if report is None and time.monotonic() > give_up:
            raise unknown_job(job_id, settings)
        if report is None or not (reader.at_end and (changed or time.monotonic() - shown >= every_s)):
            continue
        shown = time.monotonic()
        yield report
        if report.finished:
            return


def apply_record(records: dict[str, StateRecord], key: str, value: bytes | None) -> None:
    if value is None:
        records.pop(key, None)
        return
    try:
        records[key] = decode_record(key, value)
    except DecodeError as error:
        warn(error.message)
