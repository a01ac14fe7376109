"""The pure parts of the benchmarks: figures, ratios, and what is said where something is missing. No peer runs here."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks import __main__ as command
from benchmarks.broker_counts import BrokerCounts, Counts, Tally, counted
from benchmarks.peers import debian, venv
from benchmarks.peers.contest import FAN_OUT, LATENCY, Contest, Entry
from benchmarks.peers.turns import celery, dramatiq
from benchmarks.report import Report, paired, spread
from benchmarks.scale import REPLICAS, Course, longest_gap
from benchmarks.scale import report as scale_report
from benchmarks.transactions import quantile

from headrace.schemas.errors import DependencyUnavailable


def test_the_spread_of_runs_is_their_median_least_and_most() -> None:
    found = spread([3.04, 1.0, 2.0], "tasks_per_s")
    assert found == {"tasks_per_s": 2.0, "tasks_per_s_min": 1.0, "tasks_per_s_max": 3.0, "runs": 3}


def test_a_ratio_is_the_median_of_ratios_side_by_side_and_not_the_ratio_of_medians() -> None:
    assert paired([10.0, 1.0, 30.0], [10.0, 2.0, 10.0]) == 1.0


def test_runs_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([1.0, 2.0], [1.0])


def test_the_line_for_programs_has_name_figures_machine_and_ratios() -> None:
    line = Report({"noop": {"tasks_per_s": 2.5, "settings": "one"}}, {"raw": 0.5}).json_line("fanout")
    found = json.loads(line)
    assert "\n" not in line
    assert (found["benchmark"], found["ratios"]) == ("fanout", {"raw": 0.5})
    assert found["figures"]["noop"] == {"tasks_per_s": 2.5, "settings": "one"}
    assert found["figures"]["machine"]["cores"] >= 1


@pytest.mark.parametrize("arguments", [[], ["nothing-of-that-name"], ["fanout", "--slow"]])
def test_an_unknown_benchmark_or_option_is_a_usage_error(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "usage: python -m benchmarks" in capsys.readouterr().err


def test_a_benchmark_that_cannot_run_says_why_and_what_to_do_and_ends_with_the_errors_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: bool) -> Report:
        raise DependencyUnavailable("redis-server is not installed", "install redis-server")

    monkeypatch.setattr(command, "BENCHMARKS", {"fanout": run})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fanout", "--json"])
    assert command.main() == 3
    said = capsys.readouterr()
    assert said.err == "error: fanout: redis-server is not installed\ninstall redis-server\n"
    assert said.out == ""


@pytest.mark.parametrize(
    ("buckets", "median"),
    [
        ({0.01: 0.0, 0.02: 10.0, math.inf: 10.0}, 0.015),
        ({0.01: 4.0, 0.02: 8.0, math.inf: 8.0}, 0.01),
        ({0.01: 1.0, 0.02: 1.0, math.inf: 10.0}, 0.02),
        ({math.inf: 0.0}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_median_is_read_from_a_histogram(buckets: dict[float, float], median: float) -> None:
    assert quantile(buckets, 0.5) == pytest.approx(median)


def test_refusals_are_counted_in_all_and_requests_by_transaction() -> None:
    between = Counts(50, 140, 100) - Counts(10, 20, 20)
    assert counted(between) == {"concurrent_transactions": 40, "add_partitions_per_transaction": 1.5}
    assert counted(Counts()) == {"concurrent_transactions": 0, "add_partitions_per_transaction": 0.0}


def test_counts_of_a_broker_that_is_not_ours_are_said_to_be_missing_and_are_not_zero() -> None:
    with BrokerCounts(None) as broker:
        tally = Tally(broker)
        with tally.counting():
            pass
    assert str(tally.figures()["concurrent_transactions"]).startswith("not counted")


def test_without_apt_get_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.shutil, "which", lambda _: None)
    with pytest.raises(DependencyUnavailable, match="no apt-get") as told:
        debian.program("redis-server", "redis-server")
    assert "install redis-server" in told.value.hint


def test_without_root_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1_000)
    with pytest.raises(DependencyUnavailable, match="needs root") as told:
        debian.program("postgres", "postgresql")
    assert "install postgresql" in told.value.hint


def test_the_newest_of_several_folders_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("13", "15"):
        program = tmp_path / version / "bin" / "postgres"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)
    monkeypatch.setattr(debian.shutil, "which", lambda _: "/usr/bin/postgres")
    found = debian.program("postgres", "postgresql", folders=f"{tmp_path}/*/bin")
    assert found == tmp_path / "15" / "bin" / "postgres"
    assert debian.program("postgres", "postgresql", folders=f"{tmp_path}/none/*") == Path("/usr/bin/postgres")


def test_other_requirements_are_another_environment() -> None:
    assert venv.fingerprint(["a", "b"]) == venv.fingerprint(["a", "b"])
    assert len({venv.fingerprint(texts) for texts in (["a", "b"], ["ab", ""], ["a", "c"])}) == 3


def test_every_requirement_is_pinned_with_a_hash() -> None:
    for path in (venv.REQUIREMENTS, venv.NEWER_PYTHON):
        wanted = path.read_text().replace("\\\n", " ").splitlines()
        assert wanted
        assert all("==" in line and "--hash=sha256:" in line for line in wanted)


def _contest(*entries: Entry) -> Contest:
    """Return a contest without processes."""
    here: Any = SimpleNamespace(supervisor=SimpleNamespace(status=list), broker_pid=None)
    peers = Contest(here, ())
    peers._entries = entries
    return peers


def test_a_ratio_is_against_the_setting_in_which_the_peer_does_best() -> None:
    peers = _contest(Entry(celery("two", 2, "solo"), 2), Entry(celery("one", 1, "solo"), 1))
    peers.found = {"two": [{"tasks_per_s": 100.0}, {"tasks_per_s": 200.0}], "one": [{"tasks_per_s": 160.0}]}
    assert peers.ratio("celery", "tasks_per_s", [1_600.0, 9_000.0], best=max) == 10.0
    assert peers.ratio("celery", "tasks_per_s", [1_000.0, 2_000.0], best=min) == 10.0
    assert peers.names() == ["celery"]


def test_a_contest_without_peers_has_no_figures() -> None:
    peers = _contest()
    peers.round(0, lambda client, entry: {"never": 0.0})
    assert (peers.found, peers.names(), peers.settings(), peers.idle()) == ({}, [], {}, {})


def test_no_two_peers_of_a_benchmark_share_a_case() -> None:
    for entries in (FAN_OUT, LATENCY):
        cases = [entry.peer.case for entry in entries]
        assert len(set(cases)) == len(cases)


def test_a_peer_waits_for_each_of_its_processes() -> None:
    assert len(celery("two", 2, "solo").workers) == 2
    assert len(celery("two", 2, "prefork").workers) == 1
    assert dramatiq("two", 2, 8).ready_lines == 2


def test_the_time_without_progress_is_the_longest_gap_of_one_partition_that_reaches_into_the_span() -> None:
    stamps = {0: [0, 90, 100, 400, 410], 1: [0, 50, 150, 250, 350, 600]}
    assert longest_gap(stamps, (120, 300)) == 300
    assert longest_gap(stamps, (401, 409)) == 250
    assert longest_gap({0: [0, 90, 100]}, (95, 99)) == 10
    assert longest_gap({0: [5]}, (0, 30)) == 30, "nothing came"


def test_a_speed_up_is_the_median_of_each_deployments_own() -> None:
    courses = [Course(dict(zip(REPLICAS, rates, strict=True))) for rates in ((10, 20, 40), (20, 30, 60), (10, 18, 30))]
    assert scale_report(courses).ratios == {"speedup_2": 1.8, "speedup_4": 3.0}
