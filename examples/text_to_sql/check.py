"""The tool ``check_sql``: whether a statement may be run, decided without running it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlglot
import structlog
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from headrace.examples.text_to_sql.shop import DATABASE_VARIABLE
from headrace.schemas.errors import AdapterError, ErrorKind

log = structlog.get_logger("headrace.examples")


def check_sql(sql: str, last: bool = False) -> dict[str, Any]:
    """Return ``{ok, sql, problem}``.

    Args:
        sql: what a model wrote.
        last: whether nobody will repair it: then what does not hold is an error and ends the job.

    Raises:
        AdapterError: it does not hold, and `last`.
    """
    with closing(_opened(Path(os.environ[DATABASE_VARIABLE]))) as database:
        schema = _schema(database)
        database.set_trace_callback(lambda ran: log.info("statement.ran", statement=ran))
        problem = _parsed(sql, schema) or _explained(sql, database)
    if problem and last:
        raise AdapterError(ErrorKind.MALFORMED_OUTPUT, f"the SQL does not hold after its repair: {problem}")
    return {"ok": not problem, "sql": sql, "problem": problem}


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _schema(database: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Return the columns of each table with their types."""
    found: dict[str, dict[str, str]] = {}
    columns = "SELECT t.name, c.name, c.type FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'"
    for table, column, kind in database.execute(columns):
        found.setdefault(table, {})[column] = kind
    return found


def _parsed(sql: str, schema: dict[str, dict[str, str]]) -> str:
    """Return what is wrong with it by its grammar and the schema; empty: nothing."""
    try:
        statements = [one for one in sqlglot.parse(sql, dialect="sqlite") if one is not None]
        if len(statements) != 1 or not isinstance(statements[0], exp.Query):
            return "one SELECT is allowed, and nothing else"
        if unknown := sorted(set(_unknown_tables(statements[0], schema))):
            return f"no such table: {', '.join(unknown)}"
        qualify(statements[0].copy(), dialect="sqlite", schema={**schema})
    except SqlglotError as error:
        return str(error).splitlines()[0]
    return ""


def _unknown_tables(statement: exp.Query, schema: dict[str, dict[str, str]]) -> Iterator[str]:
    own = {one.alias for one in statement.find_all(exp.CTE)}
    return (one.name for one in statement.find_all(exp.Table) if one.name not in schema and one.name not in own)


def _explained(sql: str, database: sqlite3.Connection) -> str:
    """Return what the database says of it: EXPLAIN compiles a statement and does not run it, so nothing is logged."""
    try:
        database.execute(f"EXPLAIN {sql}")
    except sqlite3.Error as error:
        return str(error)
    return ""
