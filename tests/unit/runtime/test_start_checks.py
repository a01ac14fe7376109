"""What keeps a service from its work on a cluster, from facts: no broker here."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.runtime.kafka_facts import parse_api_versions
from headrace.runtime.needs import orchestrator_needs, worker_needs
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.start_checks import Facts, problems, takeover_s

APIS = {9: (0, 8), 22: (0, 4), 28: (0, 3), 68: (0, 1)}
BROKER = {
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "group.consumer.session.timeout.ms": "45000",
}


def found(facts: Facts, **groups: Any) -> list[str]:
    settings = load_settings(**groups)
    return problems(settings, orchestrator_needs(settings, ["small"]), facts)


def all_rights(settings: Settings) -> dict[str, frozenset[str]]:
    return {topic: frozenset({"Read", "Write"}) for topic in orchestrator_needs(settings, ["small"]).topics}


def test_a_cluster_that_has_what_we_need_has_no_problems() -> None:
    settings = load_settings()
    sizes = dict.fromkeys(orchestrator_needs(settings, ["small"]).inline_topics, 1_048_588)
    facts = Facts(apis=APIS, broker=BROKER, rights=all_rights(settings), record_bytes=sizes)
    assert not problems(settings, orchestrator_needs(settings, ["small"]), facts)


def test_what_may_not_be_read_is_not_held_against_a_cluster() -> None:
    assert not found(Facts())


def test_brokers_without_fencing_of_group_members_are_too_old() -> None:
    (said,) = found(Facts(apis={**APIS, 28: (0, 2)}))
    assert "TxnOffsetCommit version 3 is needed, they have version 2" in said
    assert "KIP-447, Kafka 2.5" in said


def test_brokers_without_kip_848_are_told_only_to_who_asks_for_it() -> None:
    old = Facts(apis={key: versions for key, versions in APIS.items() if key != 68})
    assert not found(old)
    (said,) = found(old, kafka={"group_protocol": "consumer"})
    assert "ConsumerGroupHeartbeat version 0 is needed, they have none" in said


def test_every_missing_right_is_listed() -> None:
    settings = load_settings()
    rights = {**all_rights(settings), "headrace.jobs": frozenset({"Read"}), "headrace.events": frozenset()}
    facts = Facts(rights=rights, closed_groups=("headrace.orchestrator", "headrace.workers.small"))
    assert found(facts) == [
        "no right to Write on topic headrace.jobs",
        "no right to Write on topic headrace.events",
        "no right to Read on group headrace.orchestrator",
        "no right to Describe group headrace.workers.small",
    ]


def test_a_transaction_timeout_above_the_brokers_most_names_both_numbers() -> None:
    (said,) = found(Facts(broker={**BROKER, "transaction.max.timeout.ms": "1000"}))
    assert said == "orchestrator.transaction_timeout_ms 5000 is above the brokers' transaction.max.timeout.ms 1000"


@pytest.mark.parametrize(("session", "said"), [(3_000, "below"), (2_000_000, "above")])
def test_a_session_outside_of_what_the_brokers_take_names_both_numbers(session: int, said: str) -> None:
    (problem,) = found(Facts(broker=BROKER), kafka={"session_timeout_ms": session, "heartbeat_interval_ms": 500})
    assert f"kafka.session_timeout_ms {session} is {said} the brokers'" in problem
    assert not found(
        Facts(broker=BROKER),
        kafka={"session_timeout_ms": session, "heartbeat_interval_ms": 500, "group_protocol": "consumer"},
    )


def test_a_topic_too_small_for_an_inline_payload_names_both_numbers() -> None:
    sizes = {"headrace.state": 300_000, "headrace.jobs": 1_048_588}
    (said,) = found(Facts(record_bytes=sizes))
    assert said == (
        "headrace.state takes records of 300000 bytes; objects.inline_bytes 262144 needs max.message.bytes 327680"
    )


def test_a_client_limit_too_small_for_an_inline_payload_is_a_problem() -> None:
    (said,) = found(Facts(), kafka={"options": {"message.max.bytes": 100_000}})
    assert said.startswith("kafka.options message.max.bytes 100000 is too small")


def test_a_take_over_lasts_as_long_as_the_session_that_holds() -> None:
    assert takeover_s(load_settings(), Facts(broker=BROKER)) == 6
    modern = load_settings(kafka={"group_protocol": "consumer"})
    assert takeover_s(modern, Facts(broker=BROKER)) == 45
    assert takeover_s(modern, Facts(broker=BROKER, group={"consumer.session.timeout.ms": "6000"})) == 6
    assert takeover_s(modern, Facts()) is None


def test_a_worker_needs_no_transactions() -> None:
    settings = load_settings()
    facts = Facts(apis={28: (0, 0)}, broker={"transaction.max.timeout.ms": "1"})
    assert not problems(settings, worker_needs(settings, "small"), facts)


def test_api_versions_of_several_brokers_are_what_all_of_them_have() -> None:
    lines = [
        "a/1:   ApiKey TxnOffsetCommit (28) Versions 0..6",
        "b/2:   ApiKey TxnOffsetCommit (28) Versions 1..3",
        "b/2:   ApiKey Unknown-94? (94) Versions 0..0",
        "b/2: something else",
    ]
    assert parse_api_versions(lines) == {28: (1, 3), 94: (0, 0)}
