"""``headrace topics plan|apply``: the topics as they are against the topics as they should be."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.console.options import AsJson, Pools, Prefix, Servers, connected

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from headrace.runtime.settings import Settings
    from headrace.runtime.topic_plan import TopicPlan

app = typer.Typer(name="topics", help="Plan and apply the topics of a deployment.", no_args_is_help=True)


class Format(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    KAFKA_TOPICS = "kafka-topics"
    STRIMZI = "strimzi"


@app.command()
def plan(  # noqa: PLR0917 - typer makes options of them
    form: Annotated[Format, typer.Option("--format", help="For those who may not apply it.")] = Format.TEXT,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no broker: every topic counts as missing.")] = False,
    cluster: Annotated[str, typer.Option(help="Strimzi: the name of the Kafka resource.")] = "kafka",
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
    pools: Pools = None,
) -> None:
    """Print what `apply` would do; changes nothing.

    Exit codes: 0 nothing to do; 1 something to do (as diff has it; always 0 with --format); 3 a count that
    cannot change differs, or Kafka is not there.
    """
    settings, names = _settings(bootstrap_servers, prefix, pools)
    found = _offline(settings, names) if offline else _planned(_admin(settings), settings, names)
    if form is not Format.TEXT:
        typer.echo(_formatted(form, found, settings, names, cluster), nl=False)
        return
    typer.echo(json.dumps(_plain(found)) if as_json else _text(found))
    if found.refused:
        raise typer.Exit(3)
    raise typer.Exit(1 if found.differences else 0)


@app.command()
def apply(bootstrap_servers: Servers = None, prefix: Prefix = None, pools: Pools = None) -> None:
    """Create missing topics, grow task topics, set differing configs. Run again, it changes nothing.

    Exit codes: 0 done; 3 a count that cannot change differs (nothing was changed), or Kafka is not there.
    """
    from headrace.runtime.topic_plan import apply as apply_plan

    settings, names = _settings(bootstrap_servers, prefix, pools)
    done = apply_plan(_admin(settings), settings, names)
    typer.echo(_text(done) if done.differences else "nothing to do")
    if done.differences:
        typer.echo("applied", err=True)


def _settings(servers: str | None, prefix: str | None, pools: Pools) -> tuple[Settings, list[str]]:
    from headrace.runtime.pools import load_pools

    settings = connected(servers, prefix, pools)
    return settings, list(load_pools(settings.pools_file).pools)


def _admin(settings: Settings) -> AdminClient:
    from headrace.runtime.kafka import wait_for_broker

    return wait_for_broker(settings)


def _planned(admin: AdminClient, settings: Settings, names: list[str]) -> TopicPlan:
    from headrace.runtime.topic_plan import plan as compute

    return compute(admin, settings, names)


def _offline(settings: Settings, names: list[str]) -> TopicPlan:
    from headrace.runtime.topic_plan import compare, wanted_topics

    return compare(wanted_topics(settings, names), {}, {})


def _formatted(form: Format, found: TopicPlan, settings: Settings, names: list[str], cluster: str) -> str:
    from headrace.runtime.topic_formats import as_kafka_topics, as_strimzi
    from headrace.runtime.topic_plan import wanted_topics

    factor = settings.topics.replication_factor
    if form is Format.KAFKA_TOPICS:
        return as_kafka_topics(found, replication_factor=factor)
    return as_strimzi(wanted_topics(settings, names), replication_factor=factor, cluster=cluster)


def _text(found: TopicPlan) -> str:
    lines = [f"{difference.action.value:<10} {difference}" for difference in found.differences]
    return "\n".join([*lines, f"{len(found.fine)} topics are as they should be"])


def _plain(found: TopicPlan) -> dict[str, object]:
    differences = [
        {"topic": d.topic, "action": d.action.value, "what": d.what, "found": d.found, "wanted": d.wanted}
        for d in found.differences
    ]
    return {"differences": differences, "fine": list(found.fine)}
