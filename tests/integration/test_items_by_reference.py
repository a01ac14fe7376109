"""Items by reference on a real broker: in parts, through a retry, a take-over, and a store that goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.console.client import HeadraceClient
from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.errors import ErrorKind
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import ItemsPart, ItemsRef, JobStatus, Submission
from tests.answering import answering
from tests.orchestrators import Site, site, wait_until
from tests.s3 import fake_s3

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EACH: dict[str, Any] = {
    "name": "each",
    "version": 1,
    "steps": {
        "notes": {
            "for_each": "{{ input.items }}",
            "llm": {"pool": "noop", "prompt": "{{ index }} {{ item.n }}"},
            "retry": {"attempts": 3, "backoff_ms": 200},
        }
    },
    "output": "{{ notes | length }}",
}


@pytest.fixture
def here(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Iterator[Site]:
    with site(bootstrap_servers, topic_prefix, tmp_path) as made:
        yield made


def started(here: Site) -> subprocess.Popen[bytes]:
    process = here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    return process


def job_at(here: Site, home: int) -> str:
    """Return an id whose home is the given partition."""
    count = here.settings.topics.partitions
    return next(f"at{home}-{n}" for n in range(999) if home_partition(f"at{home}-{n}", count) == home)


def test_five_thousand_items_in_parts_go_through_retries_and_a_take_over_each_once(here: Site) -> None:
    first = started(here)
    failing = {0, 700, 1_400, 4_999}
    with (
        answering(here, fails=lambda task: task.attempt == 1 and int(task.task_id.split("/")[2]) in failing) as worker,
        HeadraceClient(here.settings) as client,
    ):
        items = client.upload_items(({"n": f"item {n}"} for n in range(5_000)), part_bytes=12_000)
        assert len(items.parts) >= 8
        client.submit(EACH, items=items, job_id="each")
        wait_until(lambda: len(worker.seen) >= 1_500, "1,500 answers", 40)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        here.start("b")
        outcome = client.outcome("each", timeout_s=60)
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, 5_000)
    assert outcome.receipt.attempts == 5_000 + len(failing)
    assert set(worker.seen.values()) == {1}, "no task and no attempt was dispatched twice"
    expected = {f"each/notes/{n}": f"{n} item {n}" for n in range(5_000)}
    assert worker.prompts == expected
    assert len(here.outcomes("each")) == 1


def test_bad_items_fail_alone_a_bad_part_fails_its_job_and_the_partition_goes_on(here: Site) -> None:
    started(here)
    home = home_partition("each", here.settings.topics.partitions)
    names = [f"j{n}" for n in range(200) if home_partition(f"j{n}", here.settings.topics.partitions) == home]
    store = open_objects(here.settings)

    def part(data: bytes, items: int, **changes: Any) -> ItemsPart:
        ref = store.put(data)
        return ItemsPart(**{**ref.model_dump(), "items": items, **changes})

    good = part(b'{"n": 1}\n{"n": 2}\n', 2)
    lax = {**EACH, "steps": {"notes": {**EACH["steps"]["notes"], "require": {"at_least": 2}}}}
    cases = {
        "line": (part(b'{"n": 3}\n{oops\n', 2), JobStatus.SUCCEEDED, None),
        "count": (part(b'{"n": 4}\n', 5), JobStatus.FAILED, ErrorKind.INVALID_INPUT),
        "gone": (part(b'{"n": 5}\n', 1, key="sha256/" + "0" * 64), JobStatus.FAILED, ErrorKind.PAYLOAD_LOST),
        "folder": (part(b'{"n": 6}\n', 1, key="sha256"), JobStatus.FAILED, ErrorKind.PAYLOAD_LOST),
        "other": (part(b'{"n": 7}\n', 1, sha256="0" * 64), JobStatus.FAILED, ErrorKind.PAYLOAD_LOST),
    }
    with answering(here), HeadraceClient(here.settings) as client:
        for name, (bad, _, _) in zip(names, cases.values(), strict=False):
            client.submit(lax, items=ItemsRef(parts=(good, bad)), job_id=name)
        client.submit(EACH, items=ItemsRef(parts=(good,)), job_id=names[len(cases)])
        for name, (case, (_, status, reason)) in zip(names, cases.items(), strict=False):
            outcome = client.outcome(name, timeout_s=30)
            assert (outcome.status, outcome.reason) == (status, reason), f"{case}: {outcome}"
        assert client.outcome(names[len(cases)], timeout_s=30).output == 2
        # What cannot be a key at all never becomes a job.
        value = {
            "job_id": "outside",
            "workflow": EACH,
            "items": {"parts": [{**good.model_dump(), "key": "../outside"}]},
        }
        here.produce(json.dumps(value).encode(), key=b"outside")
        assert client.outcome("outside", timeout_s=30).reason is ErrorKind.INVALID_JOB
    assert not here.dead_letters()


def test_a_store_that_goes_away_stops_no_other_job_and_what_needs_it_goes_on_when_it_is_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_s3(monkeypatch) as s3:
        monkeypatch.setenv("HEADRACE_OBJECTS__URL", "s3://bucket")
        monkeypatch.setenv("HEADRACE_OBJECTS__CLIENT_OPTIONS", '{"allow_http": true, "timeout": "1s"}')
        monkeypatch.setenv("HEADRACE_OBJECTS__CACHE_BYTES", "16777216")
        objects = Settings().objects
        here.settings = here.settings.model_copy(update={"objects": objects})
        started(here)
        with answering(here) as worker, HeadraceClient(here.settings) as client:
            items = client.upload_items(({"n": "x" * 1_000, "m": n} for n in range(1_500)), part_bytes=100_000)
            ref = open_objects(here.settings).put(b'{"who": "stuck"}')
            worker.hold()
            client.submit(EACH, items=items, job_id="far")
            wait_until(lambda: len(here.tasks()) >= 256, "the first window of tasks")
            s3.fail = 503
            worker.go_on()
            time.sleep(1.0)
            stuck, near = job_at(here, 1), job_at(here, 2)
            client.send(Submission(workflow="one", input_ref=ref, job_id=stuck))
            client.submit("one", {"who": "near"}, job_id=near)
            assert client.outcome(near, timeout_s=20).output == "hello near"
            wait_until(lambda: "objects.failing" in here.log("a"), "word of the failing store")
            assert not here.outcomes("far")
            assert not here.outcomes(stuck)
            s3.fail = None
            outcome = client.outcome("far", timeout_s=40)
            assert client.outcome(stuck, timeout_s=20).output == "hello stuck"
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, 1_500)
    assert set(worker.seen.values()) == {1}
    reads = [key for method, key in s3.asked if method == "GET" and key]
    assert len(items.parts) <= len(set(reads)) <= len(items.parts) + 1
