"""The verdict: what was promised and not kept. Pure: evidence in, violations and figures out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.duplicates import Duplicate, duplicates, in_flight, too_many
from tests.chaos.evidence import Evidence, Expectation, Letter, Seen, Submitted
from tests.chaos.machine import Machine
from tests.chaos.money import unpaid
from tests.chaos.plan import Act
from tests.chaos.stalls import Stall, longest_wait_s, stalls, too_long, worst_by_fault

STATE_STAYS = ("marker/", "cursor/", "workflow/")
DOCUMENTED_EXITS = (0, 1, 3, 143)
"""docs/operations.md; 2 is a mistake in the settings, which a running deployment has not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run showed."""

    violations: tuple[str, ...]
    jobs: int
    """Accepted, probes included."""
    tasks: int
    calls: int
    lost: int
    """Accepted jobs without an outcome."""
    doubled: int
    """Jobs with more than one outcome."""
    duplicates: dict[str, int]
    """Calls too many, by cause."""
    in_flight: int
    """Calls in flight when workers were killed or paused: the bound."""
    stall: Stall | None
    """The longest."""
    stalls_by_fault: dict[str, float]
    faults: dict[str, int]
    """What was done, as ``kill broker``."""
    own_exits: int
    """Processes that ended by themselves, with a documented code."""
    repeats: int
    """Outcomes written again for a repeated submission."""
    repeated_keys: int
    """Calls at the provider minus distinct (task, attempt)."""
    longest_wait_s: float
    """Of one probe, queues included."""
    settled_s: float
    """From the end of the load until all was over."""
    slowest_ack_s: float
    """Kafka's own slowest acknowledgement of a probe."""
    machine: Machine


def judge(seen: Evidence) -> Verdict:
    """Return what was broken, and the figures."""
    by_job: dict[str, list[Seen]] = defaultdict(list)
    for outcome in seen.outcomes:
        by_job[outcome.job_id].append(outcome)
    firsts = {job_id: outcomes[0].value for job_id, outcomes in by_job.items()}
    extra = duplicates(seen.calls, seen.done)
    end_s = max((done.ended_s for done in seen.done), default=0.0) + seen.settled_s
    waits = stalls(seen.probes, seen.done, end_s=end_s)
    lost = [job_id for job_id, known in seen.submitted.items() if known.accepted_s is not None and job_id not in by_job]
    violations = [
        *_losses(lost, seen),
        *_outcomes(by_job, seen),
        *_answers(firsts, seen.submitted),
        *_letters(seen, firsts),
        *too_many(extra, seen.calls),
        *unpaid(seen.calls, firsts, seen.submitted),
        *too_long(waits),
        *_ends(seen),
    ]
    return Verdict(
        violations=tuple(violations),
        jobs=sum(known.accepted_s is not None for known in seen.submitted.values()),
        tasks=sum(json.loads(value).get("receipt", {}).get("tasks", 0) for value in firsts.values()),
        calls=len(seen.calls),
        lost=len(lost),
        doubled=sum(len({one.ce_id for one in outcomes}) > 1 or _firsts(outcomes) > 1 for outcomes in by_job.values()),
        duplicates=_by_cause(extra),
        in_flight=sum(in_flight(seen.calls, each) for each in seen.done if each.fault.act in (Act.KILL, Act.PAUSE)),
        stall=waits[0] if waits else None,
        stalls_by_fault=worst_by_fault(seen.probes, seen.done, end_s=end_s),
        faults=dict(Counter(f"{each.fault.act.value} {each.fault.role}" for each in seen.done)),
        own_exits=sum(not each.asked for each in seen.exits),
        repeats=sum(outcome.repeat for outcome in seen.outcomes),
        repeated_keys=len(seen.calls) - len({call.key for call in seen.calls}),
        longest_wait_s=longest_wait_s(seen.probes, end_s=end_s),
        settled_s=seen.settled_s,
        slowest_ack_s=seen.slowest_ack_s,
        machine=seen.machine,
    )


def _losses(lost: list[str], seen: Evidence) -> Iterator[str]:
    for job_id in lost:
        known = seen.submitted[job_id]
        yield f"{job_id} ({known.kind}), accepted at {known.accepted_s:.1f} s, has no outcome"


