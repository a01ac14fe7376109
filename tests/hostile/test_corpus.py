"""The hostile corpus without Kafka, through the parts that meet it: each input ends as it must, soon, in little memory.

Inputs that are large or take work are also measured for memory, which makes Python several times slower: their bound of
time is wider.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import yaml

from headrace.console.job_reader import read_message
from headrace.orchestrator.shell.damage import REWRITTEN
from headrace.runtime.kafka import headers_of
from headrace.runtime.letters import MAX_LETTER_BYTES, letter_record, source_of
from headrace.schemas.codec import Record, decode, encode, header_map
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import Attempt, DeadLetter, Event, JobStatus, Lane, Outcome, Result
from headrace.schemas.topics import Topics
from headrace.workers.core.orders import read_order
from headrace.workers.shell.delivery import Assignment, Delivery
from headrace.workers.shell.pool import WorkPool
from tests.hostile.bad import Bad, Ends
from tests.hostile.bounds import MAX_SECONDS, bounded
from tests.hostile.corpus import CORPUS, of
from tests.hostile.corpus_results import VICTIM
from tests.hostile.messages import CorpusMessage
from tests.instance import TOPICS, Instance
from tests.orchestrators import ONE
from tests.world import POOLS, World


def inputs(topic: str) -> Any:
    return pytest.mark.parametrize("bad", of(topic), ids=lambda bad: bad.name)


def made(**fields: Any) -> Instance:
    world = World(workflows={"one": yaml.safe_load(ONE)}, pools={**POOLS, "noop": POOLS["small"]})
    return Instance(world.environment, pools=("noop",), objects=world, **fields)


def take(instance: Instance, bad: Bad, topic: str) -> list[Record]:
    headers = headers_of(CorpusMessage(bad, topic=topic))
    large = bad.size > 100_000
    with bounded(bad.name, memory=large, seconds=MAX_SECONDS * (6 if large else 1)):
        return instance.read(topic, bad.key, bad.value, headers)


def check_letter(letter: DeadLetter, bad: Bad) -> None:
    assert bad.reason in ("", letter.reason)
    record = letter_record(letter, "dead")
    size = len(record.key or b"") + len(record.value or b"") + sum(len(n) + len(v) for n, v in record.headers)
    assert size <= MAX_LETTER_BYTES
    assert (letter.key_bytes, letter.value_bytes) == (len(bad.key or b""), len(bad.value or b""))


def test_the_corpus_is_large_and_its_inputs_have_names_of_their_own() -> None:
    assert len(CORPUS) >= 150
    assert len({(bad.topic, bad.name) for bad in CORPUS}) == len(CORPUS)
    named = [bad.job_id for bad in of("jobs") if bad.job_id]
    assert len(set(named)) == len(named), "each job of its own, so that one hides no other"


@inputs("jobs")
def test_a_submission_is_rejected_set_aside_or_taken_and_the_next_one_runs(bad: Bad) -> None:
    instance = made()
    take(instance, bad, TOPICS.jobs)
    rejected = [one for one in instance.outcomes if one.status is JobStatus.REJECTED]
    match bad.ends:
        case Ends.REJECTED:
            assert (len(rejected), instance.letters) == (1, [])
            assert bad.reason in ("", rejected[0].reason)
        case Ends.LETTER:
            (letter,) = instance.letters
            check_letter(letter, bad)
            assert instance.outcomes == []
        case Ends.TAKEN:
            assert (rejected, instance.letters, len(instance.tasks)) == ([], [], 1)
        case Ends.IGNORED:
            assert (rejected, instance.letters, len(instance.outcomes)) == ([], [], 1), "it ends by itself"
    records = instance.read(TOPICS.jobs, b"good", b'{"workflow":"one","input":{"who":"you"}}')
    assert any(".tasks." in record.topic for record in records)


@inputs("results")
def test_a_forged_result_is_set_aside_and_its_task_is_answered_by_the_true_one(bad: Bad) -> None:
    instance = made()
    instance.read(TOPICS.jobs, VICTIM.encode(), b'{"workflow":"one","input":{"who":"you"}}')
    take(instance, bad, TOPICS.results)
    (letter,) = instance.letters
    check_letter(letter, bad)
    assert instance.outcomes == []
    good = Result(task_id=f"{VICTIM}/say/0", job_id=VICTIM, attempt=1, output="true")
    instance.read(TOPICS.results, VICTIM.encode(), encode(good))
    assert [(one.status, one.output) for one in instance.outcomes] == [(JobStatus.SUCCEEDED, "true")]


class Sender:
    """Takes what a pool sends, and acknowledges it."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def send(self, *records: Record, finish: Any) -> None:
        self.records += records
        finish()


