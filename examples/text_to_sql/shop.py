"""The database of the example: 48 tables of a mail-order house, filled by a seed, and a page about each of them.

``python -m headrace.examples.text_to_sql.shop FOLDER`` writes ``shop.db`` and ``tables/`` there.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

SCHEMA = Path(__file__).with_name("schema.sql")
DATABASE_VARIABLE = "TEXT_TO_SQL_DATABASE"
"""The environment variable that tells the tools where it lies."""
SEED = 5
ROWS, FEW_ROWS = 120, 12
FEW = frozenset({"currencies", "countries", "categories", "brands", "warehouses", "carriers", "departments", "tags"})
CHOICES = {
    "segment": ("private", "business", "school"),
    "order_state": ("open", "paid", "shipped", "delivered", "cancelled"),
    "channel": ("web", "telephone", "letter"),
    "method": ("card", "transfer", "cash"),
    "invoice_state": ("paid", "open", "overdue"),
    "parcel_state": ("delivered", "on the way", "lost"),
    "po_state": ("placed", "confirmed", "received"),
    "ticket_state": ("open", "waiting", "closed"),
    "priority": ("low", "normal", "high"),
    "kind": ("illness", "holiday", "training"),
    "level": ("bronze", "silver", "gold"),
    "condition": ("new", "used", "broken"),
    "medium": ("letter", "e-mail"),
    "season": ("spring", "summer", "autumn", "winter"),
}
"""Values of a text column by its name; another one names its table, itself and the row."""
FLAGS = frozenset({"newsletter", "discontinued", "cooled", "abandoned", "opened"})
MOST = {"units": 20, "rating": 5, "days": 14, "discount_percent": 30, "vat_percent": 25, "points": 500}
"""The largest value of a number by its column's name; of another one 100,000."""
FIRST_DAY = date(2025, 1, 1)


class Table(NamedTuple):
    """One table, as the schema file says it."""

    name: str
    about: str
    columns: tuple[str, ...]
    statement: str

    @property
    def page(self) -> str:
        """What is said of it to a model, and searched."""
        return "\n".join((f"{self.name}: {self.about}", *(f"  {column}" for column in self.columns)))


def tables() -> list[Table]:
    """Return the tables of the schema file, in its order."""
    found = re.findall(
        r"^-- (\w+): (.+)\n(CREATE TABLE \w+ \((.+)\);)$", SCHEMA.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [Table(name, about, tuple(inside.split(", ")), statement) for name, about, statement, inside in found]


def build(folder: Path) -> tuple[Path, Path]:
    """Write the database and the pages; return the file and the folder. The same seed gives the same rows."""
    database, pages = folder / "shop.db", folder / "tables"
    database.unlink(missing_ok=True)
    pages.mkdir(parents=True, exist_ok=True)
    random = Random(SEED)
    with sqlite3.connect(database) as connection:
        for table in tables():
            connection.execute(table.statement)
            rows = [_row(random, table, number) for number in range(1, _count(table.name) + 1)]
            marks = ", ".join("?" * len(table.columns))
            connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)  # noqa: S608 - our own names
            (pages / f"{table.name}.md").write_text(table.page, encoding="utf-8")
    connection.close()
    return database, pages


def _count(table: str) -> int:
    return FEW_ROWS if table in FEW else ROWS


def _row(random: Random, table: Table, number: int) -> list[int | str]:
    return [_value(random, table.name, column, number) for column in table.columns]


def _value(random: Random, table: str, column: str, number: int) -> int | str:
    name, kind, *more = column.split(" ")
    if more[:1] == ["PRIMARY"]:
        return number
    if more[:1] == ["REFERENCES"]:
        return random.randint(1, _count(more[1]))
    if kind == "TEXT":
        if name.endswith("_on") or name == "valid_from":
            return (FIRST_DAY + timedelta(days=random.randrange(365))).isoformat()
        return random.choice(CHOICES[name]) if name in CHOICES else f"{table} {name} {number}"
    return random.randint(0, 1) if name in FLAGS else random.randint(1, MOST.get(name, 100_000))


if __name__ == "__main__":
    print(*build(Path(sys.argv[1])))
