"""Reads what the tasks of one step answered, from ``results``."""

from __future__ import annotations

import json

from confluent_kafka import OFFSET_BEGINNING

from headrace.console.job_reader import place_of
from headrace.console.reader import TopicReader, scan
from headrace.runtime.settings import Settings
from headrace.schemas.codec import decode
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Result


def read_outputs(reader: TopicReader, settings: Settings, job_id: str, *, step: str) -> list[str]:
    """Return the answers of a step's tasks in the order of its items, failed ones left out."""
    place = (settings.topic_names.results, place_of(reader, settings, job_id).partition)
    wanted, found = job_id.encode(), dict[int, str]()
    for message in scan(reader, {place: OFFSET_BEGINNING}, keep=lambda key: key == wanted):
        result = decode(Result, message.value())
        task = TaskId.parse(result.task_id)
        if task.step == step and result.failure is None:
            found[task.index] = _text(result, settings)
    return [found[index] for index in sorted(found)]


def _text(result: Result, settings: Settings) -> str:
    output = result.output
    if result.output_ref is not None:
        from headrace.runtime.objects import open_objects

        output = json.loads(open_objects(settings).get(result.output_ref))
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
