"""A topic plan as text for those who apply it elsewhere: Kafka's own commands, or Strimzi's resources."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from headrace.runtime.topic_plan import Action, Difference, TopicPlan
from headrace.schemas.topics import TopicSpec


def as_kafka_topics(plan: TopicPlan, *, replication_factor: int) -> str:
    """Return shell commands of Kafka's ``bin`` folder; ``$BOOTSTRAP`` and ``$COMMAND_CONFIG`` are the caller's."""
    lines = ["#!/bin/sh", "set -eu", ': "${BOOTSTRAP:?host:port of a broker}"', 'CONFIG="${COMMAND_CONFIG:-/dev/null}"']
    lines += [_create_line(spec, replication_factor) for spec in plan.missing]
    lines += [_difference_line(difference) for difference in plan.differing]
    return "\n".join(lines) + "\n"


def _command(tool: str, *words: str) -> str:
    return f'{tool} --bootstrap-server "$BOOTSTRAP" --command-config "$CONFIG" {shlex.join(words)}'


def _create_line(spec: TopicSpec, factor: int) -> str:
    words = ["--create", "--if-not-exists", "--topic", spec.name, "--partitions", str(spec.partitions)]
    if factor > 0:
        words += ["--replication-factor", str(factor)]
    for name, value in spec.config.items():
        words += ["--config", f"{name}={value}"]
    return _command("kafka-topics.sh", *words)


def _difference_line(difference: Difference) -> str:
    match difference.action:
        case Action.GROW:
            words = ["--alter", "--topic", difference.topic, "--partitions", difference.wanted]
            return _command("kafka-topics.sh", *words)
        case Action.CONFIGURE:
            entry = f"{difference.what}={difference.wanted}"
            words = ["--alter", "--entity-type", "topics", "--entity-name", difference.topic, "--add-config", entry]
            return _command("kafka-configs.sh", *words)
        case _:
            return f"# refused: {difference}"


def as_strimzi(wanted: list[TopicSpec], *, replication_factor: int, cluster: str) -> str:
    """Return one KafkaTopic resource for every topic, present or not: an operator reconciles the whole set.

    Source: Strimzi, "Configuring Kafka topics"; API version ``v1`` exists from 0.49 and is the only one from 1.0 on.
    """
    return yaml.safe_dump_all([_resource(spec, replication_factor, cluster) for spec in wanted], sort_keys=False)


def _resource(spec: TopicSpec, factor: int, cluster: str) -> dict[str, Any]:
    body: dict[str, Any] = {"topicName": spec.name, "partitions": spec.partitions}
    if factor > 0:
        body["replicas"] = factor
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": spec.name, "labels": {"strimzi.io/cluster": cluster}},
        "spec": {**body, "config": {n: int(v) if v.isdigit() else v for n, v in spec.config.items()}},
    }
