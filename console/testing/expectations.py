"""What is not as a case expects it, with what came in its place. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import unified_diff
from typing import Any, NamedTuple

from headrace.console.testing.calls import prompt_of
from headrace.console.testing.driver import START_MS, Played
from headrace.console.testing.script import index_of
from headrace.orchestrator.core.json_schema import findings
from headrace.schemas.messages import Event, Outcome
from headrace.schemas.workflow_tests import Amount, EventSpec, ExpectSpec, PromptSpec

MAX_SHOWN = 400
"""Characters of a value in one line; a longer one is shown as a difference, or cut."""
MAX_LISTED = 8


class Miss(NamedTuple):
    """One expectation that does not hold."""

    what: str
    """Which: ``output``, ``tasks.notes``, ``events.0``."""
    line: int
    """Where it stands in the file."""
    expected: str = ""
    came: str = ""
    diff: tuple[str, ...] = ()
    """In place of both where they are long: lines of a unified difference."""


Line = Callable[[str], int]


def misses(expect: ExpectSpec, played: Played, output: Any, line: Line) -> list[Miss]:
    """Return everything that is not as expected.

    Args:
        line: from a part of `expect` to its line in the file.
    """
    outcome = played.outcome
    if outcome is None:
        return [Miss("status", line("status"), expect.status, f"no outcome: {played.stuck}")]
    found = [*_ending(expect, outcome, line)]
    if outcome.status.value == expect.status:
        found += _output(expect, output, line)
    found += _counts(expect, played, outcome, line)
    for number, event in enumerate(expect.events):
        found += _event(event, f"events.{number}", played.events, line)
    for number, prompt in enumerate(expect.prompts):
        found += _prompt(prompt, f"prompts.{number}", played, line)
    if expect.outcome:
        plain = {**outcome.model_dump(mode="json"), "output": output}
        found += [
            Miss(f"outcome.{at}", line(f"outcome.{at}"), want, came) for at, want, came in _apart(expect.outcome, plain)
        ]
    return found


def _ending(expect: ExpectSpec, outcome: Outcome, line: Line) -> Iterator[Miss]:
    if outcome.status.value != expect.status:
        yield Miss("status", line("status"), expect.status, _how(outcome))
    reason = outcome.reason.value if outcome.reason is not None else None
    if expect.reason is not None and reason != expect.reason:
        yield Miss("reason", line("reason"), expect.reason, _how(outcome) if reason else "none")
    if expect.message is not None and expect.message not in outcome.message:
        yield Miss("message", line("message"), f"a message with {expect.message!r}", repr(outcome.message))
    if expect.partial is not None and outcome.partial is not expect.partial:
        yield Miss("partial", line("partial"), _short(expect.partial), _short(outcome.partial))


def _how(outcome: Outcome) -> str:
    """Return how a job ended, with its reason and its failed items: what one wants to know first."""
    text = outcome.status.value + (f" ({outcome.reason.value}: {outcome.message})" if outcome.reason else "")
    failed = [
        f"{item.task_id.partition('/')[2]}: {item.failure.kind.value}: {item.failure.message}"
        for item in outcome.failed_items
    ]
    return "\n".join([text, *failed[:MAX_LISTED]])


def _output(expect: ExpectSpec, output: Any, line: Line) -> Iterator[Miss]:
    if "output" in expect.model_fields_set and not _same(expect.output, output):
        yield _differ("output", line("output"), expect.output, output)
    if expect.output_schema is not None and (wrong := findings(expect.output_schema, output)):
        yield Miss("output_schema", line("output_schema"), "an output that holds the schema", "; ".join(wrong))
    if "output_contains" in expect.model_fields_set and not contains(expect.output_contains, output):
        wanted = expect.output_contains
        yield Miss("output_contains", line("output_contains"), f"an output with {_short(wanted)}", _short(output))


def contains(wanted: Any, value: Any) -> bool:
    """Return whether a text has a part, a list an entry, a mapping these fields; of a list, each must be in."""
    if isinstance(wanted, str) and isinstance(value, str):
        return wanted in value
    if isinstance(wanted, list) and isinstance(value, str):
        return all(contains(part, value) for part in wanted)
    if isinstance(value, list) and not isinstance(wanted, list):
        return any(_within(wanted, entry) for entry in value)
    if isinstance(wanted, list) and isinstance(value, list):
        return all(any(_within(part, entry) for entry in value) for part in wanted)
    return _within(wanted, value)


def _within(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(name in value and _within(part, value[name]) for name, part in wanted.items())
    return _same(wanted, value)


def _same(wanted: Any, value: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(_same(part, value[name]) for name, part in wanted.items())
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(_same, wanted, value))
    return bool(wanted == value)


def _apart(wanted: dict[str, Any], value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield each field that is not as wanted: its path, what was wanted, what came."""
    for name, part in wanted.items():
        if not isinstance(value, dict) or name not in value:
            known = ", ".join(value) if isinstance(value, dict) else _short(value)
            yield name, _short(part), f"no such field (there are: {known})"
        elif isinstance(part, dict) and isinstance(value[name], dict):
            yield from ((f"{name}.{at}", want, came) for at, want, came in _apart(part, value[name]))
        elif not _within(part, value[name]):
            yield name, _short(part), _short(value[name])


