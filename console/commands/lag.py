"""``headrace lag``: what waits for workers, by pool and lane."""

from __future__ import annotations

import json

import typer

from headrace.console.options import AsJson, Pools, Prefix, Servers, connected


def lag(as_json: AsJson = False, bootstrap_servers: Servers = None, prefix: Prefix = None, pools: Pools = None) -> None:
    """Show records waiting, in flight, the age of the oldest, and the members, by pool and lane.

    Exit codes: 0; 3 Kafka or its topics are not there.
    """
    from headrace.console.pool_lags import lag_lines, pool_lags, pool_names
    from headrace.runtime.kafka import wait_for_broker

    settings = connected(bootstrap_servers, prefix, pools)
    admin = wait_for_broker(settings)
    found = pool_lags(admin, settings, pool_names(admin, settings), ages=True)
    if as_json:
        typer.echo(json.dumps({"prefix": settings.topics.prefix, "pools": [one.plain() for one in found]}))
    else:
        typer.echo("\n".join(lag_lines(found)))
