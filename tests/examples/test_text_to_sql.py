"""The example text_to_sql: end to end, and its database, its questions and its check by themselves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlglot
from sqlglot.optimizer.qualify import qualify
from structlog.testing import capture_logs

from headrace.examples.catalogue import find
from headrace.examples.text_to_sql.answers import Question, questions
from headrace.examples.text_to_sql.check import check_sql
from headrace.examples.text_to_sql.shop import DATABASE_VARIABLE, build, tables
from headrace.schemas.errors import AdapterError
from tests.examples.conftest import Ran

ASKED = questions(find(["text_to_sql"])[0].home / "input" / "questions.json")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    database, _ = build(tmp_path)
    monkeypatch.setenv(DATABASE_VARIABLE, str(database))
    return database


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_prompt_tokens_fall_by_half_at_equal_results_and_invalid_sql_never_runs(ran: Ran) -> None:
    assert len(tables()) >= 40
    held = {check.what: check.saw for check in ran("text_to_sql").checks}
    assert held["every known answer came (pruned)"] == held["every known answer came (whole schema)"] == "10 of 10"
    assert held["the search found every table that is needed"] == "20 of 20"
    assert held["prompt tokens fall by half at least at equal results"].endswith("% less")
    assert held["invalid SQL never ran"] == "20 statements ran, 6 never did"
    assert "looking at SQL runs none of it" in held
    assert "and the database is as it was" in held


def test_the_same_seed_makes_the_same_database(tmp_path: Path, shop: Path) -> None:
    again, pages = build(tmp_path / "again")
    with closing(sqlite3.connect(again)) as one, closing(sqlite3.connect(shop)) as other:
        assert list(one.iterdump()) == list(other.iterdump())
    assert len(list(pages.glob("*.md"))) == len(tables())


@pytest.mark.parametrize("one", [one for one in ASKED if one.rows is not None], ids=lambda one: one.question)
def test_what_is_known_is_right_and_needs_only_the_columns_that_are_kept(one: Question, shop: Path) -> None:
    with closing(sqlite3.connect(shop)) as database:
        assert [list(row) for row in database.execute(one.sql[-1])] == one.rows
    kept = {table: dict.fromkeys(columns, "TEXT") for table, columns in one.needs.items()}
    qualify(sqlglot.parse_one(one.sql[-1], dialect="sqlite"), dialect="sqlite", schema=kept)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELEC name FROM customers", "Unexpected token"),
        ("", "one SELECT is allowed, and nothing else"),
        ("SELECT 1; SELECT 2", "one SELECT is allowed, and nothing else"),
        ("DELETE FROM carts", "one SELECT is allowed, and nothing else"),
        ("WITH a AS (SELECT 1) DELETE FROM carts", "one SELECT is allowed, and nothing else"),
        ("PRAGMA query_only = 0", "one SELECT is allowed, and nothing else"),
        ("SELECT name FROM costumers", "no such table: costumers"),
        ("SELECT nam FROM customers", "'nam' could not be resolved"),
        ("SELECT name FROM customers WHERE", "Required keyword"),
        ("SELECT MONTH(ordered_on) FROM orders", "no such function: MONTH"),
    ],
)
def test_what_may_not_run_is_named(sql: str, problem: str, shop: Path) -> None:
    assert problem in check_sql(sql)["problem"]
    with pytest.raises(AdapterError, match="does not hold after its repair"):
        check_sql(sql, last=True)


def test_what_may_run_is_not_run_by_the_check(shop: Path) -> None:
    sql = "WITH big AS (SELECT * FROM orders) SELECT count(*) FROM big"
    with capture_logs() as logs:
        assert check_sql(sql, last=True) == {"ok": True, "sql": sql, "problem": ""}
    assert logs == []
