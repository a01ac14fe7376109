"""``headrace objects``: what lies in the object store, and what of it is older than any record that refers to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.console.options import AsJson, Prefix, connected

if TYPE_CHECKING:
    from headrace.runtime.object_sweep import Census
    from headrace.runtime.objects import ObjectStore
    from headrace.runtime.settings import Settings

app = typer.Typer(name="objects", help="Look at the object store, and sweep it.", no_args_is_help=True)

OlderThan = Annotated[
    str | None, typer.Option("--older-than", help="36d, 12h, 90m or seconds. Default: objects.retention_s.")
]


@app.command()
def stat(older_than: OlderThan = None, as_json: AsJson = False, prefix: Prefix = None) -> None:
    """Count objects and bytes, and those that a sweep would delete. Changes nothing.

    Exit codes: 0; 2 settings, or the extra objects is not installed; 3 the store is not there.
    """
    from headrace.runtime.object_sweep import census

    settings = connected(None, prefix)
    store, age_s = _store(settings), age_of(older_than, settings)
    _print(census(store, older_than_s=age_s), store, age_s, as_json=as_json)


@app.command()
def sweep(
    older_than: OlderThan = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also where records that are still kept may refer to what goes.")
    ] = False,
    as_json: AsJson = False,
    prefix: Prefix = None,
) -> None:
    """Delete Headrace's own objects that are old. The orchestrator does this once a day (objects.sweep).

    Only content addresses below this deployment's prefix are looked at; what others laid beside them is never touched.

    Exit codes: 0; 2 settings, an age within the retention of the topics, or no extra objects; 3 the store is not there.
    """
    from headrace.runtime.object_sweep import census
    from headrace.runtime.object_sweep import sweep as sweep_objects

    settings = connected(None, prefix)
    store, age_s = _store(settings), age_of(older_than, settings)
    if not anyway:
        check_age(age_s, settings)
    found = census(store, older_than_s=age_s) if dry_run else sweep_objects(store, older_than_s=age_s)
    _print(found, store, age_s, as_json=as_json)


def age_of(text: str | None, settings: Settings) -> float:
    """Return an age in seconds.

    Raises:
        ConfigError: the text is no age.
    """
    from headrace.schemas.errors import ConfigError

    if text is None:
        return float(settings.objects.retention_s)
    units = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        age_s = float(number) * unit
    except ValueError:
        age_s = -1.0
    if not 0 <= age_s < 1e10:
        raise ConfigError(f"--older-than {text!r} is no age", "36d, 12h, 90m, or seconds")
    return age_s


def check_age(age_s: float, settings: Settings) -> None:
    """Refuse an age at which records that are still kept may refer to what would go.

    Raises:
        ConfigError: with every such topic.
    """
    from headrace.runtime.object_retention import retention_problems, topic_retentions
    from headrace.schemas.errors import ConfigError

    kept = topic_retentions(settings)
    if problems := retention_problems(age_s, kept, markers_s=settings.orchestrator.retention_s, name="--older-than"):
        raise ConfigError("; ".join(problems), "choose a higher age; --anyway sweeps all the same")


def _store(settings: Settings) -> ObjectStore:
    from headrace.runtime.objects import open_objects

    return open_objects(settings)


def _print(found: Census, store: ObjectStore, age_s: float, *, as_json: bool) -> None:
    plain: dict[str, Any] = {
        "place": store.place,
        "objects": found.objects,
        "bytes": found.size_bytes,
        "oldest_at": found.oldest_at.isoformat() if found.oldest_at else None,
        "newest_at": found.newest_at.isoformat() if found.newest_at else None,
        "foreign": found.foreign,
        "older_than_s": age_s,
        "old": found.old,
        "old_bytes": found.old_bytes,
        "deleted": found.deleted,
    }
    if as_json:
        typer.echo(json.dumps(plain))
        return
    typer.echo(f"{store.place}: {found.objects:,} objects, {found.size_bytes:,} bytes")
    if found.oldest_at and found.newest_at:
        typer.echo(f"written from {found.oldest_at:%Y-%m-%d %H:%M} to {found.newest_at:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"older than {age_s / 86_400:.3g} d: {found.old:,} objects, {found.old_bytes:,} bytes")
    if found.foreign:
        typer.echo(f"{found.foreign:,} objects of another form, never touched")
    if found.deleted:
        typer.echo(f"{found.deleted:,} deleted")
