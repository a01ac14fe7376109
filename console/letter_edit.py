"""Changes what a redrive sends: single fields, the whole value, or by hand in an editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.schemas.errors import ConfigError

Editor = Callable[[str], str]
"""Takes a text and returns what a person made of it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be changed; nothing, where all is at its default."""

    sets: tuple[tuple[str, Any], ...] = ()
    """Paths such as ``input.items.0`` and their new values."""
    value: bytes | None = None
    """The whole value anew."""
    editor: Editor | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return not self.sets and self.value is None and self.editor is None

    def apply(self, content: bytes | None) -> bytes | None:
        """Return a value with the changes made.

        Raises:
            ConfigError: a field cannot be set, or the editor failed or left nothing.
        """
        if self.value is not None:
            content = self.value
        if self.sets:
            content = _with_fields(content, self.sets)
        return content if self.editor is None else self.editor(_laid_out(content)).encode()


NO_EDIT = Edit()


def parse_sets(pairs: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Read ``KEY=JSON`` pairs.

    Raises:
        ConfigError: one has no ``=``, or what follows it is no JSON.
    """
    found = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise ConfigError(f"--set {pair[:80]!r} is not KEY=JSON", "--set 'input.text=\"new\"'")
        try:
            found.append((key, json.loads(text, parse_constant=_no_constant)))
        except (ValueError, RecursionError):
            hint = f"a text stands in quotes: --set '{key}=\"{text[:40]}\"'"
            raise ConfigError(f"--set {key}: {text[:80]!r} is no JSON", hint) from None
    return tuple(found)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _with_fields(content: bytes | None, sets: Sequence[tuple[str, Any]]) -> bytes:
    try:
        value = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise ConfigError("--set changes fields of JSON, and this value is none", "--value FILE, or --edit") from None
    for path, new in sets:
        value = _with_field(value, path.split("."), new, path)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _with_field(value: Any, parts: Sequence[str], new: Any, path: str) -> Any:
    """Return the value with one field set; mappings on the way are made where they are missing."""
    if not parts:
        return new
    part, rest = parts[0], parts[1:]
    if isinstance(value, list):
        if not part.isdecimal() or len(part) > 9 or int(part) >= len(value):
            raise ConfigError(f"--set {path}: {part!r} is no entry of a list of {len(value)}")
        return [_with_field(one, rest, new, path) if at == int(part) else one for at, one in enumerate(value)]
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"--set {path}: a {type(value).__name__} has no field {part!r}")
    fields = value or {}
    return {**fields, part: _with_field(fields.get(part), rest, new, path)}


def _laid_out(content: bytes | None) -> str:
    text = (content or b"").decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"
    except (ValueError, RecursionError):
        return text


def in_editor(text: str) -> str:
    """Let a person edit a text in ``$VISUAL`` or ``$EDITOR``.

    Raises:
        ConfigError: there is no editor, it failed, or it left nothing.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise ConfigError("--edit needs an editor", "export EDITOR=vi; or use --set and --value")
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "value.json"
        path.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*command, str(path)], check=False).returncode
        except OSError as error:
            raise ConfigError(f"editor {command[0]} cannot be started: {error.strerror}", "export EDITOR=…") from None
        edited = path.read_text(encoding="utf-8", errors="surrogateescape")
    if code != 0 or not edited.strip():
        raise ConfigError(f"nothing is sent: the editor {'left nothing' if code == 0 else f'ended with {code}'}")
    return edited
