"""``headrace watch``: one job live, from its topics."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.console.commands.jobs import Job
from headrace.console.options import Prefix, Servers, connected


def watch(
    job: Job,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between drawings while nothing happens.")] = 1.0,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Follow a job to its outcome: steps, tokens, money, lag. Plain lines where standard error is no terminal.

    Exit codes: 0 succeeded; 1 any other ending, or nothing is known of the job; 3 Kafka is not there.
    """
    from headrace.console.client import HeadraceClient
    from headrace.console.job_reader import follow
    from headrace.console.outcome_view import print_outcome
    from headrace.console.pool_lags import pool_lags, pool_names
    from headrace.console.progress import Screen
    from headrace.console.reader import TopicReader
    from headrace.runtime.kafka import wait_for_broker
    from headrace.schemas.ids import check_job_id

    check_job_id(job)
    settings = connected(bootstrap_servers, prefix)
    admin = wait_for_broker(settings)
    names = pool_names(admin, settings)
    with TopicReader(settings) as reader, Screen(lambda: pool_lags(admin, settings, names)) as screen:
        screen.show(follow(reader, settings, job, every_s=every))
    with HeadraceClient(settings) as client:
        found = client.outcome(job, 30.0)
    raise typer.Exit(print_outcome(found, settings, as_json=False))