class Idle:
    """A runner and a report that must not be asked."""

    immediate = False


@inputs("tasks")
def test_a_task_that_cannot_be_read_is_set_aside_and_its_offset_is_done(bad: Bad) -> None:
    sender, done = Sender(), deque[Any]()
    topics = Topics("t")
    pool = WorkPool(
        Idle(), sender, Idle(), name="noop", worker="w", topics=topics, concurrency=1, result_partitions=3  # type: ignore[arg-type]
    )  # fmt: skip
    topic = topics.tasks("noop", Lane.BATCH)
    message = CorpusMessage(bad, topic=topic)
    with bounded(bad.name, memory=bad.size > 100_000):
        pool.offer([Delivery(Lane.BATCH, message, 7, Assignment(0, 1), done, deque())])
    assert list(done) == [(0, 1, 7)]
    (letter,) = [decode(DeadLetter, one.value) for one in sender.records if one.topic == topics.dead_letters]
    check_letter(letter, bad)
    assert (letter.origin.topic, letter.origin.offset, letter.pool) == (topic, 7, "noop")
    for record in sender.records:
        assert len(record.value or b"") + len(record.key or b"") < 1_000_000
        assert record.topic != topics.results or record.partition in range(3)


@inputs("control")
def test_an_order_that_cannot_be_read_is_refused_by_name(bad: Bad) -> None:
    message = CorpusMessage(bad, topic="t.control")
    headers = headers_of(message)
    with bounded(bad.name), pytest.raises(ContractError) as caught:
        read_order(bad.key, bad.value, header_map(headers))
    assert caught.value.kind == bad.reason
    assert source_of(message, headers).key == bad.key


@inputs("attempts")
def test_a_journal_record_that_cannot_be_read_is_an_error_of_ours(bad: Bad) -> None:
    with pytest.raises(ContractError):
        decode(Attempt, bad.value, header_map(headers_of(CorpusMessage(bad, topic="t.attempts.noop"))))


@inputs("state")
def test_a_broken_record_of_state_ends_its_job_once_and_is_gone_at_the_next_restart(bad: Bad) -> None:
    key = (bad.key or b"").decode("utf-8", "surrogateescape")
    with bounded(bad.name):
        instance = made(log={key: (7, bad.value)})
        instance.mend()
    expected = 1 if bad.ends is Ends.LETTER else 0
    assert len(instance.letters) == expected
    for letter in instance.letters:
        check_letter(letter, bad)
        assert (letter.origin.topic, letter.origin.offset) == (TOPICS.state, 7)
    assert [one.job_id for one in instance.outcomes] == ([bad.job_id] if bad.job_id else [])
    assert {one.status for one in instance.outcomes} <= {JobStatus.FAILED}
    if key not in REWRITTEN:
        instance.restart()
        assert instance.partition.damage is None
    records = instance.read(TOPICS.jobs, b"good", b'{"workflow":"one","input":{"who":"you"}}')
    assert any(".tasks." in record.topic for record in records)


@pytest.mark.parametrize("bad", [*of("outcomes"), *of("events")], ids=lambda bad: bad.name)
def test_a_reader_passes_over_what_it_cannot_read_and_says_so(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_message(Outcome if bad.topic == "outcomes" else Event, CorpusMessage(bad, topic=f"t.{bad.topic}"))
    if found is None:
        assert f"warning: t.{bad.topic}[0]@7 was passed over" in capsys.readouterr().err
    else:
        assert found.job_id != bad.job_id