def _outcomes(by_job: Mapping[str, list[Seen]], seen: Evidence) -> Iterator[str]:
    """Yield what is wrong with the number and the sameness of outcomes."""
    strangers = [job_id for job_id in by_job if job_id not in seen.submitted]
    if len([job_id for job_id in strangers if job_id.startswith("j-")]) > seen.nameless:
        yield f"outcomes of jobs that nobody submitted: {', '.join(strangers[:5])}"
    yield from (f"{job_id} has an outcome and was never submitted" for job_id in strangers if job_id[:2] != "j-")
    for job_id, outcomes in by_job.items():
        if len(ids := {outcome.ce_id for outcome in outcomes}) > 1:
            yield f"{job_id} has {len(ids)} outcomes: {', '.join(sorted(ids))}"
        elif _firsts(outcomes) != 1:
            yield f"{job_id} has {_firsts(outcomes)} outcomes that are not marked as a repetition"
        if len({outcome.value for outcome in outcomes}) > 1:
            yield f"{job_id}: its outcome was repeated, and not byte for byte"
        known = seen.submitted.get(job_id)
        if known and known.kind == "again-after" and known.copies > 1 and len(outcomes) < 2:
            yield f"{job_id} was submitted again after its end, and not answered again"


def _firsts(outcomes: list[Seen]) -> int:
    return sum(not outcome.repeat for outcome in outcomes)


def _answers(outcomes: Mapping[str, bytes], submitted: Mapping[str, Submitted]) -> Iterator[str]:
    """Yield outcomes that say what cannot be."""
    for job_id, value in outcomes.items():
        known, body = submitted.get(job_id), json.loads(value)
        if known is None or known.kind == "stray":
            continue
        status = body["status"]
        if status not in known.expects.statuses:
            why = f"{body.get('reason')}: {str(body.get('message'))[:200]}"
            yield f"{job_id} ({known.kind}) {status} ({why}), expected {' or '.join(known.expects.statuses)}"
        elif status == "succeeded" and not _is_output(known.expects, body.get("output")):
            wanted, got = str(known.expects.output)[:200], str(body.get("output"))[:200]
            yield f"{job_id} ({known.kind}) put out {got}, expected {wanted}"


def _is_output(expects: Expectation, got: Any) -> bool:
    want = expects.output
    if want is None or got == want:
        return True
    if not expects.may_be_cut or not isinstance(want, list) or not isinstance(got, list) or len(got) != len(want):
        return False
    return all(isinstance(text, str) and text and whole.startswith(text) for text, whole in zip(got, want, strict=True))


def _letters(seen: Evidence, outcomes: Mapping[str, bytes]) -> Iterator[str]:
    """Yield dead letters that should not be there, and those that are missing."""
    found: dict[str, set[str]] = defaultdict(set)
    nameless: list[Letter] = []
    for letter in seen.letters:
        known = seen.submitted.get(letter.job_id or "")
        if letter.job_id is None:
            nameless.append(letter)
        elif known is None or letter.reason not in known.expects.letters:
            kind = known.kind if known else "not ours"
            yield f"dead letter {letter.reason} of {letter.job_id} ({kind}), {letter.place}: {letter.message[:200]}"
        found[letter.job_id or ""].add(letter.reason)
    yield from _strays(seen, nameless)
    for job_id, known in seen.submitted.items():
        if job_id not in outcomes or json.loads(outcomes[job_id])["status"] not in ("succeeded", "failed"):
            continue
        for reason in (*known.expects.must_letters, *(["job_conflict"] if known.conflicts else [])):
            if reason not in found[job_id]:
                yield f"{job_id} ({known.kind}) has no dead letter {reason}"


def _strays(seen: Evidence, nameless: list[Letter]) -> Iterator[str]:
    missing = set(seen.stray_letters) - {letter.place for letter in nameless}
    yield from (f"no dead letter for {place}, which names no job" for place in sorted(missing))
    others = [letter for letter in nameless if letter.place not in seen.stray_letters]
    if len(others) > seen.nameless:
        yield from (f"dead letter {letter.reason} of {letter.place}: {letter.message[:200]}" for letter in others)


def _ends(seen: Evidence) -> Iterator[str]:
    """Yield what did not come to rest, and who ended by itself."""
    if seen.settled_s > seen.settle_limit_s:
        yield f"not everything was over {seen.settle_limit_s:g} s after the load"
    yield from (f"lag of {place}: {lag} records after the end" for place, lag in seen.lags.items())
    for key in seen.state_keys:
        if key != "owner" and not key.startswith(STATE_STAYS):
            yield f"state still has {key}"
    for each in seen.exits:
        by_itself = not each.asked and (each.code not in DOCUMENTED_EXITS or _crashed(each.said))
        if by_itself or (each.asked == "term" and each.code != 0):
            yield f"{each.name} ended with {each.code} at {each.at_s:.1f} s: {each.said[-1_000:]}"
    yield from (f"{done.name} at {done.began_s:.1f} s: {done.note}" for done in seen.done if done.note)


def _crashed(said: str) -> bool:
    return "Traceback" in said or ".failed" in said


def _by_cause(extra: list[Duplicate]) -> dict[str, int]:
    return dict(Counter(each.cause for each in extra))
