"""One SQL statement on an SQLite file: read-only unless the tool writes, its parameters bound, its work bounded.

The file is opened read-only, and an authorizer, which SQLite asks about every part of a statement before it runs,
allows what reads tables and nothing else: no PRAGMA, no ATTACH, no extension. Other databases are a `python` tool.
"""

from __future__ import annotations

import base64
import math
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import structlog

from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import SqlTool as SqlSpec
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.threads import Threads

log = structlog.get_logger("headrace.tools")

PROGRESS_EVERY = 10_000
"""Steps of SQLite's machine between two looks at the clock: a fraction of a millisecond."""
MAX_STATEMENT = 100_000
MAX_PATTERN = 1_000
"""Of LIKE and GLOB, whose time is not measured in steps."""
BUSY_S = 5.0
"""How long a file that another process writes is waited for, at most."""

READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
WRITING = READING | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
TRANSACTIONS = frozenset({sqlite3.SQLITE_TRANSACTION})
"""Ours, around a statement that writes; a call's own statement may not end it."""
JSON_TABLES = ("json_each", "json_tree")
"""They read nothing but their arguments."""
REFUSED_FUNCTIONS = frozenset({"edit", "fts3_tokenizer", "load_extension", "readfile", "writefile"})


class SqlTool:
    """A tool of the kind `sql`."""

    def __init__(self, config: ToolConfig) -> None:
        spec = self._spec = cast(SqlSpec, config.spec)
        self._path = Path(spec.database).expanduser().resolve()
        if not self._path.is_file():
            raise ConfigError(f"tool {config.name!r}: there is no database {spec.database!r}")
        self._threads = Threads(f"tool-{config.name}", most=2 * config.concurrency)

    async def start(self) -> None:
        """Look whether the file is a database, and whether the tool's own statement can be run.

        Raises:
            ConfigError: not so.
        """
        try:
            statement = self._spec.statement
            run = _Run(self._path, self._spec, timeout_s=10.0, explains=True)
            query = "SELECT 1" if statement is None else f"EXPLAIN {statement}"
            await self._threads.run(lambda: run(query, self._named({})))
        except AdapterError as error:
            if error.kind in (ErrorKind.OVERLOADED, ErrorKind.TIMEOUT):
                return  # Another process writes it just now.
            raise ConfigError(f"database {self._spec.database!r}: {error.message}") from None

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        del idempotency_key  # A database knows none: what writes is in one transaction, and says whether that ended.
        if self._spec.statement is not None:
            query, parameters = self._spec.statement, self._named(arguments)
        else:
            query, parameters = arguments["query"], arguments.get("parameters", ())
        run = _Run(self._path, self._spec, timeout_s=timeout_s)
        return ToolAnswer(await self._threads.run(lambda: run(query, parameters), abort=run.abort))

    async def close(self) -> None:
        """No connection is kept."""

    def _named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of the tool's own statement; an argument that is left out is NULL."""
        return {**dict.fromkeys(self._spec.argument_names()), **arguments}


