"""The supervisor and attached processes, with real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.runtime.processes import ProcessRef, spawn_attached
from headrace.runtime.supervisor import ProcessSpec, ProcessStatus, Supervisor
from headrace.schemas.errors import ConfigError, DependencyUnavailable

SLEEP = ("sleep", "60")


def eventually(holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", backoff_s=(0.05, 0.2)) as made:
        yield made


def only(supervisor: Supervisor) -> ProcessStatus:
    (found,) = supervisor.status()
    return found


def test_a_process_writes_to_a_log_of_its_own_and_ends_by_itself(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("hello", ["sh", "-c", "echo $GREETING; echo no >&2"], env={"GREETING": "ahoy"}))
    eventually(lambda: only(supervisor).state == "exited")
    assert only(supervisor).log.read_text().split() == ["ahoy", "no"]
    assert only(supervisor).exit_code == 0


def test_a_running_process_shows_its_pid_and_memory_and_is_gone_after_stop(supervisor: Supervisor) -> None:
    shown = supervisor.start(ProcessSpec("sleeper", SLEEP))
    assert shown.state == "running"
    assert shown.pid is not None
    ref = ProcessRef.of(shown.pid)
    assert ref is not None
    assert shown.rss_bytes
    supervisor.stop()
    assert not ref.alive()
    assert (only(supervisor).state, only(supervisor).exit_code) == ("stopped", -signal.SIGTERM)


def test_start_returns_only_when_the_function_says_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = ["sh", "-c", f"sleep 0.3; touch {mark}; sleep 60"]
    supervisor.start(ProcessSpec("slow", command, ready=mark.exists))
    assert mark.exists()


def test_start_returns_only_when_the_url_answers(supervisor: Supervisor, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}/"
    assert supervisor.start(ProcessSpec("web", command, ready=url, cwd=tmp_path)).state == "running"


def test_a_process_that_dies_before_it_is_ready_fails_the_start_with_its_last_words(supervisor: Supervisor) -> None:
    spec = ProcessSpec("broken", ["sh", "-c", "echo no such model; exit 4"], ready=lambda: False)
    with pytest.raises(DependencyUnavailable, match=r"broken ended at start \(exit code 4\)") as raised:
        supervisor.start(spec)
    assert "no such model" in raised.value.hint


def test_a_process_that_is_never_ready_is_stopped(supervisor: Supervisor) -> None:
    with pytest.raises(DependencyUnavailable, match="not ready within"):
        supervisor.start(ProcessSpec("mute", SLEEP, ready=lambda: False, ready_timeout_s=0.2))
    assert only(supervisor).pid is None


def test_a_missing_program_fails_with_its_name(supervisor: Supervisor) -> None:
    with pytest.raises(DependencyUnavailable) as raised:
        supervisor.start(ProcessSpec("ghost", ["no-such-program"], ready=lambda: False))
    assert "cannot run no-such-program" in raised.value.hint


def test_a_name_is_given_once(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("twin", SLEEP))
    with pytest.raises(ConfigError):
        supervisor.start(ProcessSpec("twin", SLEEP))


def test_a_killed_process_is_started_again(supervisor: Supervisor) -> None:
    first = supervisor.start(ProcessSpec("worker", SLEEP, max_restarts=3)).pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: only(supervisor).restarts == 1 and only(supervisor).pid is not None)
    assert only(supervisor).pid != first


def test_a_process_that_keeps_crashing_is_given_up_after_its_restarts(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("crasher", ["sh", "-c", "echo once; exit 3"], max_restarts=2))
    eventually(lambda: only(supervisor).state == "failed")
    assert (only(supervisor).restarts, only(supervisor).exit_code) == (2, 3)
    assert only(supervisor).log.read_text().count("once") == 3


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_one_that_ignores_sigterm_is_killed_after_its_drain(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("stubborn", python(STUBBORN), drain_timeout_s=0.3))
    eventually(lambda: only(supervisor).log.read_text() == "up\n")
    begun = time.monotonic()
    supervisor.stop()
    assert 0.3 <= time.monotonic() - begun < 3
    assert only(supervisor).exit_code == -signal.SIGKILL


def test_hurry_cuts_a_drain_short(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("stubborn", python(STUBBORN), drain_timeout_s=30))
    eventually(lambda: only(supervisor).log.read_text() == "up\n")
    threading.Timer(0.2, supervisor.hurry).start()
    begun = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - begun < 5


def test_later_stages_are_gone_before_earlier_ones_are_asked(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    say = "trap 'sleep {delay}; echo {name} >> {order}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    for name, stage, delay in (("model", 0, 0), ("slow", 1, 0.3), ("quick", 1, 0.1)):
        spec = ProcessSpec(name, ["sh", "-c", say.format(name=name, delay=delay, order=order)], stage=stage)
        supervisor.start(spec)
    eventually(lambda: all(each.log.read_text() == "up\n" for each in supervisor.status()))
    supervisor.stop()
    assert order.read_text().split() == ["quick", "slow", "model"]


def test_what_a_process_leaves_in_its_group_goes_with_it(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("parent", ["sh", "-c", "sleep 60 & echo $!; wait"]))
    eventually(lambda: only(supervisor).log.read_text().strip().isdigit())
    left = ProcessRef.of(int(only(supervisor).log.read_text()))
    assert left is not None
    supervisor.stop()
    eventually(lambda: not left.alive())


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(spawn_attached(SLEEP, log=tmp_path / "log")))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()


OWNER = """
import sys, time
from pathlib import Path
from headrace.runtime.processes import spawn_attached
child = spawn_attached(["sleep", "60"], log=Path(sys.argv[1]), watcher=sys.argv[2] == "True")
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "watcher", [True, pytest.param(False, marks=pytest.mark.skipif(sys.platform != "linux", reason="kernel"))]
)
def test_a_child_dies_when_its_owner_is_killed(tmp_path: Path, watcher: bool) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "log"), str(watcher)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        child = ProcessRef.of(int(owner.stdout.readline()))
        assert child is not None
        time.sleep(0.2)  # The launcher becomes the command.
        assert child.alive()
        owner.kill()
    eventually(lambda: not child.alive())


RUN = """
import sys
from pathlib import Path
from headrace.runtime.supervisor import ProcessSpec, Supervisor
with Supervisor(Path(sys.argv[1])) as supervisor:
    shown = supervisor.start(ProcessSpec("p", [sys.executable, "-I", "-S", "-c", sys.argv[2]], drain_timeout_s=30))
    print(shown.pid, flush=True)
    code = supervisor.wait()
sys.exit(code)
"""


def _run(tmp_path: Path, code: str) -> tuple[subprocess.Popen[str], ProcessRef]:
    running = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), code], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    child = ProcessRef.of(int(running.stdout.readline()))
    assert child is not None
    eventually(lambda: (tmp_path / "p.log").read_text() == "up\n")
    return running, child


def test_ctrl_c_drains_and_exits_with_0(tmp_path: Path) -> None:
    running, child = _run(tmp_path, "import time; print('up', flush=True); time.sleep(60)")
    with running:
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 0
    assert not child.alive()


def test_a_second_ctrl_c_ends_at_once_though_a_process_still_drains(tmp_path: Path) -> None:
    running, child = _run(tmp_path, STUBBORN)
    with running:
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        assert running.wait(5) == 0
    assert not child.alive()


def test_a_failed_process_ends_the_run_with_1_when_it_is_the_last(tmp_path: Path) -> None:
    running, _ = _run(tmp_path, "import time, sys; print('up', flush=True); time.sleep(0.3); sys.exit(9)")
    with running:
        assert running.wait(10) == 1
