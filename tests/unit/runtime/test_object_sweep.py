"""The sweep deletes what is old and Headrace's own, and nothing else; retentions that do not fit are told."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from headrace.orchestrator.shell.sweeper import Sweeper
from headrace.runtime.object_retention import retention_problems, topic_retentions
from headrace.runtime.object_sweep import SWEPT_KEY, census, is_due, sweep
from headrace.runtime.objects import open_objects, refresh_after_s
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable
from tests.s3 import fake_s3

DAY_S = 86_400


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "objects" / "headrace"


@pytest.fixture
def store(tmp_path):
    return open_objects(Settings(data_dir=tmp_path))


def aged(path, days):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"mine")
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))


def test_what_is_old_goes_and_what_is_young_or_not_of_our_form_stays(store, folder, tmp_path):
    old, young = store.put(b"old"), store.put(b"young")
    aged(folder / old.key, 36)
    aged(folder / young.key, 34)
    others = [
        "sha256/notes.txt",
        "sha256/" + "A" * 64,
        "sha256/" + "0" * 63,
        "sha256/sub/" + "0" * 64,
        "lists/mine.jsonl",
    ]
    for name in others:
        aged(folder / name, 1_000)
    aged(tmp_path / "objects" / "other" / old.key, 1_000)
    before = census(store, older_than_s=35 * DAY_S)
    assert (before.objects, before.size_bytes, before.foreign, before.old, before.old_bytes) == (2, 8, 4, 1, 3)
    assert (folder / old.key).exists(), "counting deletes nothing"
    swept = sweep(store, older_than_s=35 * DAY_S)
    assert (swept.deleted, swept.old, swept.objects) == (1, 1, 2)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {young.key, *others}
    assert (tmp_path / "objects" / "other" / old.key).exists()


def test_content_that_is_put_again_survives_the_sweep(store, folder):
    for content in (b"small", b"x" * 100_000):
        ref = store.put(content)
        aged(folder / ref.key, 36)
        store.put(content)
    assert sweep(store, older_than_s=35 * DAY_S).deleted == 0


def test_content_that_is_put_again_after_it_was_listed_survives_the_sweep(store, folder, monkeypatch):
    ref = store.put(b"old")
    aged(folder / ref.key, 36)
    listed = list(store.list_own())
    store.put(b"old")
    monkeypatch.setattr(store, "list_own", lambda: iter(listed))
    found = sweep(store, older_than_s=35 * DAY_S)
    assert (found.old, found.deleted) == (1, 0)
    assert store.get(ref) == b"old"


def test_a_sweep_that_is_stopped_ends_early(store, folder):
    for number in range(250):
        aged(folder / store.put(b"%d" % number).key, 36)
    asked = iter(range(250))
    assert sweep(store, older_than_s=35 * DAY_S, stopped=lambda: next(asked) == 150).deleted == 100


def test_a_bucket_of_many_pages_is_swept_below_its_own_root_only(monkeypatch):
    with fake_s3(monkeypatch) as s3:
        settings = Settings(
            objects={"url": "s3://bucket/some/path", "client_options": {"allow_http": True}}, topics={"prefix": "mine"}
        )
        store = open_objects(settings)
        long_ago = datetime.now(UTC) - timedelta(days=36)
        for number in range(2_500):
            s3.objects[f"some/path/mine/sha256/{number:064x}"] = (b"x", long_ago)
        kept = {
            f"some/path/mine/sha256/{'f' * 64}": (b"x", datetime.now(UTC)),
            f"some/path/other/sha256/{'f' * 64}": (b"x", long_ago),
            f"sha256/{'f' * 64}": (b"x", long_ago),
            "some/path/mine/sha256/readme": (b"x", long_ago),
        }
        s3.objects |= kept
        assert sweep(store, older_than_s=35 * DAY_S).deleted == 2_500
        assert s3.objects == kept


def test_a_store_that_goes_away_ends_the_sweep_with_its_error(monkeypatch):
    with fake_s3(monkeypatch) as s3:
        store = open_objects(Settings(objects={"url": "s3://bucket", "client_options": {"allow_http": True}}))
        s3.fail = 503
        with pytest.raises(DependencyUnavailable, match="cannot list"):
            sweep(store, older_than_s=1)


def test_the_defaults_keep_objects_longer_than_the_records_that_refer_to_them():
    settings = Settings()
    kept = topic_retentions(settings)
    assert sorted(kept) == ["attempts", "dead-letters", "jobs", "outcomes", "results", "tasks"]
    assert max(kept.values()) == 30 * DAY_S * 1_000
    assert retention_problems(settings.objects.retention_s, kept, markers_s=settings.orchestrator.retention_s) == []


def test_a_topic_that_outlives_the_objects_is_told_with_both_numbers():
    settings = Settings(topics={"retention_ms": {"outcomes": 40 * DAY_S * 1_000, "tasks": -1}})
    problems = retention_problems(35 * DAY_S, topic_retentions(settings), markers_s=36 * DAY_S)
    assert problems == [
        "objects.retention_s 3,024,000 s (35 d) must be above the 3,456,000 s (40 d) that topic outcomes keeps its "
        "records, by 1 d at least",
        "objects.retention_s 3,024,000 s (35 d) cannot outlast topic tasks, which keeps its records for ever",
        "objects.retention_s 3,024,000 s (35 d) must be above orchestrator.retention_s 3,110,400 s (36 d), "
        "by 1 d at least",
    ]


def test_what_may_be_old_already_when_it_is_referred_to_is_taken_off():
    week_ms = {"jobs": 7 * DAY_S * 1_000}
    assert retention_problems(7 * DAY_S, week_ms, markers_s=0)
    assert retention_problems(7 * DAY_S + 2 * refresh_after_s(7 * DAY_S) - 1, week_ms, markers_s=0)
    assert not retention_problems(8 * DAY_S, week_ms, markers_s=0)


def test_the_store_is_swept_once_a_day_whoever_does_it(store, folder):
    old = store.put(b"old")
    aged(folder / old.key, 36)
    responsible = Sweeper(store, older_than_s=35 * DAY_S, responsible=lambda: True, first_s=0.0)
    with capture_logs() as logs:
        responsible.start()
        wait_until((folder / SWEPT_KEY).exists)
        responsible.close()
    assert not (folder / old.key).exists()
    assert [(line["event"], line["deleted"]) for line in logs] == [("objects.swept", 1)]
    assert not is_due(store)
    aged(folder / SWEPT_KEY, 1.01)
    assert is_due(store)


def test_an_instance_that_does_not_own_partition_0_sweeps_nothing(store, folder):
    aged(folder / store.put(b"old").key, 36)
    asked = []
    idle = Sweeper(store, older_than_s=35 * DAY_S, responsible=lambda: bool(asked.append(1)), first_s=0.0)
    idle.start()
    wait_until(lambda: asked)
    idle.close()
    assert census(store, older_than_s=35 * DAY_S).objects == 1


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
