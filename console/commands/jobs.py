"""``headrace status``, ``outcome``, ``cancel``: one job, by its id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

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
