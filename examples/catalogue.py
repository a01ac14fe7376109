"""Which examples there are: the folders here that hold an ``example.py``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.runtime.pools import suggest
from headrace.schemas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.examples.stage import Stage

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Example:
    """One of them."""

    name: str
    home: Path

    @property
    def title(self) -> str:
        """The first line of its docstring; nothing of it is run for that."""
        text = ast.get_docstring(ast.parse((self.home / "example.py").read_text(encoding="utf-8"))) or ""
        return text.partition("\n")[0]

    def load(self) -> Callable[[Stage], None]:
        """Return its ``run``."""
        run: Callable[[Stage], None] = import_module(f"headrace.examples.{self.name}.example").run
        return run


def examples() -> list[Example]:
    """Return all of them by name."""
    return [Example(path.parent.name, path.parent) for path in sorted(HERE.glob("*/example.py"))]


def find(names: list[str]) -> list[Example]:
    """Return those with such names, in that order.

    Raises:
        ConfigError: there is none of that name; the nearest is suggested.
    """
    known = {one.name: one for one in examples()}
    for name in names:
        if name not in known:
            raise ConfigError(f"no example {name!r}{suggest(name, tuple(known))}", "headrace examples list")
    return [known[name] for name in dict.fromkeys(names)]