def _counts(expect: ExpectSpec, played: Played, outcome: Outcome, line: Line) -> Iterator[Miss]:
    calls = Counter(task.step for task in played.calls)
    steps = outcome.receipt.steps
    for word, wanted, came in (
        ("tasks", expect.tasks, {name: step.tasks for name, step in steps.items()}),
        ("failed", expect.failed, {name: step.failed for name, step in steps.items()}),
        ("attempts", expect.attempts, calls),
    ):
        for name, amount in wanted.items():
            yield from _amount(f"{word}.{name}", amount, came.get(name, 0), line)
    usage = outcome.receipt.usage
    yield from _amount("cost_microusd", expect.cost_microusd, outcome.receipt.cost_microusd, line)
    yield from _amount("tokens", expect.tokens, usage.input_tokens + usage.output_tokens, line)
    yield from _amount("duration_ms", expect.duration_ms, played.ended_ms - START_MS, line)


def _amount(what: str, wanted: Amount | None, came: int, line: Line) -> Iterator[Miss]:
    if wanted is not None and not wanted.holds(came):
        yield Miss(what, line(what), str(wanted), str(came))


def _event(wanted: EventSpec, what: str, events: list[Event], line: Line) -> Iterator[Miss]:
    of_type = [event for event in events if event.type == wanted.type and wanted.step in (None, event.step)]
    count = sum(_within(wanted.data, event.data) for event in of_type)
    if wanted.count.holds(count):
        return
    step = f" of step {wanted.step}" if wanted.step else ""
    data = f" with {_short(wanted.data)}" if wanted.data else ""
    listed = [f"{event.type} {event.step or ''} {_short(event.data)}" for event in of_type or events]
    yield Miss(
        what,
        line(what),
        f"{wanted.count} {wanted.type}{step}{data}",
        "\n".join([f"{count}; there were:", *_listed(listed)]),
    )


def _prompt(wanted: PromptSpec, what: str, played: Played, line: Line) -> Iterator[Miss]:
    prompts = [
        prompt_of(task) for task in played.calls if task.step == wanted.step and wanted.index in (None, index_of(task))
    ]
    whose = f"step {wanted.step}" + (f", task {wanted.index}" if wanted.index is not None else "")
    if not prompts:
        yield Miss(what, line(what), f"a call of {whose}", "none went out")
        return
    if not any(_holds(wanted, prompt) for prompt in prompts):
        parts = [*map(repr, wanted.contains), *([f"/{wanted.matches}/"] if wanted.matches is not None else [])]
        yield Miss(
            what, line(what), f"a prompt of {whose} with {', '.join(parts)}", "\n".join(_listed(map(repr, prompts)))
        )
    for text in wanted.lacks:
        if found := next((prompt for prompt in prompts if text in prompt), None):
            yield Miss(what, line(f"{what}.lacks"), f"no prompt of {whose} with {text!r}", _cut(repr(found)))


def _holds(wanted: PromptSpec, prompt: str) -> bool:
    return all(text in prompt for text in wanted.contains) and (
        wanted.matches is None or re.search(wanted.matches, prompt) is not None
    )


def _listed(texts: Any) -> list[str]:
    listed = list(dict.fromkeys(_cut(text) for text in texts))
    more = [f"… and {len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else []
    return [*listed[:MAX_LISTED], *more]


def _differ(what: str, line: int, wanted: Any, came: Any) -> Miss:
    first, second = _pretty(wanted), _pretty(came)
    if len(first) <= 1 and len(second) <= 1 and len(_plain(wanted)) <= MAX_SHOWN and len(_plain(came)) <= MAX_SHOWN:
        return Miss(what, line, _plain(wanted), _plain(came))
    diff = unified_diff(first, second, "expected", "came", lineterm="", n=2)
    return Miss(what, line, _plain(wanted), _plain(came), tuple(_cut(each) for each in diff))


def _pretty(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return text.splitlines()


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _short(value: Any) -> str:
    return _cut(_plain(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]} … {text[-MAX_SHOWN // 4 :]}"
