"""A pool of tools on a real broker: calls are answered on results, and none that changes something is made twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace.examples.mail_server import MailServer
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Sensitivity, ToolCall
from tests.integration.worker_fixtures import World, counts, task, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

POOL = "tool-shop"
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


class Shop:
    """A real service that takes orders, and holds back what it is told to."""

    def __init__(self):
        self.orders: list[tuple[str, dict]] = []
        self.held = threading.Event()
        self.held.set()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                shop.orders.append((self.headers["idempotency-key"], body))
                shop.held.wait(30)
                content = json.dumps({"twice": 2 * body["n"]}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/orders"

    def close(self):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def world(bootstrap_servers, topic_prefix, tmp_path):
    made = World(bootstrap_servers, topic_prefix, tmp_path, pool=POOL)
    yield made
    made.close()


@pytest.fixture
def shop():
    made = Shop()
    yield made
    made.close()


def pools_file(world, **tools):
    path = world.folder / "pools.yaml"
    path.write_text(json.dumps({"tools": {name: {"pool": POOL, **spec} for name, spec in tools.items()}}))
    return path


def order(shop, **fields):
    return {"kind": "http", "method": "POST", "url": shop.url, "private": True, "arguments": SCHEMA, **fields}


def tool_task(number, tool="order", **fields):
    call = ToolCall(tool=tool, arguments=fields.pop("arguments", {"n": number}))
    return task(number, pool=POOL, call=None, tool=call, **fields)


def test_tool_tasks_are_answered_on_results_and_their_starts_are_in_the_journal(world, shop):
    letter = {"to": "ann@example.org", "subject": "hi", "text": "hello"}
    with MailServer() as mail:
        providers = [{"host": "127.0.0.1", "port": mail.port, "security": "none"}]
        mailer = {"kind": "email", "sender": "a@b.example", "providers": providers}
        world.worker(pools_file(world, order=order(shop, price_microusd=5), mail=mailer, echo={"kind": "noop"}))
        tasks = [tool_task(number) for number in range(40)]
        tasks += [tool_task(100, "mail", arguments=letter), tool_task(101, "echo", arguments={"a": ["ä"]})]
        tasks += [tool_task(102, arguments={"n": "x"}), tool_task(103, "none"), tool_task(104, arguments={})]
        tasks += [tool_task(105, sensitivity=Sensitivity.CONFIDENTIAL), task(106, pool=POOL)]
        world.produce(tasks)
        by_task = world.results(len(tasks))
        world.wait_for_no_lag()
        assert counts(by_task) == {1: len(tasks)}
        found = {int(name.rpartition("/")[2]): results[0] for name, results in by_task.items()}
        assert [found[number].output for number in range(40)] == [{"twice": 2 * number} for number in range(40)]
        assert (found[7].cost_microusd, found[7].endpoint, found[7].pool) == (5, "order", POOL)
        assert found[100].output["message_id"] == mail.letters[0]["message-id"]
        assert found[101].output == {"a": ["ä"]}
        assert {found[number].failure.kind for number in range(102, 107)} == {ErrorKind.BAD_REQUEST}
    assert Counter(key for key, _ in shop.orders) == {f"j-1/notes/{number}": 1 for number in range(40)}
    assert world.journal_phases()["started"] == 42
    assert world.events(0, "tool.ready")


def test_a_call_that_a_killed_worker_had_begun_is_not_made_again(world, shop):
    shop.held.clear()
    pools = pools_file(world, order=order(shop))
    first = world.worker(pools)
    world.produce([tool_task(number) for number in range(6)])
    wait_until(lambda: len(shop.orders) == 6, "the service has every order")
    first.kill()
    first.wait()
    shop.held.set()
    world.worker(pools)
    by_task = world.results(6)
    world.wait_for_no_lag()
    results = [found[0] for found in by_task.values()]
    assert {(one.failure.kind, one.cause, one.unconfirmed) for one in results} == {
        (ErrorKind.INTERRUPTED, "kill", True)
    }
    assert len(shop.orders) == 6


def test_the_next_attempt_of_an_order_carries_the_same_key(world, shop):
    world.worker(pools_file(world, order=order(shop, idempotent=True)))
    world.produce([tool_task(1), tool_task(1, attempt=2)])
    wait_until(lambda: len(shop.orders) == 2, "both attempts are made")
    assert [key for key, _ in shop.orders] == ["j-1/notes/1"] * 2


def test_a_worker_whose_tool_cannot_work_says_why_and_does_not_start(world):
    worker = world.worker(pools_file(world, query={"kind": "sql", "database": "none.db"}))
    assert worker.wait(60) == 2
    assert "there is no database 'none.db'" in world.log_of(0)
