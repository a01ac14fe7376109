"""One real Kafka for a whole test run, also under pytest-xdist, and a topic prefix of its own for each test.

The controlling process owns the broker: it starts one when a test asks for it first and stops it at the end. Workers of
xdist ask over a socket, since none of them may own what the others still use. The broker is attached: if the
controller is killed, the system ends the JVM.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Client, Listener
from pathlib import Path

import pytest

from headrace.runtime.brokers import LocalKafkaUnavailable, broker_for, local_runtime, survey
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime
from headrace.runtime.local_kafka_scram import ScramUser
from headrace.schemas.errors import HeadraceError

_ADDRESS = "HEADRACE_TEST_BROKER_SOCKET"


class BrokerOfTheRun:
    """Starts the broker at the first question and answers it over a socket."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-"))  # Short: a socket's path has 104 characters.
        self._held = ExitStack()
        self._answer: tuple[str, str] | None = None
        self.address = str(self._folder / "ask")
        self._listener = Listener(self.address, "AF_UNIX")
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                with self._listener.accept() as asked:
                    asked.send(self._bootstrap_servers())
            except OSError:
                return

    def _bootstrap_servers(self) -> tuple[str, str]:
        """Return ("ok", servers), ("unavailable", why) or ("failed", why); the same answer to everyone."""
        if self._answer is None:
            try:
                broker = self._held.enter_context(broker_for(self._folder / "kafka", reuse=False))
                self._answer = ("ok", broker.bootstrap_servers)
            except LocalKafkaUnavailable as error:
                self._answer = ("unavailable", f"{error.message}. {error.hint}")
            except Exception as error:
                self._answer = ("failed", f"{error} {error.hint if isinstance(error, HeadraceError) else ''}")
        return self._answer

    def close(self) -> None:
        self._listener.close()
        self._held.close()
        shutil.rmtree(self._folder, ignore_errors=True)


_of_this_run: list[BrokerOfTheRun] = []

SLOW_S = 20.0
"""A test that takes longer must be marked ``slow``, so that nobody waits for it unawares."""
_SCHEDSTAT = Path("/proc/self/schedstat")


def _starved_s() -> float:
    """Return the seconds that this process was ready to run and others had the processor; 0 where nobody counts."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    before = _starved_s()
    try:
        return (yield)
    finally:
        item.stash[_STARVED_S] = _starved_s() - before


_STARVED_S = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    own_s = call.duration - item.stash.get(_STARVED_S, 0.0)
    if report.when == "call" and report.passed and own_s > SLOW_S and item.get_closest_marker("slow") is None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} took {own_s:.1f} s of its own; above {SLOW_S:g} s a test is marked slow"
    return report


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # The controller, or the only process.
        _of_this_run.append(BrokerOfTheRun())
        os.environ[_ADDRESS] = _of_this_run[0].address  # Workers inherit it.


def pytest_unconfigure() -> None:
    while _of_this_run:
        _of_this_run.pop().close()
        os.environ.pop(_ADDRESS, None)


def _give_up(why: str) -> None:
    """Without a Kafka a developer's run skips what needs one; CI must not."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI needs a Kafka: {why}", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def bootstrap_servers() -> str:
    """Bootstrap servers of the run's broker."""
    with Client(os.environ[_ADDRESS], "AF_UNIX") as ask:
        kind, answer = ask.recv()
    if kind == "failed":
        pytest.fail(f"the Kafka of this run did not start: {answer}", pytrace=False)
    if kind == "unavailable":
        _give_up(answer)
    return str(answer)


@pytest.fixture
def topic_prefix() -> str:
    """A topic prefix that no other test has, also on a broker that outlives the run."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def local_kafka_runtime() -> Runtime:
    """Java and Kafka's jars, for tests that start brokers of their own."""
    try:
        return local_runtime(survey(look_all=True))
    except LocalKafkaUnavailable as error:
        _give_up(f"{error.message}. {error.hint}")
        raise


@pytest.fixture
def scram_broker(local_kafka_runtime: Runtime, tmp_path: Path) -> Iterator[Callable[[ScramUser], LocalKafka]]:
    """A function that starts a broker with a SASL/SCRAM listener for a user; stopped after the test."""
    with ExitStack() as started:

        def start(user: ScramUser) -> LocalKafka:
            options = LocalKafkaOptions(tmp_path / "scram", user=user)
            return started.enter_context(LocalKafka(options, local_kafka_runtime))

        yield start
