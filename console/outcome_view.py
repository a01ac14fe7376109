"""Prints an outcome: as the documented JSON, or for people."""

from __future__ import annotations

import json
from typing import Any

import typer

from headrace.runtime.settings import Settings
from headrace.schemas.messages import JobStatus, Outcome, Receipt


def outcome_json(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """Return an outcome with all of its fields, a large output fetched from the object store.

    Raises:
        DependencyUnavailable: the store does not answer.
        ContractError: the object is gone or damaged.
    """
    return {**outcome.model_dump(mode="json"), "output": output_of(outcome, settings)}


def output_of(outcome: Outcome, settings: Settings) -> Any:
    """Return the output itself, wherever it lies."""
    if outcome.output_ref is None:
        return outcome.output
    from headrace.runtime.objects import open_objects

    return json.loads(open_objects(settings).get(outcome.output_ref))


def print_outcome(outcome: Outcome, settings: Settings, *, as_json: bool) -> int:
    """Print an outcome and return the exit code: 0 where it succeeded, else 1."""
    if as_json:
        typer.echo(json.dumps(outcome_json(outcome, settings), ensure_ascii=False))
    else:
        _print_for_people(outcome, output_of(outcome, settings))
    return 0 if outcome.status is JobStatus.SUCCEEDED else 1


def _print_for_people(outcome: Outcome, output: Any) -> None:
    color = typer.colors.GREEN if outcome.status is JobStatus.SUCCEEDED else typer.colors.RED
    reason = f" ({outcome.reason.value})" if outcome.reason else ""
    partial = ", partial" if outcome.partial else ""
    typer.secho(f"{outcome.status.value}{reason}{partial}", fg=color, err=True)
    if outcome.message:
        typer.echo(outcome.message, err=True)
    for item in outcome.failed_items[:10]:
        typer.echo(f"failed: {item.task_id}: {item.failure.kind.value}: {item.failure.message}", err=True)
    if outcome.failed_items_total > 10:
        typer.echo(f"… {outcome.failed_items_total} items failed in all", err=True)
    typer.echo("\n".join(receipt_lines(outcome.receipt)), err=True)
    if output is not None:
        typer.echo(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2))


def receipt_lines(receipt: Receipt) -> list[str]:
    """Return the receipt as lines: totals, then a line for each step and each pool."""
    usage = receipt.usage
    lines = [
        f"receipt: {receipt.tasks} tasks, {receipt.attempts} attempts, {usage.input_tokens:,} tokens in "
        f"({usage.cached_tokens:,} cached), {usage.output_tokens:,} out, {money(receipt.cost_microusd)}"
    ]
    for name, step in receipt.steps.items():
        took = f"{(step.finished_ms - step.started_ms) / 1000:.2f} s" if step.finished_ms and step.started_ms else "-"
        extra = f", {step.failed} failed" if step.failed else ""
        extra += f", {step.truncated} cut at their limit" if step.truncated else ""
        lines.append(f"  step {name:<12} {step.tasks:>5} tasks {took:>10}{extra}")
    for name, pool in receipt.pools.items():
        models = ", ".join(pool.models) or "-"
        lines.append(
            f"  pool {name:<12} {pool.tasks:>5} tasks {pool.call_ms / 1000:>8.2f} s in calls, "
            f"{money(pool.cost_microusd)}, answered by {models}"
        )
    return lines


def money(microusd: int) -> str:
    """Return money for people: micro-US-dollars are whole numbers, so nothing is rounded away below six digits."""
    return f"${microusd / 1_000_000:.6f}"
