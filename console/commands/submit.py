"""``headrace submit``: checked here against the contract, written to the job's home partition, acknowledged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.console.options import Prefix, Servers, connected, parse_labels

if TYPE_CHECKING:
    from headrace.console.client import HeadraceClient
    from headrace.schemas.messages import Submission


def submit(  # noqa: PLR0917 - typer makes options of them
    file: Annotated[
        str | None, typer.Argument(help="The input (with --workflow) or the whole submission, JSON; - is stdin.")
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", help="name@version, or a workflow's YAML file.")
    ] = None,
    items: Annotated[
        str | None,
        typer.Option("--items", help="JSON Lines: what the workflow sees as input.items, up to a million; - is stdin."),
    ] = None,
    part_bytes: Annotated[
        int,
        typer.Option("--part-bytes", min=1_000, max=67_108_864, help="Size of the parts that --items is cut into."),
    ] = 1_000_000,
    job_id: Annotated[str | None, typer.Option("--job-id", help="Idempotency key; random if left out.")] = None,
    session: Annotated[str | None, typer.Option(help="The conversation that the job is a turn of.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose job it is.")] = None,
    lane: Annotated[str | None, typer.Option(help="interactive or batch.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher first, -100 to 100.")] = None,
    deadline: Annotated[str | None, typer.Option(help="RFC 3339 with a time zone.")] = None,
    budget_microusd: Annotated[int | None, typer.Option(help="Most money, in micro-US-dollars.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Most tokens, input and output.")] = None,
    sensitivity: Annotated[str | None, typer.Option(help="public, internal or confidential.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="name=value; repeatable.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome and print it.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait with --wait; default: for ever.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help='Print {"job_id": …}, or the outcome with --wait.')] = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Submit a job. Prints its id once Kafka has acknowledged it.

    An input that is too large for Kafka, and all --items, go through the object store. An upload that was interrupted
    is resumed by running it again.

    Exit codes: 0 acknowledged (with --wait: succeeded); 1 the job did not succeed; 2 the submission or a line of
    --items breaks the contract, nothing was submitted; 3 Kafka, its topics or the object store are not there.
    """
    flags = {
        "job_id": job_id,
        "tenant": tenant,
        "lane": lane,
        "priority": priority,
        "deadline": deadline,
        "sensitivity": sensitivity,
        "labels": parse_labels(label or []) or None,
        "budget": {k: v for k, v in (("microusd", budget_microusd), ("tokens", budget_tokens)) if v is not None}
        or None,
    }
    text = given_text(file, items, workflow)
    submission = build_submission(text, name=file or "the submission", workflow=workflow, flags=flags)
    from headrace.console.client import HeadraceClient, turn_id
    from headrace.console.outcome_view import print_outcome

    if session is not None:
        submission = submission.model_copy(update={"job_id": turn_id(session, submission.job_id)})
    settings = connected(bootstrap_servers, prefix)
    with HeadraceClient(settings) as client:
        if items is not None:
            submission = upload(client, submission, items, part_bytes)
        sent = client.send(submission)
        if not wait or submission.type != "job":
            typer.echo(json.dumps({"job_id": sent}) if as_json else sent)
            return
        typer.echo(f"job {sent}", err=True)
        outcome = client.outcome(sent, timeout)
    raise typer.Exit(print_outcome(outcome, settings, as_json=as_json))


def given_text(file: str | None, items: str | None, workflow: str | None) -> str:
    """Return the text of FILE; with --items and a workflow it may be left out.

    Raises:
        ConfigError: there is nothing to submit, or standard input is to be both.
    """
    from headrace.schemas.errors import ConfigError

    if file is not None and file == items == "-":
        raise ConfigError("FILE and --items cannot both be standard input")
    if file is not None:
        return read_text(file)
    if items is None or workflow is None:
        raise ConfigError("FILE is missing", "with --workflow and --items it may be left out: the input is then empty")
    return "{}"


def upload(client: HeadraceClient, submission: Submission, items: str, part_bytes: int) -> Submission:
    """Upload the items with a progress bar, and return the submission that names them."""
    from headrace.console.upload_bar import upload_bar

    with upload_bar() as bar:
        with_items = client.with_items(submission, items, part_bytes=part_bytes, watch=bar.show)
    typer.echo(bar.summary(), err=True)
    return with_items


def read_text(file: str) -> str:
    """Return a file's text, or standard input's for ``-``.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    from headrace.schemas.errors import ConfigError

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{_shown(file)} is not UTF-8 (byte {error.start:,})") from None


def build_submission(text: str, *, name: str, workflow: str | None, flags: dict[str, Any]) -> Submission:
    """Return the submission that a file and flags make, checked against the contract.

    Args:
        text: JSON: the input where ``workflow`` is given, else the whole value.
        name: the file's name, for messages.
        flags: fields of the submission; those that are None are left out, the others win over the file.

    Raises:
        ConfigError: not JSON (with line and column), or not what the contract allows (with suggestions).
    """
    from headrace.schemas.codec import decode
    from headrace.schemas.errors import ConfigError, DecodeError
    from headrace.schemas.messages import Submission

    value = _parsed(text, name)
    if workflow is not None:
        value = {"workflow": _workflow(workflow), "input": value}
    elif not isinstance(value, dict):
        raise ConfigError(f"{_shown(name)} is no JSON object", "with --workflow NAME, FILE is the input alone")
    value.update({field: given for field, given in flags.items() if given is not None})
    try:
        written = json.dumps(value).encode()
        submission = decode(Submission, written, max_bytes=len(written))  # `travelling` says how large an input may be.
    except DecodeError as error:
        raise ConfigError(f"{_shown(name)}: {error.message}", _contract_hint(value, workflow)) from None
    if submission.type == "job" and submission.workflow is None:
        raise ConfigError(f"{_shown(name)} names no workflow", "add --workflow NAME@VERSION: then FILE is the input")
    if submission.type != "job" and submission.job_id is None:
        raise ConfigError(f"{_shown(name)}: a {submission.type} needs the job_id it is meant for", "add --job-id")
    return submission


def _parsed(text: str, name: str) -> Any:
    from headrace.schemas.errors import ConfigError

    def refuse(constant: str) -> Any:
        raise ConfigError(f"{_shown(name)} is not JSON: {constant} is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{_shown(name)} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{_shown(name)} is nested too deeply") from None


def _workflow(given: str) -> str | dict[str, Any]:
    """Return a workflow's name, or the document where a YAML file was given: a path has a slash or a YAML suffix."""
    if not given.endswith((".yaml", ".yml")):
        return given
    import yaml

    from headrace.schemas.errors import ConfigError

    try:
        document = yaml.safe_load(read_text(given))
    except yaml.YAMLError as error:
        raise ConfigError(f"{given} is not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{given} is no workflow", "headrace workflow check FILE")
    return document


def _contract_hint(value: Any, workflow: str | None) -> str:
    if workflow is None and isinstance(value, dict) and "workflow" not in value:
        return "without --workflow, FILE is the whole submission; with it, FILE is the input alone"
    return "docs/workflows.md, section The job, and schemas/json/job.json have the contract"


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name
