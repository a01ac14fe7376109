"""The tool `sql` on real files, with statements that want more than they may."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest
from structlog.testing import capture_logs

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from tests.unit.workers.tools.kit import call, opened

BY_ID = {"type": "object", "properties": {"id": {}, "note": {}}}


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop with space#.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, total REAL, picture BLOB);
            CREATE INDEX by_customer ON orders (customer);
            CREATE TABLE secrets (word TEXT);
            CREATE VIEW totals AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
            INSERT INTO orders VALUES (1, 'Ann', 10.5, x'00ff'), (2, 'Bob', 9e999, NULL), (3, 'Ann', 2, NULL);
            INSERT INTO secrets VALUES ('swordfish');
            """
        )
    connection.close()
    return path


def ask(path, query, parameters=None, *, timeout_s=5.0, **fields):
    arguments = {"query": query, **({} if parameters is None else {"parameters": parameters})}
    return call(arguments, timeout_s=timeout_s, kind="sql", database=str(path), **fields).output


def refused(path, query, parameters=None, **fields):
    with pytest.raises(AdapterError) as caught:
        ask(path, query, parameters, **fields)
    return caught.value


def rows_of(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_what_runs_is_logged_where_asked_for_and_what_is_refused_did_not_run(shop):
    with capture_logs() as logs:
        ask(shop, "SELECT id FROM orders WHERE customer = ?", ["Ann"], log_statements=True)
        refused(shop, "SELECT nothing FROM orders", log_statements=True)
        refused(shop, "DELETE FROM orders", log_statements=True)
        ask(shop, "SELECT 1")
    assert [(line["event"], line["statement"]) for line in logs] == [
        ("statement.ran", "SELECT id FROM orders WHERE customer = 'Ann'")
    ]


def test_rows_come_with_their_columns_and_as_json(shop):
    found = ask(shop, "SELECT id, customer, total, picture FROM orders ORDER BY id")
    assert found["columns"] == ["id", "customer", "total", "picture"]
    assert found["rows"] == [[1, "Ann", 10.5, "AP8="], [2, "Bob", None, None], [3, "Ann", 2.0, None]]
    assert found["truncated"] is False


@pytest.mark.parametrize("parameters", [["Ann' OR 1=1 --"], {"name": "Ann' OR 1=1 --"}])
def test_parameters_are_bound_and_never_text_of_the_statement(shop, parameters):
    place = "?" if isinstance(parameters, list) else ":name"
    assert ask(shop, f"SELECT id FROM orders WHERE customer = {place}", parameters)["rows"] == []


def test_a_tool_may_have_a_statement_of_its_own_whose_parameters_are_the_arguments(shop):
    def run(arguments):
        statement = "SELECT customer FROM orders WHERE id = :id OR :note = 'all'"
        fields = {"kind": "sql", "database": str(shop), "statement": statement, "arguments": BY_ID}
        return call(arguments, **fields).output["rows"]

    assert run({"id": 2}) == [["Bob"]]
    assert run({"id": 2, "note": "x' OR '1'='1"}) == [["Bob"]]
    assert len(run({"note": "all"})) == 3


WRITES = [
    "INSERT INTO orders (id) VALUES (9)",
    "UPDATE orders SET total = 0",
    "DELETE FROM orders",
    "REPLACE INTO orders (id) VALUES (1)",
    "WITH x AS (SELECT 1) DELETE FROM orders",
    "INSERT INTO orders (id) VALUES (9) RETURNING id",
]
NEVER = [
    "DROP TABLE orders",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t (a)",
    "ALTER TABLE orders ADD COLUMN x",
    "ATTACH DATABASE 'other.db' AS other",
    "ATTACH DATABASE ':memory:' AS other",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema = 1",
    "PRAGMA table_info(orders)",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT a",
    "REINDEX",
    "ANALYZE",
    "SELECT load_extension('/tmp/evil.so')",
    "SELECT writefile('/tmp/evil', 'x')",
    "SELECT fts3_tokenizer('simple')",
    "EXPLAIN DROP TABLE orders",
]


@pytest.mark.parametrize("query", [*WRITES, *NEVER])
def test_a_reading_tool_changes_nothing_whatever_it_is_asked(shop, query, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before, files = shop.read_bytes(), sorted(tmp_path.iterdir())
    error = refused(shop, query)
    assert (error.kind, error.unconfirmed) == (ErrorKind.BAD_REQUEST, False)
    assert (shop.read_bytes(), sorted(tmp_path.iterdir())) == (before, files)


@pytest.mark.parametrize("query", [*NEVER, "INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)"])
def test_a_writing_tool_changes_rows_and_nothing_else(shop, query, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = rows_of(shop, "SELECT * FROM sqlite_schema")
    assert refused(shop, query, write=True).kind is ErrorKind.BAD_REQUEST
    assert rows_of(shop, "SELECT * FROM sqlite_schema") == before
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    "query", ["SELECT 1; DELETE FROM orders", "SELECT 1; SELECT 2", "", ";", "SELEC 1", "SELECT 1\0; DELETE"]
)
def test_a_call_is_one_statement(shop, query):
    if query in ("", ";"):
        assert ask(shop, query)["rows"] == []
    else:
        assert refused(shop, query, write=True).kind is ErrorKind.BAD_REQUEST
    assert len(rows_of(shop, "SELECT 1 FROM orders")) == 3


def test_a_writing_tool_says_how_many_rows_it_changed(shop):
    found = ask(shop, "UPDATE orders SET total = ? WHERE customer = ?", [7, "Ann"], write=True)
    assert found["changed"] == 2
    assert rows_of(shop, "SELECT total FROM orders WHERE customer = 'Ann'") == [(7.0,), (7.0,)]


def test_a_write_that_fails_or_takes_too_long_leaves_nothing_behind(shop):
    assert refused(shop, "INSERT INTO orders (id) VALUES (8), (1)", write=True).kind is ErrorKind.BAD_REQUEST
    many = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n) INSERT INTO orders (id) SELECT i FROM n"
    error = refused(shop, many, write=True, timeout_s=0.3)
    assert (error.kind, error.unconfirmed) == (ErrorKind.TIMEOUT, False)
    assert len(rows_of(shop, "SELECT 1 FROM orders")) == 3


def test_only_listed_tables_are_touched_and_a_view_brings_what_it_reads(shop):
    assert ask(shop, "SELECT id FROM orders", tables=["Orders"])["rows"]
    assert ask(shop, "SELECT count(*) FROM orders", tables=["orders"])["rows"] == [[3]]
    assert ask(shop, "WITH x AS (SELECT id FROM orders) SELECT count(*) FROM x", tables=["orders"])["rows"] == [[3]]
    assert ask(shop, "SELECT total FROM totals WHERE customer = 'Ann'", tables=["totals"])["rows"] == [[12.5]]
    for query in (
        "SELECT * FROM secrets",
        "SELECT (SELECT word FROM secrets) FROM orders",
        "SELECT id FROM orders UNION SELECT word FROM secrets",
        "SELECT count(*) FROM secrets",
        "SELECT sql FROM sqlite_schema",
        "SELECT * FROM pragma_table_info('secrets')",
    ):
        assert refused(shop, query, tables=["orders"]).kind is ErrorKind.BAD_REQUEST


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"


def test_a_statement_without_end_ends_in_time(shop):
    began = time.monotonic()
    assert refused(shop, ENDLESS.format("count(*)"), timeout_s=0.3).kind is ErrorKind.TIMEOUT
    assert time.monotonic() - began < 2


def test_rows_without_end_are_cut_and_long_ones_refused(shop):
    found = ask(shop, ENDLESS.format("i"), max_rows=10)
    assert (len(found["rows"]), found["truncated"]) == (10, True)
    error = refused(shop, ENDLESS.format("hex(zeroblob(1000))"), max_answer_bytes=10_000)
    assert error.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("value", ["zeroblob(2000000000)", "hex(zeroblob(100000000))"])
def test_a_value_without_measure_is_refused_before_it_fills_the_memory(shop, value):
    assert refused(shop, f"SELECT {value}").kind is ErrorKind.TOO_LARGE


def test_a_call_that_is_given_up_stops_its_statement(shop):
    async def main():
        async with opened(kind="sql", database=str(shop)) as tool:
            query = {"query": ENDLESS.format("count(*)")}
            running = asyncio.create_task(tool.call(query, timeout_s=60, idempotency_key="k"))
            await asyncio.sleep(0.1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for _ in range(100):
                await asyncio.sleep(0.02)
                if tool._threads._live == 0:
                    return True
        return False

    assert asyncio.run(main())


def test_a_locked_database_is_overloaded(shop):
    other = sqlite3.connect(shop, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        error = refused(shop, "DELETE FROM orders", write=True, timeout_s=0.4)
        assert (error.kind, error.unconfirmed) == (ErrorKind.OVERLOADED, False)
    finally:
        other.close()


@pytest.mark.parametrize("value", [2**70, "\ud800", {"a": "\ud800"}])
def test_a_parameter_that_cannot_be_bound_is_refused(shop, value):
    assert refused(shop, "SELECT ?", [value]).kind is ErrorKind.BAD_REQUEST


def test_lists_and_objects_are_bound_as_json(shop):
    assert ask(shop, "SELECT value FROM json_each(?)", [[1, 2]])["rows"] == [[1], [2]]
    assert ask(shop, "SELECT value FROM json_each(?)", [{"a": 1}], tables=["orders"])["rows"] == [[1]]


def test_what_is_wrong_with_the_tool_is_said_at_the_start(shop, tmp_path):
    with pytest.raises(ConfigError, match="no database"):
        ask(tmp_path / "none.db", "SELECT 1")
    (tmp_path / "text.db").write_text("no database at all" * 100)
    with pytest.raises(ConfigError, match="not a database"):
        ask(tmp_path / "text.db", "SELECT 1")
    for statement in ("SELECT nme FROM orders", "DELETE FROM orders"):
        with pytest.raises(ConfigError):
            call({}, kind="sql", database=str(shop), statement=statement, arguments=BY_ID)
    call({}, kind="sql", database=str(shop), statement="DELETE FROM orders WHERE id = :id", arguments=BY_ID, write=True)
    assert len(rows_of(shop, "SELECT 1 FROM orders")) == 3
