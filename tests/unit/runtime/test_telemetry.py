"""Logs without secrets, trace context, metrics and the admin port."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from headrace.runtime import metrics
from headrace.runtime.health import AdminServer, Heartbeats
from headrace.runtime.settings import AdminSettings, Settings
from headrace.runtime.telemetry import TRACEPARENT, configure_logging, new_traceparent, trace_headers, trace_id
from headrace.schemas.errors import ConfigError


@pytest.fixture
def restore_structlog():
    import logging

    before = (logging.root.handlers[:], logging.root.level)
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)


def test_a_log_line_is_json_with_bound_ids_and_no_secret(restore_structlog):
    out = io.StringIO()
    configure_logging(Settings(), stream=out)
    with structlog.contextvars.bound_contextvars(job_id="j"):
        structlog.get_logger().info(
            "task.done", api_key="abc", sasl_password="x", url="http://me:pass@host/", text="Bearer abcdefgh123"
        )
        structlog.get_logger().debug("not.shown")
    (line,) = map(json.loads, out.getvalue().splitlines())
    assert (line["event"], line["job_id"], line["level"]) == ("task.done", "j", "info")
    assert (line["api_key"], line["sasl_password"]) == ("***", "***")
    assert "pass" not in line["url"]
    assert "abcdefgh" not in line["text"]


@pytest.mark.parametrize("odd", ["\ud800", b"\xff", object(), {1: (2, None)}, float("nan"), {"a"}])
def test_whatever_is_logged_becomes_a_line_of_json_with_its_time(restore_structlog, odd):
    out = io.StringIO()
    configure_logging(Settings(), stream=out)
    structlog.get_logger().info("thing.seen", odd=odd)
    try:
        raise ValueError("\udcff")
    except ValueError:
        structlog.get_logger().exception("thing.failed")
    seen, failed = map(json.loads, out.getvalue().splitlines())
    assert seen["event"] == "thing.seen"
    assert "odd" in seen
    assert datetime.fromisoformat(seen["timestamp"]).utcoffset() == timedelta(0)
    assert abs(datetime.fromisoformat(seen["timestamp"]) - datetime.now(UTC)) < timedelta(seconds=30)
    assert failed["exception"][0]["exc_type"] == "ValueError"


def test_trace_context_is_passed_on_and_malformed_context_is_dropped():
    parent = new_traceparent()
    assert TRACEPARENT.fullmatch(parent)
    passed = trace_headers({"traceparent": parent, "tracestate": "a=b", "other": "x"})
    assert passed == [("traceparent", parent.encode()), ("tracestate", b"a=b")]
    assert trace_id(passed) == parent.split("-")[1]
    assert trace_headers({"traceparent": "00-" + "0" * 32 + "-" + "1" * 16 + "-01"}) == []
    assert trace_headers({"tracestate": "a=b"}) == []


def test_every_metric_is_in_the_catalogue_once_and_has_no_id_as_label():
    names = [line.name for line in metrics.CATALOGUE]
    assert len(names) == len(set(names))
    for line in metrics.CATALOGUE:
        assert line.name.startswith("headrace_")
        assert line.meaning.endswith(".")
        assert line.unit
        assert not {"job_id", "task_id", "job", "task", "key"} & set(line.labels)


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_admin_port_tells_life_from_readiness():
    problem = ["draining"]
    server = AdminServer(AdminSettings(), "worker", live=lambda: None, ready=lambda: problem[0], info={"pool": "small"})
    try:
        assert get(server.port, "/livez") == (200, "ok\n")
        assert get(server.port, "/readyz") == (503, "draining\n")
        problem[0] = None
        assert get(server.port, "/readyz")[0] == 200
        assert json.loads(get(server.port, "/info")[1])["pool"] == "small"
        assert "headrace_build_info" in get(server.port, "/metrics")[1]
        assert get(server.port, "/secret")[0] == 404
        with pytest.raises(ConfigError, match="cannot be opened"):
            AdminServer(AdminSettings(port=server.port), "worker", live=lambda: None, ready=lambda: None)
    finally:
        server.close()


def test_a_loop_that_stops_beating_is_named():
    beats = Heartbeats(bound_s=-1)
    beats.beat("poller-batch")
    assert "poller-batch" in beats.stale()
    beats.forget("poller-batch")
    assert beats.stale() is None
