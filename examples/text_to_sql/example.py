"""A question in words becomes SQL that is looked at before it runs, from a prompt with few of 48 tables."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from headrace.examples.deployment import Deployment
from headrace.examples.stage import Stage
from headrace.examples.text_to_sql.answers import Question, questions, script
from headrace.examples.text_to_sql.shop import DATABASE_VARIABLE, build, tables
from headrace.schemas.messages import Outcome

Outcomes = Mapping[str, Outcome]
"""By the question."""
LEAST_SAVED = 0.5


def run(stage: Stage) -> None:
    stage.needs("sqlglot", extra="examples")
    asked = questions(stage.home / "input" / "questions.json")
    database, pages = build(stage.scratch)
    before = sha256(database.read_bytes()).hexdigest()
    model = stage.provider(script(asked))
    here = stage.deploy(
        stage.pools({"127.0.0.1:9801": model.address, "build/tables": pages, "build/shop.db": database}),
        workflows=[stage.home / "workflow.yaml", stage.home / "whole.yaml"],
        environment={DATABASE_VARIABLE: str(database)},
    )
    pruned = _ask(here, "text-to-sql", asked, {})
    whole = _ask(here, "text-to-sql-whole", asked, {"schema": "\n".join(table.page for table in tables())})
    _right(stage, asked, pruned, whole)
    if stage.given_pools is None:
        _found(stage, asked, model.prompts())
    _cheap(stage, pruned, whole)
    _safe(stage, here, asked, pruned)
    stage.expect("and the database is as it was", sha256(database.read_bytes()).hexdigest() == before)


def _ask(here: Deployment, workflow: str, asked: list[Question], more: dict[str, str]) -> Outcomes:
    jobs = {one.question: here.submit(workflow, {"question": one.question, **more}) for one in asked}
    return {question: here.outcome(job_id) for question, job_id in jobs.items()}


def _right(stage: Stage, asked: list[Question], pruned: Outcomes, whole: Outcomes) -> None:
    """What can be answered is answered right, with few tables in the prompt and with all."""
    known = {one.question: one.rows for one in asked if one.rows is not None}
    for name, outcomes in {"pruned": pruned, "whole schema": whole}.items():
        right = [question for question, rows in known.items() if _rows(outcomes[question]) == rows]
        stage.expect(f"every known answer came ({name})", len(right) == len(known), f"{len(right)} of {len(known)}")
    repaired = [one for one in asked if one.rows is not None and len(one.sql) > 1]
    stage.expect(
        "SQL that does not hold is repaired once",
        all(pruned[one.question].receipt.steps["repaired"].tasks == 1 for one in repaired),
        repaired[0].sql[0],
    )
    (other,) = [one.question for one in asked if not one.sql]
    steps = pruned[other].receipt.steps
    stage.expect("what is no question to the database asks it nothing", not steps["written"].tasks, other)


def _found(stage: Stage, asked: list[Question], prompts: list[str]) -> None:
    """Whether the search left in the prompt what the answer, here a written one, needs."""
    pruning = [one for one in prompts if one.startswith("Which of these tables")]
    needed = [(one.question, f"{table}: ") for one in asked if one.rows is not None for table in one.needs]
    found = [pair for pair in needed if any(all(part in prompt for part in pair) for prompt in pruning)]
    stage.expect("the search found every table that is needed", found == needed, f"{len(found)} of {len(needed)}")


def _cheap(stage: Stage, pruned: Outcomes, whole: Outcomes) -> None:
    """All prompts of all steps are counted, the search's words and the pruning included."""
    few, many = (sum(one.receipt.usage.input_tokens for one in all_.values()) for all_ in (pruned, whole))
    saved = 1 - few / many
    seen = f"{few:,} in place of {many:,}, {saved:.0%} less"
    stage.expect("prompt tokens fall by half at least at equal results", saved >= LEAST_SAVED, seen)


def _safe(stage: Stage, here: Deployment, asked: list[Question], pruned: Outcomes) -> None:
    """What ran is taken from the log of SQLite's own trace."""
    for one in asked:
        if one.stays_invalid:
            outcome = pruned[one.question]
            held = outcome.status.value == "failed" and one.stays_invalid in (outcome.message or "")
            stage.expect("what does not hold after its repair ends the job", held, outcome.message)
    invalid = {sql for one in asked for sql in (one.sql if one.stays_invalid else one.sql[:-1])}
    ran = _statements(here, "worker-tool-sql-1")
    stage.expect(
        "invalid SQL never ran",
        bool(ran) and not invalid & set(ran),
        f"{len(ran)} statements ran, {len(invalid)} never did",
    )
    stage.expect("looking at SQL runs none of it", not _statements(here, "worker-tool-python-1"))


def _statements(here: Deployment, worker: str) -> list[str]:
    return [line["statement"] for line in here.log(worker) if line["event"] == "statement.ran"]


def _rows(outcome: Outcome) -> object:
    return outcome.output["rows"] if isinstance(outcome.output, dict) else None
