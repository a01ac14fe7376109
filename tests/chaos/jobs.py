"""What is submitted, drawn from the seed, and what must come of each job whatever is killed on the way. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.chaos import workflows as flows
from tests.chaos.evidence import Expectation

Again = Literal["", "during", "after", "conflict"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A job to submit."""

    job_id: str | None
    """None: it gets its id from Kafka."""
    kind: str
    body: dict[str, Any] | bytes
    """The submission; bytes that are none, where that is the point."""
    expects: Expectation
    deadline_s: float | None = None
    """Added to the body when it is submitted."""
    cancel_after_s: float | None = None
    again: Again = ""
    """What is submitted under the same id once more, and when."""
    crc: bool = False
    """Whether its producer has librdkafka's own partitioner, and so mostly misses the job's home."""


class JobSource:
    """Draws jobs for ever.

    Args:
        seed: other seeds, other jobs.
        batch: a word in each id, so that two runs on one prefix do not meet.
    """

    def __init__(self, seed: int, batch: str = "c") -> None:
        self._random = Random(f"jobs/{seed}")
        self._batch = batch
        self._count = 0
        self._kinds: list[tuple[float, Callable[[str, Random], Planned]]] = [
            (3.0, _one_noop),
            (4.0, _one_http),
            (2.0, _fan_noop),
            (2.0, _fan_http),
            (1.5, _tree),
            (1.5, _retry),
            (0.7, _cut),
            (0.7, _skip),
            (0.7, _default),
            (0.7, _require),
            (0.5, _fails),
            (1.2, _budget),
            (0.7, _deadline),
            (1.0, _cancel),
            (0.8, _again_during),
            (0.8, _again_after),
            (0.6, _conflict),
            (0.6, _rejected),
            (0.3, _nameless),
        ]

    def draw(self) -> Planned:
        """Return the next job."""
        random = self._random
        make = random.choices([kind for _, kind in self._kinds], [weight for weight, _ in self._kinds])[0]
        self._count += 1
        planned = make(f"{self._batch}-{self._count}", random)
        crc, tenant = random.random() < 0.5, random.choice(["acme", "default"])
        lane = random.choice(["interactive", "batch", "batch"])
        if isinstance(planned.body, dict):
            planned.body.setdefault("tenant", tenant)
            planned.body.setdefault("lane", lane)
        return Planned(
            planned.job_id, planned.kind, planned.body, planned.expects, planned.deadline_s, planned.cancel_after_s,
            planned.again, crc,
        )  # fmt: skip


def _body(workflow: str | dict[str, Any], **given: Any) -> dict[str, Any]:
    return {"workflow": workflow, "input": given}


def _texts(job_id: str, count: int, word: str = "") -> list[str]:
    return [f"{job_id}.{number} {word}".rstrip() + ";" for number in range(count)]


def _single(job_id: str, pool: str, kind: str, word: str = "", **more: Any) -> Planned:
    text = f"{job_id} {word}".rstrip()
    body = _body(f"one-{pool}@1", text=text)
    return Planned(job_id, kind, body, Expectation(output=text), **more)


def _one_noop(job_id: str, random: Random) -> Planned:
    return _single(job_id, "noop", "one-noop")


def _one_http(job_id: str, random: Random) -> Planned:
    if random.random() < 0.3:  # Inline, so that workflows come and go.
        text = f"{job_id} inline"
        return Planned(job_id, "one-http", _body(flows.one("http"), text=text), Expectation(output=text))
    return _single(job_id, "http", "one-http", flows.SLOW if random.random() < 0.15 else "")


def _fan_noop(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, random.randint(10, 60))
    return Planned(job_id, "fan-noop", _body("fan-noop@1", items=items), Expectation(output=items))


def _fan_http(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, random.randint(10, 30), flows.SLOW if random.random() < 0.1 else "")
    return Planned(job_id, "fan-http", _body("fan-http@1", items=items), Expectation(output=items))


def _tree(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, random.randint(8, 24))
    return Planned(job_id, "tree", _body("tree@1", items=items), Expectation(output="".join(items)))


