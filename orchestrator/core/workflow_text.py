"""A workflow's YAML, read with the line of each path. Pure: a text goes in.

YAML 1.1 has surprises that an author of workflows cannot want, so they are taken out: ``on``, ``yes`` and ``no`` are
texts, dates are texts, a key that stands twice is an error, and merge keys and tags are refused. Aliases may be used,
as long as the document they unfold to is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from headrace.schemas.errors import Problem

MAX_TEXT_BYTES = 524_288
MAX_NODES = 50_000
MAX_DEPTH = 60
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,30}")
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT_TAG, _FLOAT_TAG, _STR = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
_PLAIN = ("timestamp", "value", "str")


@dataclass(slots=True)
class WorkflowText:
    """What was read."""

    document: Any = None
    """The document; only to be used where there are no problems."""
    lines: dict[str, int] = field(default_factory=dict)
    """The line of each path, from 1."""
    problems: list[Problem] = field(default_factory=list)
    """What keeps the text from being read."""


def read_workflow(text: str) -> WorkflowText:
    """Read one YAML (or JSON) document; never raises, its problems are listed."""
    read = WorkflowText()
    size = len(text.encode(errors="replace"))
    if size > MAX_TEXT_BYTES:
        read.problems.append(Problem("file", f"{size:,} bytes; the limit is {MAX_TEXT_BYTES:,}", 1))
        return read
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            read.problems.append(Problem("file", "the file is empty", 1))
        else:
            read.document = _Reader(read).value(node, "", 0)
    except _TooMuch as error:
        read.problems.append(Problem("file", str(error), 1))
    except RecursionError:
        read.problems.append(Problem("file", f"nests deeper than {MAX_DEPTH} levels", 1))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        read.problems.append(Problem("file", f"not YAML: {what}", mark.line + 1 if mark else 1))
    except (yaml.YAMLError, ValueError) as error:
        read.problems.append(Problem("file", f"not YAML: {error}"[:300], 1))
    return read


class _TooMuch(Exception):
    pass


@dataclass(slots=True)
class _Reader:
    """Makes values of YAML's nodes, counting them as often as aliases repeat them."""

    read: WorkflowText
    nodes: int = 0

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _TooMuch(f"more than {MAX_NODES:,} values, or nests deeper than {MAX_DEPTH} levels")
        self.read.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(part, _join(path, str(at)), depth + 1) for at, part in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                self._problem(path, "keys are plain texts; merge keys (<<) are not read", line)
                continue
            key = str(key_node.value)
            place = _join(path, key)
            if key in found:
                self._problem(place, f"the key {key[:80]!r} stands twice; first on line {self.read.lines[place]}", line)
                continue
            self.read.lines[place] = line
            found[key] = self.value(value_node, place, depth + 1)
        return found

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        text = str(node.value)
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return _BOOLEANS.get(text, text)
        if node.tag == _INT_TAG:
            # Base 60 (1:30), hexadecimal and underscores stay texts; 010 is ten, as in YAML 1.2.
            return int(text) if _INT.fullmatch(text) else text
        if node.tag == _FLOAT_TAG:
            return _float(text)
        if node.tag.rpartition(":")[2] not in _PLAIN:
            self._problem(path, f"the tag {node.tag[:80]!r} is not read", node.start_mark.line + 1)
        return text

    def _problem(self, path: str, message: str, line: int) -> None:
        self.read.problems.append(Problem(path or "file", message, line))


def _float(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
