"""``headrace status``, ``outcome``, ``cancel``, ``signal``: one job, by its id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.console.options import AsJson, Prefix, Servers, connected

if TYPE_CHECKING:
    from headrace.console.job_report import JobReport

Job = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]


def status(job: Job, as_json: AsJson = False, bootstrap_servers: Servers = None, prefix: Prefix = None) -> None:
    """Show where a job stands.

    Exit codes: 0 the job is known, whatever its status; 1 nothing is known of it; 3 Kafka is not there.
    """
    from headrace.console.job_reader import read_report, unknown_job
    from headrace.console.reader import TopicReader
    from headrace.runtime.kafka import wait_for_broker
    from headrace.schemas.ids import check_job_id

    settings = connected(bootstrap_servers, prefix)
    check_job_id(job)
    wait_for_broker(settings)
    with TopicReader(settings) as reader:
        report = read_report(reader, settings, job)
    if report is None:
        raise unknown_job(job, settings)
    if as_json:
        typer.echo(json.dumps(report.plain(), ensure_ascii=False))
    else:
        typer.echo("\n".join(report_lines(report)))


def report_lines(report: JobReport) -> list[str]:
    """Return a report for people: a line for the job, a line for each step, a line of totals."""
    reason = f" ({report.reason})" if report.reason else ""
    lines = [f"{report.job_id}  {report.status}{reason}  {report.workflow}  tenant {report.tenant}"]
    lines += [report.message] if report.message else []
    for step in report.steps:
        extra = "".join(
            f", {number} {word}"
            for number, word in ((step.in_flight, "in flight"), (step.retrying, "retrying"), (step.failed, "failed"))
            if number
        )
        lines.append(f"  {step.name:<16} {step.status:<8} {step.done}/{step.total} done{extra}")
    plain = report.plain()
    tokens = plain["tokens"]
    lines.append(
        f"  tokens: {tokens['input']:,} in ({tokens['cached']:,} cached), {tokens['output']:,} out; "
        f"${plain['cost_microusd'] / 1_000_000:.6f}"
    )
    return lines


def outcome(
    job: Job,
    as_json: AsJson = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait; default: for ever.")] = None,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Print a job's outcome, waiting for it if need be. A large output is fetched from the object store.

    Exit codes: 0 succeeded; 1 any other status; 3 no outcome in time, or Kafka is not there.
    """
    from headrace.console.client import HeadraceClient
    from headrace.console.outcome_view import print_outcome

    settings = connected(bootstrap_servers, prefix)
    with HeadraceClient(settings) as client:
        found = client.outcome(job, timeout)
    raise typer.Exit(print_outcome(found, settings, as_json=as_json))


def cancel(job: Job, bootstrap_servers: Servers = None, prefix: Prefix = None) -> None:
    """Ask for a job's end. Running calls are closed; the outcome is `cancelled` unless the job was faster.

    Exit codes: 0 the request is acknowledged; 3 Kafka is not there.
    """
    from headrace.console.client import HeadraceClient

    with HeadraceClient(connected(bootstrap_servers, prefix)) as client:
        client.cancel(job)
    typer.echo(f"asked to cancel {job}")


def signal(
    job: Job,
    name: Annotated[str, typer.Argument(help="The signal's name, as the workflow's wait says.", show_default=False)],
    data: Annotated[str | None, typer.Option(help="What it brings, as JSON; @FILE reads a file, - stdin.")] = None,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Send a job the signal that a step of it waits for: an approval, for example.

    The first that fits the step's schema counts. One that does not fit, or that no step waits for, goes to the dead
    letters; `headrace status` says whether the step waits on.

    Exit codes: 0 the signal is acknowledged; 2 the data is no JSON; 3 Kafka is not there.
    """
    from headrace.console.client import HeadraceClient

    payload = _payload(data)
    with HeadraceClient(connected(bootstrap_servers, prefix)) as client:
        client.signal(job, name, payload)
    typer.echo(f"signalled {name} to {job}")


def _payload(data: str | None) -> Any:
    """Return what a signal brings."""
    from headrace.console.commands.submit import read_text
    from headrace.schemas.errors import ConfigError

    if data is None:
        return None
    if data == "-" or data.startswith("@"):
        data = read_text(data.removeprefix("@"))
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--data is no JSON: {error}", "a text needs its quotes: --data '\"yes\"'") from None