class _Run:
    """One statement, in a thread; `abort` is for the event loop.

    Args:
        explains: whether the statement is our own, to look at another one.
    """

    def __init__(self, path: Path, spec: SqlSpec, *, timeout_s: float, explains: bool = False) -> None:
        self._path = path
        self._spec = spec
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._explains = explains
        self._aborted = False
        self._denied = ""
        self._committing = False

    def abort(self) -> None:
        """End the statement soon, and undo what it wrote."""
        self._aborted = True

    def __call__(self, query: str, parameters: Any) -> dict[str, Any]:
        """Run the statement and return ``columns``, ``rows``, ``truncated``, and ``changed`` where the tool writes.

        Raises:
            AdapterError: what went wrong, and whether something may have been written.
        """
        connection = None
        try:
            connection = self._connected()
            return self._run(connection, query, parameters)
        except sqlite3.Error as error:
            raise self._failed(error) from None
        except sqlite3.Warning as error:  # More than one statement, in this Python.
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the statement: {error}") from None
        except (OverflowError, ValueError, TypeError) as error:  # A number above 64 bits, a NUL in the text.
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the statement or its parameters: {error}") from None
        finally:
            if connection is not None:
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        mode = "rw" if self._spec.write else "ro"
        uri = f"{self._path.as_uri()}?mode={mode}"
        wait_s = min(BUSY_S, self._timeout_s / 2)
        connection = sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=True)
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(self._spec.max_answer_bytes, MAX_STATEMENT))
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN)
        connection.set_progress_handler(self._is_over, PROGRESS_EVERY)
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # Reads the file: is it a database?
        # SQLite declares these tables at their first use, which looks like writing the schema to an authorizer.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").fetchall()
        if self._spec.log_statements and not self._explains:
            # SQLite says it when a statement begins to run, so what it could not compile is not there.
            connection.set_trace_callback(lambda ran: log.info("statement.ran", statement=ran))
        return connection

    def _run(self, connection: sqlite3.Connection, query: str, parameters: Any) -> dict[str, Any]:
        if self._explains or not self._spec.write:
            connection.set_authorizer(self._authorizer(WRITING if self._spec.write else READING))
            return self._read(connection.execute(query, _bindable(parameters)))
        connection.execute("BEGIN IMMEDIATE")
        connection.set_authorizer(self._authorizer(WRITING))
        cursor = connection.execute(query, _bindable(parameters))
        found = {**self._read(cursor), "changed": max(0, cursor.rowcount)}
        cursor.close()
        connection.set_authorizer(self._authorizer(TRANSACTIONS))
        if self._aborted:
            raise AdapterError(ErrorKind.CANCELLED, "given up before it was written")
        self._committing = True
        connection.execute("COMMIT")
        return found

    def _authorizer(self, allowed: frozenset[int]) -> Callable[..., int]:
        tables = None if self._spec.tables is None else {*JSON_TABLES, *map(str.lower, self._spec.tables)}

        def authorize(action: int, first: str | None, second: str | None, _: str | None, view: str | None) -> int:
            if action not in allowed:
                return self._deny(f"this tool {'reads and changes rows' if self._spec.write else 'only reads'}")
            if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in REFUSED_FUNCTIONS:
                return self._deny(f"function {second} is not allowed")
            if first is not None and action in _OF_TABLES:
                name = first.lower()
                if action != sqlite3.SQLITE_READ and name.startswith("sqlite_"):
                    return self._deny(f"table {first} is SQLite's own")
                # What a view that is allowed reads is allowed with it.
                is_listed = tables is None or name in tables or (view or "").lower() in tables
                if not is_listed and not (action == sqlite3.SQLITE_READ and name == ""):
                    return self._deny(f"table {first} is not one of this tool")
            return sqlite3.SQLITE_OK

        return authorize

    def _deny(self, reason: str) -> int:
        self._denied = self._denied or reason
        return sqlite3.SQLITE_DENY

    def _read(self, cursor: sqlite3.Cursor) -> dict[str, Any]:
        columns = [str(column[0]) for column in cursor.description or ()]
        rows: list[list[Any]] = []
        room = self._spec.max_answer_bytes
        for row in cursor:
            if len(rows) >= self._spec.max_rows:
                return {"columns": columns, "rows": rows, "truncated": True}
            values = [_json(value) for value in row]
            room -= sum(len(value) if isinstance(value, str) else 8 for value in values)
            if room < 0:
                message = (
                    f"the rows are above {self._spec.max_answer_bytes:,} bytes: ask for fewer, or for less of each"
                )
                raise AdapterError(ErrorKind.TOO_LARGE, message)
            rows.append(values)
        return {"columns": columns, "rows": rows, "truncated": False}

    def _is_over(self) -> int:
        return int(self._aborted or time.monotonic() > self._deadline)

    def _failed(self, error: sqlite3.Error) -> AdapterError:
        name = getattr(error, "sqlite_errorname", "") or ""
        if self._denied:
            return AdapterError(ErrorKind.BAD_REQUEST, self._denied)
        doubtful = self._committing and not name.startswith("SQLITE_BUSY")
        if name == "SQLITE_INTERRUPT":
            return AdapterError(ErrorKind.TIMEOUT, f"the statement took more than {self._timeout_s:.3g} s")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return AdapterError(ErrorKind.OVERLOADED, "the database is locked by another process")
        if name.startswith(("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return AdapterError(ErrorKind.SERVER_ERROR, str(error)[:300], unconfirmed=doubtful)
        kind = ErrorKind.TOO_LARGE if name == "SQLITE_TOOBIG" else ErrorKind.BAD_REQUEST
        return AdapterError(kind, f"the statement: {str(error)[:300]}", unconfirmed=doubtful)


_OF_TABLES = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE})


def _bindable(parameters: Any) -> Any:
    """Return parameters as SQLite takes them: lists and objects as JSON text."""

    def one(value: Any) -> Any:
        return canonical_json(value).decode() if isinstance(value, dict | list) else value

    if isinstance(parameters, dict):
        return {name: one(value) for name, value in parameters.items()}
    return tuple(one(value) for value in parameters)


def _json(value: Any) -> Any:
    """Return a value of SQLite as JSON: bytes in Base64, infinity as null."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
