from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from headrace.runtime.java import Java
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime, choose_ports, new_cluster_id
from headrace.runtime.local_kafka_config import NodePorts, broker_command, server_properties
from headrace.runtime.local_kafka_state import BrokerState, read_state, status, stop, write_state
from headrace.runtime.processes import ProcessRef
from headrace.schemas.errors import ConfigError, DependencyUnavailable

RUNTIME = Runtime(Java(Path("/j/bin/java"), 17, "PATH"), Path("/jars"))


def _settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_one_node_listens_on_loopback_only_and_keeps_one_copy() -> None:
    found = _settings(server_properties(1, [NodePorts(1001, 1002)], Path("/data")))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1001,CONTROLLER://127.0.0.1:1002"
    assert found["offsets.topic.replication.factor"] == "1"


def test_every_setting_has_its_reason_above_it() -> None:
    lines = server_properties(1, [NodePorts(1, 2, 3)], Path("/data")).splitlines()[1:]
    assert all(line.startswith("# ") for line in lines[::2])
    assert all("=" in line for line in lines[1::2])


def test_three_nodes_keep_three_copies_and_vote_on_each_others_ports() -> None:
    ports = [NodePorts(1, 2), NodePorts(3, 4), NodePorts(5, 6)]
    found = _settings(server_properties(2, ports, Path("/data")))
    assert found["controller.quorum.voters"] == "1@127.0.0.1:2,2@127.0.0.1:4,3@127.0.0.1:6"
    assert (found["default.replication.factor"], found["min.insync.replicas"]) == ("3", "2")
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:3"


def test_the_unsafe_flags_go_only_to_a_java_that_knows_them() -> None:
    for major, wanted in ((17, False), (25, True)):
        command = broker_command(Java(Path("/j"), major, "PATH"), Path("/jars"), Path("/p"), heap_mb=384)
        assert ("--sun-misc-unsafe-memory-access=allow" in command) is wanted


def test_a_port_that_is_taken_is_refused_and_chosen_ports_differ() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DependencyUnavailable, match="cannot be used"):
            choose_ports(1, port=taken.getsockname()[1])
    chosen = choose_ports(3, sasl=True)
    assert len({port for node in chosen for port in (node.broker, node.controller, node.sasl)}) == 9


def test_a_cluster_id_never_looks_like_an_option() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(each) == 22 and not each.startswith("-") for each in ids)


@pytest.mark.parametrize("nodes", [0, 2, 4])
def test_only_one_or_three_nodes_make_a_cluster(nodes: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 or 3 nodes"):
        LocalKafka(LocalKafkaOptions(tmp_path, nodes=nodes), RUNTIME)


def test_a_folder_of_three_nodes_is_not_started_with_one(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps({"cluster_id": "x", "nodes": 3}))
    with pytest.raises(ConfigError, match="cluster of 3"):
        LocalKafka(LocalKafkaOptions(tmp_path), RUNTIME).start()


def _state(*processes: ProcessRef, ready: bool = True) -> BrokerState:
    return BrokerState("4.4.0", "127.0.0.1:1", None, attached=False, ready=ready, processes=processes)


def test_a_recycled_pid_is_stale_and_never_signalled(tmp_path: Path) -> None:
    write_state(tmp_path, _state(ProcessRef(os.getpid(), "another start")))
    assert status(tmp_path).state == "stale"
    assert stop(tmp_path) is False  # Had it been signalled, this test would not end.
    assert status(tmp_path).state == "stopped"


def test_a_broker_that_is_not_ready_offers_no_servers_and_one_dead_node_of_two_degrades(tmp_path: Path) -> None:
    me = ProcessRef.of(os.getpid())
    assert me is not None
    write_state(tmp_path, _state(me, ready=False))
    assert (status(tmp_path).state, status(tmp_path).bootstrap_servers) == ("starting", None)
    write_state(tmp_path, _state(me, ProcessRef(os.getpid(), "gone")))
    assert status(tmp_path).state == "degraded"


def test_an_attached_brokers_folder_cannot_be_started_twice(tmp_path: Path) -> None:
    me = ProcessRef.of(os.getpid())
    assert me is not None
    write_state(tmp_path, _state(me))
    with pytest.raises(ConfigError, match="already runs"):
        LocalKafka(LocalKafkaOptions(tmp_path), RUNTIME).start()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"processes": [1]}', '{"processes": [], "newer": 1}'])
def test_a_state_file_that_cannot_be_read_is_no_broker(tmp_path: Path, text: str) -> None:
    (tmp_path / "broker.json").write_text(text)
    assert read_state(tmp_path) is None
    assert status(tmp_path).state == "stopped"
