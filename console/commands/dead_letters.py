"""``headrace dead-letters list|show|redrive|drop``: what could not be read or done, and what becomes of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.console.options import AsJson, Pools, Prefix, Servers, connected

if TYPE_CHECKING:
    from headrace.console.letter_desk import Desk
    from headrace.console.letter_edit import Edit
    from headrace.console.letter_filter import LetterFilter
    from headrace.console.letters import FiledLetter, LetterBox
    from headrace.console.redrive import Redriver
    from headrace.console.resolver import Verdict
    from headrace.runtime.settings import Settings

app = typer.Typer(name="dead-letters", help="Look at dead letters, send them back, drop them.", no_args_is_help=True)

Ids = Annotated[
    list[str] | None, typer.Argument(help="PARTITION:OFFSET of letters, as `list` prints them.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Only those set aside for this: invalid_json, exhausted, …")]
Pool = Annotated[str | None, typer.Option(help="Only those of this pool.")]
Tenant = Annotated[str | None, typer.Option(help="Only those of this tenant.")]
Workflow = Annotated[str | None, typer.Option(help="Only those of this workflow: name, or name@version.")]
Job = Annotated[str | None, typer.Option("--job", help="Only those of this job.")]
Topic = Annotated[str | None, typer.Option(help="Only records of this topic: jobs, results, tasks.small.batch, …")]
Since = Annotated[str | None, typer.Option(help="Set aside from then on: RFC 3339, or how long ago (90m, 2d).")]
Until = Annotated[str | None, typer.Option(help="Set aside before then.")]
All = Annotated[bool, typer.Option("--all", help="Also those that were redriven or dropped before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also what was resolved before, was sent back too often, or waits for no job.")
]


@app.command("list")
def list_letters(  # noqa: PLR0917 - typer makes options of them
    ids: Ids = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
    reason: Reason = None,
    pool: Pool = None,
    tenant: Tenant = None,
    workflow: Workflow = None,
    job: Job = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Print dead letters, the newest last; with --json one object a line.

    Exit codes: 0, also where there are none; 2 usage; 3 Kafka is not there.
    """
    from headrace.console.letter_view import one_line, plain
    from headrace.console.letters import fetched

    settings = connected(bootstrap_servers, prefix)
    wanted = _filter(
        settings, since, until, reason=reason, pool=pool, tenant=tenant, workflow=workflow, job=job, topic=topic
    )
    with _box(settings) as box:
        chosen = _chosen(box, wanted, ids, resolved=everything or bool(ids))[-limit:]
        if as_json:
            for filed, letter in fetched(chosen, box.fetch):
                typer.echo(json.dumps(plain(filed, letter), ensure_ascii=False))
            return
        for filed in chosen:
            typer.echo(one_line(filed))