def _retry(job_id: str, random: Random) -> Planned:
    return _single(job_id, "http", "retry", flows.FAIL_TWICE)


def _cut(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, 8, flows.CUT)
    return Planned(job_id, "cut", _body("fan-http@1", items=items), Expectation(output=items, may_be_cut=True))


def _some_fail(job_id: str, random: Random) -> tuple[list[str], list[bool]]:
    bad = [number in (2, 7) for number in range(10)]
    return [f"{job_id}.{number} {flows.ALWAYS if fails else ''}".rstrip() for number, fails in enumerate(bad)], bad


def _skip(job_id: str, random: Random) -> Planned:
    return _partial(job_id, random, "skip", None)


def _require(job_id: str, random: Random) -> Planned:
    return _partial(job_id, random, "require", None)


def _default(job_id: str, random: Random) -> Planned:
    return _partial(job_id, random, "default", "instead")


def _partial(job_id: str, random: Random, kind: str, instead: str | None) -> Planned:
    items, bad = _some_fail(job_id, random)
    output = [instead if fails else item for item, fails in zip(items, bad, strict=True)]
    expects = Expectation(output=output, letters=("exhausted",), must_letters=("exhausted",))
    return Planned(job_id, kind, _body(f"{kind}-http@1", items=items), expects)


def _fails(job_id: str, random: Random) -> Planned:
    expects = Expectation(statuses=("failed",), letters=("exhausted",), must_letters=("exhausted",))
    return Planned(job_id, "fails", _body("one-http@1", text=f"{job_id} {flows.ALWAYS}"), expects)


def _budget(job_id: str, random: Random) -> Planned:
    items, microusd = _texts(job_id, 12), random.choice([250, 400, 700, 20_000])
    body: dict[str, Any] = {**_body("fan-http@1", items=items), "budget": {"microusd": microusd}}
    statuses = ("succeeded",) if microusd > 10_000 else ("succeeded", "failed")
    return Planned(job_id, "budget", body, Expectation(statuses, output=items, budget_microusd=microusd))


def _deadline(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, 6, flows.SLOW)
    expects = Expectation(("expired", "succeeded"), output=items)
    return Planned(job_id, "deadline", _body("fan-http@1", items=items), expects, deadline_s=random.uniform(0.5, 4.0))


def _cancel(job_id: str, random: Random) -> Planned:
    items = _texts(job_id, random.randint(5, 40), flows.SLOW)
    # The order has another way to the job's home, and may be there before the job.
    expects = Expectation(("cancelled", "succeeded"), output=items, letters=("unknown_job",))
    return Planned(job_id, "cancel", _body("fan-http@1", items=items), expects, cancel_after_s=random.uniform(0.0, 3.0))


def _again_during(job_id: str, random: Random) -> Planned:
    return _single(job_id, "http", "again-during", flows.SLOW, again="during")


def _again_after(job_id: str, random: Random) -> Planned:
    return _single(job_id, random.choice(["noop", "http"]), "again-after", again="after")


def _conflict(job_id: str, random: Random) -> Planned:
    text = f"{job_id} {flows.SLOW}"
    expects = Expectation(output=text, letters=("job_conflict",))
    return Planned(job_id, "conflict", _body("one-http@1", text=text), expects, again="conflict")


def _rejected(job_id: str, random: Random) -> Planned:
    bodies: list[dict[str, Any] | bytes] = [
        b"{oops",
        b'{"workflow": "\xff"}',
        _body("nowhere@3"),
        _body({**flows.one("noop"), "steps": {}}),
        {**_body("one-noop@1", text="x"), "imput": 1},
    ]
    return Planned(job_id, "rejected", random.choice(bodies), Expectation(("rejected",)))


def _nameless(job_id: str, random: Random) -> Planned:
    text = f"{job_id} nameless"
    if random.random() < 0.3:
        return Planned(None, "stray", b"{oops", Expectation())
    return Planned(None, "nameless", _body("one-noop@1", text=text), Expectation(output=text))
