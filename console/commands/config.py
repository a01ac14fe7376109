"""``headrace config show``: the settings as a process would take them."""

from __future__ import annotations

import json
import re

import typer

from headrace.console.options import AsJson, Pools, Prefix, Servers, settings_from

app = typer.Typer(name="config", help="Look at the settings.", no_args_is_help=True)

MASK = "***"
PRIVATE = re.compile(r"(?i)(key\.pem|\btoken$|_token$)")
"""Names that are secret in librdkafka's options and not elsewhere: a private key as text, a bearer token."""


@app.command()
def show(
    as_json: AsJson = False, bootstrap_servers: Servers = None, prefix: Prefix = None, pools: Pools = None
) -> None:
    """Print the merged settings, secrets masked.

    Exit codes: 0; 2 a setting cannot be used.
    """
    import yaml

    plain = masked(settings_from(bootstrap_servers, prefix, pools).model_dump(mode="json"))
    text = json.dumps(plain) if as_json else yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).rstrip()
    typer.echo(text)


def masked(value: object, name: str = "") -> object:
    """Return the value with every secret replaced: by the name of its field, and inside addresses and texts."""
    from headrace.runtime.telemetry import SECRET_NAMES, SECRET_TEXT

    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if value and (SECRET_NAMES.search(name.replace(".", "_")) or PRIVATE.search(name)):
        return MASK
    if isinstance(value, str):
        # Inside librdkafka's own texts too: sasl.jaas.config, sasl.oauthbearer.config.
        return MASK if "config" in name and SECRET_NAMES.search(value) else SECRET_TEXT.sub(MASK, value)
    return value
