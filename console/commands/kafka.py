"""`headrace kafka start|stop|status`: the local broker.

Exit codes: 0 done or running, 2 usage, 3 not running or not to be started.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions
    from headrace.runtime.local_kafka_state import LocalKafkaStatus

app = typer.Typer(name="kafka", help="Start, stop and look at the local Kafka.", no_args_is_help=True)

USUAL_PORT = 9092
"""Taken when it is free and none was asked for: it is where every Kafka tool looks first."""

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: kafka/ under data_dir.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@app.command()
def start(  # noqa: PLR0917 - typer's options
    nodes: Annotated[int, typer.Option(help="1, or 3 with three copies of everything.")] = 1,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the first node.")] = None,
    data: Data = None,
    heap_mb: Annotated[int, typer.Option(min=192, help="Java heap of each node, in MB.")] = 384,
    foreground: Annotated[bool, typer.Option("--foreground", help="Run until Ctrl-C; ends with this process.")] = False,
    as_json: Json = False,
) -> None:
    """Start a local Kafka and return when it serves clients."""
    from headrace.runtime.brokers import local_runtime, survey
    from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions
    from headrace.runtime.local_kafka_state import status as look

    folder = _folder(data)
    if not foreground and look(folder).state == "running":
        _show(look(folder), as_json=as_json)
        return
    options = LocalKafkaOptions(folder, nodes=nodes, port=port or _usual_port(), heap_mb=heap_mb, attached=foreground)
    kafka = LocalKafka(options, local_runtime(survey(look_all=True)))
    if foreground:
        _run_in_foreground(kafka, options, as_json=as_json)
    else:
        kafka.start()
        _show(look(folder), as_json=as_json)


@app.command()
def stop(data: Data = None) -> None:
    """Stop the local Kafka; its topics stay."""
    from headrace.runtime.local_kafka_state import stop as end

    typer.echo("stopped" if end(_folder(data)) else "was not running")


@app.command()
def status(data: Data = None, as_json: Json = False) -> None:
    """Tell whether the local Kafka runs (exit code 0) or not (3)."""
    from headrace.runtime.local_kafka_state import status as look

    found = look(_folder(data))
    _show(found, as_json=as_json)
    if not found.running:
        raise typer.Exit(3)


def _folder(data: Path | None) -> Path:
    from headrace.runtime.settings import load_settings

    return (data or load_settings().data_path / "kafka").expanduser().absolute()


def _usual_port() -> int | None:
    from headrace.runtime.local_kafka import choose_ports
    from headrace.schemas.errors import DependencyUnavailable

    try:
        return choose_ports(1, port=USUAL_PORT)[0].broker
    except DependencyUnavailable:
        return None


def _run_in_foreground(kafka: LocalKafka, options: LocalKafkaOptions, *, as_json: bool) -> None:
    from headrace.runtime.local_kafka_state import log_file
    from headrace.runtime.local_kafka_state import status as look
    from headrace.schemas.errors import DependencyUnavailable

    # SIGTERM, as a supervisor sends it, ends as Ctrl-C does: through `with`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with kafka:
            _show(look(options.data), as_json=as_json)
            code = kafka.wait()
    except KeyboardInterrupt:
        return
    raise DependencyUnavailable(f"the local Kafka ended (exit code {code})", f"see {log_file(options.data, 1)}")


def _show(found: LocalKafkaStatus, *, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {**asdict(found), "data": str(found.data), "logs": [str(log) for log in found.logs]}
        typer.echo(json.dumps(shown))
        return
    rows = {
        "state": found.state,
        "bootstrap": found.bootstrap_servers or "-",
        "pid": ", ".join(str(pid) for pid in found.pids) or "-",
        "memory": f"{found.rss_bytes / 1e6:.0f} MB" if found.pids else "-",
        "version": f"Apache Kafka {found.kafka_version}" if found.kafka_version else "-",
        "data": str(found.data),
        "log": ", ".join(str(log) for log in found.logs) or "-",
    }
    for name, value in rows.items():
        typer.echo(f"{name:<10} {value}")