@app.command()
def show(  # noqa: PLR0917 - typer makes options of them
    ids: Ids = None,
    reason: Reason = None,
    pool: Pool = None,
    tenant: Tenant = None,
    workflow: Workflow = None,
    job: Job = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Print all that can be read of dead letters: causes, origin, attempts, key, headers, value, what became of them.

    Exit codes: 0; 2 usage, or no such letter; 3 Kafka is not there.
    """
    from headrace.console.letter_view import everything as all_of
    from headrace.console.letter_view import plain
    from headrace.console.letters import fetched

    settings = connected(bootstrap_servers, prefix)
    wanted = _filter(
        settings, since, until, reason=reason, pool=pool, tenant=tenant, workflow=workflow, job=job, topic=topic
    )
    _demand(wanted, ids)
    with _box(settings) as box:
        chosen = _chosen(box, wanted, ids, resolved=everything or bool(ids))
        for number, (filed, letter) in enumerate(fetched(chosen, box.fetch)):
            if as_json:
                typer.echo(json.dumps(plain(filed, letter), ensure_ascii=False))
            else:
                typer.echo(("\n" if number else "") + all_of(filed, letter))


@app.command()
def redrive(  # noqa: PLR0917 - typer makes options of them
    ids: Ids = None,
    reason: Reason = None,
    pool: Pool = None,
    tenant: Tenant = None,
    workflow: Workflow = None,
    job: Job = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    rate: Annotated[str, typer.Option(help="Most letters a second: 10, 10/s, 30/m.")] = "10/s",
    to_pool: Annotated[str | None, typer.Option(help="Send tasks to this pool, in the same lane.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=JSON: change a field of the value; repeatable.")
    ] = None,
    value: Annotated[Path | None, typer.Option(help="Send this file's content as the value; one letter only.")] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Change each value in $EDITOR.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    force: Force = False,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
    pools: Pools = None,
) -> None:
    """Send records back where they came from; a task that failed for good gets another attempt while its job runs.

    Changed values are checked against the contract first: if one breaks it, nothing is sent. A job that is over keeps
    its outcome: submit it under another id.

    Exit codes: 0 done; 1 some were refused; 2 usage, or a change that breaks the contract; 3 Kafka is not there.
    """
    settings = connected(bootstrap_servers, prefix, pools)
    wanted = _filter(
        settings, since, until, reason=reason, pool=pool, tenant=tenant, workflow=workflow, job=job, topic=topic
    )
    _demand(wanted, ids)
    per_second, changes = rate_of(rate), _edit(change or [], value, edit)
    with _desk(settings, again=everything or force, force=force) as desk:
        letters = _chosen(desk.box, wanted, ids, resolved=everything or bool(ids))
        _check_count(letters, changes)
        redriver = _redriver(settings, desk, to_pool, changes, force=force)
        made = {} if changes.is_empty else desk.resolver.check(letters, redriver)
        if not dry_run:
            _confirm("send back", letters, yes=yes)
        with desk.session(dry_run=dry_run) as session:
            letters = desk.again(letters)
            verdicts = desk.resolver.redrive(letters, redriver, session, made=made, per_second=per_second)
            raise typer.Exit(_report(verdicts, len(letters), as_json=as_json))


@app.command()
def drop(  # noqa: PLR0917 - typer makes options of them
    ids: Ids = None,
    reason: Reason = None,
    pool: Pool = None,
    tenant: Tenant = None,
    workflow: Workflow = None,
    job: Job = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Note that dead letters need nothing any more: they are not listed again. The records stay until they expire.

    Exit codes: 0 done; 1 some were refused (resolved before); 2 usage; 3 Kafka is not there.
    """
    settings = connected(bootstrap_servers, prefix)
    wanted = _filter(
        settings, since, until, reason=reason, pool=pool, tenant=tenant, workflow=workflow, job=job, topic=topic
    )
    _demand(wanted, ids)
    with _desk(settings, again=everything, force=False) as desk:
        letters = _chosen(desk.box, wanted, ids, resolved=everything or bool(ids))
        if not dry_run:
            _confirm("drop", letters, yes=yes)
        with desk.session(dry_run=dry_run) as session:
            letters = desk.again(letters)
            raise typer.Exit(_report(desk.resolver.drop(letters, session), len(letters), as_json=as_json))


# ── What the commands share ──────────────────────────────────────────────────────────────────────────────────────


def _filter(settings: Settings, since: str | None, until: str | None, **fields: str | None) -> LetterFilter:
    from headrace.console.letter_filter import LetterFilter, moment_ms

    now_ms = time.time_ns() // 1_000_000
    return LetterFilter(
        since_ms=None if since is None else moment_ms(since, now_ms),
        until_ms=None if until is None else moment_ms(until, now_ms),
        prefix=settings.topics.prefix,
        **fields,
    )


def _demand(wanted: LetterFilter, ids: list[str] | None) -> None:
    """What changes letters, or prints all of them, must be told which: "all" is too easily said by accident."""
    from headrace.schemas.errors import ConfigError

    if not ids and wanted.is_empty:
        raise ConfigError("no letters are named", "give PARTITION:OFFSET or a filter; for all of them: --since 365d")


def _box(settings: Settings) -> LetterBox:
    from headrace.console.letters import LetterBox
    from headrace.runtime.kafka import wait_for_broker

    wait_for_broker(settings)
    return LetterBox(settings)


def _desk(settings: Settings, *, again: bool, force: bool) -> Desk:
    from headrace.console.letter_desk import Desk
    from headrace.runtime.kafka import wait_for_broker

    wait_for_broker(settings)
    return Desk(settings, again=again, force=force)


def _chosen(box: LetterBox, wanted: LetterFilter, ids: list[str] | None, *, resolved: bool) -> list[FiledLetter]:
    """Return the letters that the arguments mean; those that are named count also where they were resolved."""
    from headrace.console.letters import Address, named

    addresses = [Address.parse(text) for text in ids or ()]
    filed = box.read(wanted)
    chosen = named(filed, addresses) if addresses else filed
    return [one for one in chosen if resolved or one.resolution is None]


def rate_of(text: str) -> float:
    """Return letters a second.

    Raises:
        ConfigError: the text is no rate above 0.
    """
    import re

    from headrace.schemas.errors import ConfigError

    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(?:/([smh]))?", text, re.ASCII)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"--rate {text[:40]!r} is no rate", "10, 10/s, 30/m or 100/h")
    return float(found[1]) / {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def _edit(changes: list[str], value: Path | None, by_hand: bool) -> Edit:
    from headrace.console.letter_edit import Edit, in_editor, parse_sets
    from headrace.schemas.errors import ConfigError

    try:
        content = None if value is None else value.read_bytes()
    except OSError as error:
        raise ConfigError(f"{value} cannot be read: {error.strerror}") from None
    return Edit(parse_sets(changes), content, in_editor if by_hand else None)


def _check_count(letters: Sequence[FiledLetter], edit: Edit) -> None:
    from headrace.schemas.errors import ConfigError

    if edit.value is not None and len(letters) > 1:
        raise ConfigError(f"--value is for one letter, and {len(letters)} are meant", "name one by PARTITION:OFFSET")


def _redriver(settings: Settings, desk: Desk, pool: str | None, edit: Edit, *, force: bool) -> Redriver:
    from headrace.console.redrive import Redriver
    from headrace.runtime.pools import find_pool, load_pools
    from headrace.schemas.pools import PoolsFile

    pools = PoolsFile() if settings.pools_file is None and pool is None else load_pools(settings.pools_file)
    if pool is not None:
        find_pool(pools, pool)
    return Redriver(
        settings.topic_names,
        desk.partitions,
        pools,
        pool=pool,
        edit=edit,
        max_redrives=settings.dead_letters.max_redrives,
        force=force,
    )


def _confirm(verb: str, letters: Sequence[FiledLetter], *, yes: bool) -> None:
    """Ask a person who may have meant fewer."""
    if len(letters) > 1 and not yes and sys.stdin.isatty():
        typer.confirm(f"{verb} {len(letters)} letters?", abort=True, err=True)


def _report(verdicts: Iterable[Verdict], total: int, *, as_json: bool) -> int:
    """Print what becomes of each letter, as it happens, and return the exit code."""
    from headrace.console.letter_report import LetterReport

    with LetterReport(total, as_json=as_json) as report:
        for verdict in verdicts:
            report.add(verdict)
    return report.exit_code
