"""Payloads around and far above the inline limit, from submission to outcome: real processes on a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.deployment import Deployment, deployment

from headrace.console.client import HeadraceClient
from headrace.console.outcome_view import output_of
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import JobStatus, Outcome

pytestmark = pytest.mark.broker

LIMIT = 262_144
ECHO: dict[str, Any] = {
    "name": "echo",
    "version": 1,
    "steps": {"say": {"llm": {"pool": "noop", "prompt": "{{ input.text }}"}}},
    "output": "{{ say }}",
}
EACH: dict[str, Any] = {
    "name": "each",
    "version": 1,
    "steps": {"notes": {"for_each": "{{ input.items }}", "llm": {"pool": "noop", "prompt": "{{ item }}"}}},
    "output": "{{ notes }}",
}
TREE: dict[str, Any] = {
    "name": "tree",
    "version": 1,
    "steps": {
        "notes": EACH["steps"]["notes"],
        "whole": {"reduce": "notes", "fan_in": 8, "llm": {"pool": "noop", "prompt": "{{ items | join }}"}},
    },
    "output": "{{ whole }}",
}


@pytest.fixture(scope="module")
def here(bootstrap_servers: str) -> Iterator[Deployment]:
    with deployment(workers={"noop": 1}, servers=bootstrap_servers) as running:
        yield running


@pytest.fixture(scope="module")
def client(here: Deployment) -> Iterator[HeadraceClient]:
    with HeadraceClient(here.settings) as made:
        yield made


def text(size: int) -> str:
    """Return a text that no part of is like another, with what JSON escapes in it."""
    line = '"quoted" \\ and ä, line {}\n'
    return "".join(line.format(number) for number in range(size // 20))[: max(0, size - 1)] + "."


def test_texts_of_every_size_around_the_limit_come_back_as_they_went(here: Deployment, client: HeadraceClient) -> None:
    """Input, task, result and outcome pass the limit at a size each: their wrappings differ, and escapes count."""
    near = [LIMIT * 10 // 12 + step for step in range(0, 4_000, 800)]
    plain = [LIMIT - step for step in (600, 400, 250, 150, 80, 40, 20, 12, 11, 10, 5, 0, -1, -300)]
    texts = (
        [text(size) for size in near] + ["x" * size for size in plain] + [text(size) for size in (1, 500_000, 800_000)]
    )
    jobs = [client.submit(ECHO, {"text": one}) for one in texts]
    ways = set()
    for job_id, one in zip(jobs, texts, strict=True):
        outcome = client.outcome(job_id, timeout_s=60)
        assert outcome.status is JobStatus.SUCCEEDED, (len(one), outcome)
        assert output_of(outcome, here.settings) == one
        ways.add(outcome.output_ref is not None)
    assert ways == {True, False}


def test_an_outcome_of_tens_of_megabytes_is_one_object_and_one_above_what_is_read_fails_clearly(
    here: Deployment, client: HeadraceClient
) -> None:
    rows = [f"{number}" + "y" * 700_000 for number in range(40)]
    outcome = client.outcome(client.submit(EACH, items=rows), timeout_s=90)
    assert outcome.output_ref is not None
    assert outcome.output_ref.size_bytes > 28_000_000
    assert output_of(outcome, here.settings) == rows
    too_many = client.outcome(client.submit(EACH, items=[row for row in rows for _ in range(3)]), timeout_s=90)
    assert (too_many.status, too_many.reason) == (JobStatus.FAILED, "too_large")
    assert "outputs together have more than 67,108,864 bytes" in too_many.message


def test_a_reduce_over_referenced_items_gives_what_they_were(here: Deployment, client: HeadraceClient) -> None:
    rows = [text(10_000 + number) for number in range(60)]
    outcome = client.outcome(client.submit(TREE, {"items": rows}), timeout_s=60)
    assert outcome.status is JobStatus.SUCCEEDED, outcome
    assert output_of(outcome, here.settings) == "".join(rows)


def test_an_input_of_the_largest_size_runs_and_one_byte_more_is_refused_before_it_is_sent(
    here: Deployment, client: HeadraceClient
) -> None:
    counting = {**ECHO, "steps": {"say": {"llm": {"pool": "noop", "prompt": "{{ input.text | length }}"}}}}
    largest = 16_777_216 - len('{"text":""}')
    outcome = client.outcome(client.submit(counting, {"text": "z" * largest}), timeout_s=60)
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, str(largest))
    with pytest.raises(ContractError, match="the limit is 16,777,216"):
        client.submit(counting, {"text": "z" * (largest + 1)})


def headrace(here: Deployment, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": here.settings.kafka.bootstrap_servers,
        "HEADRACE_TOPICS__PREFIX": here.settings.topics.prefix,
        "HEADRACE_DATA_DIR": str(here.settings.data_dir),
    }
    command = [sys.executable, "-m", "headrace.console", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


@pytest.mark.slow
def test_submit_items_uploads_validates_and_resumes(here: Deployment, tmp_path: Path) -> None:
    workflow, rows = tmp_path / "each.yaml", tmp_path / "rows.jsonl"
    workflow.write_text(yaml.safe_dump(EACH))
    rows.write_text("".join(f'{{"n": {number}}}\n' for number in range(3_000)))
    command = ("submit", "-w", str(workflow), "--items", str(rows), "--part-bytes", "10000", "--wait", "--json")
    first = headrace(here, *command)
    assert first.returncode == 0, first.stderr
    outcome = Outcome.model_validate_json(first.stdout)
    assert outcome.output == [json.dumps({"n": number}) for number in range(3_000)]
    assert b"3,000 items in 4 parts of 34,890 bytes in all\n" in first.stderr
    again = headrace(here, *command, "--job-id", "again")
    assert b"3,000 items in 4 parts of 34,890 bytes in all, 4 of them there already\n" in again.stderr
    rows.write_text('{"n": 1}\n{oops\n\n{"n": NaN}\n')
    bad = headrace(here, *command)
    assert (bad.returncode, bad.stdout) == (2, b"")
    assert b"line 2: it is not JSON" in bad.stderr
    assert b"line 4: it is not JSON: NaN" in bad.stderr


@pytest.mark.slow
def test_objects_stat_counts_what_lies_there_and_a_sweep_deletes_nothing_young(here: Deployment) -> None:
    counted = json.loads(headrace(here, "objects", "stat", "--json").stdout)
    assert counted["objects"] > 0
    assert counted["old"] == 0
    swept = json.loads(headrace(here, "objects", "sweep", "--json").stdout)
    assert (swept["deleted"], swept["objects"]) == (0, counted["objects"])
    refused = headrace(here, "objects", "sweep", "--older-than", "29d")
    assert refused.returncode == 2
    assert b"topic outcomes" in refused.stderr
