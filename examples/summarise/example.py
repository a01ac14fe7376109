"""A long speech in, one paragraph out: sections in parallel, and a tree of merges."""

from __future__ import annotations

import json
from collections.abc import Iterator

from headrace.console.models import SCRIPT
from headrace.examples.deployment import Deployment
from headrace.examples.stage import Stage
from headrace.runtime.pools import load_pools
from headrace.schemas.codec import decode
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Lane, LlmCall, Task

BUDGET_TOKENS = 60_000


def run(stage: Stage) -> None:
    speech = json.loads((stage.home / "input" / "kennedy-1963.json").read_text(encoding="utf-8"))
    model = stage.model(SCRIPT)
    here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}, "../pools.yaml"))
    job_id = here.submit("summarise", speech, budget={"tokens": BUDGET_TOKENS})
    outcome = here.outcome(job_id)
    stage.say(f"  summary: {outcome.output}")
    stage.expect("the job succeeded", outcome.status.value == "succeeded", outcome.message or "")
    sections = dict(_sections(here, job_id))
    stage.expect(
        "every section was used once, and in order they are the speech",
        _squeezed("".join(sections[index] for index in range(len(sections)))) == _squeezed(speech["text"]),
        f"{len(sections)} sections",
    )
    merges = outcome.receipt.steps["summary"].tasks
    stage.expect("the notes were merged level by level", merges > 1, f"{merges} merges of at most 8 notes each")
    used = outcome.receipt.usage.input_tokens + outcome.receipt.usage.output_tokens
    stage.expect("the tokens stayed within the budget", used <= BUDGET_TOKENS, f"{used:,} of {BUDGET_TOKENS:,}")


def _sections(here: Deployment, job_id: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each section, from the tasks as the workers got them."""
    names, pools = here.settings.topic_names, load_pools(here.settings.pools_file).pools
    tasks = [decode(Task, one.value() or b"") for pool in pools for one in here.records(names.tasks(pool, Lane.BATCH))]
    for task in tasks:
        place = TaskId.parse(task.task_id)
        if task.job_id == job_id and place.step == "notes" and isinstance(task.call, LlmCall):
            yield place.index, str(task.call.messages[0].content).rpartition("\n\nIn one sentence")[0]


def _squeezed(text: str) -> str:
    return "".join(text.split())
