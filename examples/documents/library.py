"""The documents and what belongs to them, in memory, and what each tool of the server does with them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.examples.documents.tools import RESOURCES

INPUT = Path(__file__).parent / "input"
SNIPPET = 160
"""Characters of a text in the list that a search returns."""
PAGE = 20
_REFERENCE = re.compile(r"\{([^{}]+)\}")


class Refused(Exception):
    """A call that cannot be done; the message is for the caller."""


class Library:
    """Everything that the server keeps.

    Args:
        entries: documents, each with ``id``, ``title`` and ``text``.
    """

    def __init__(self, entries: list[dict[str, str]]) -> None:
        self.documents = {entry["id"]: dict(entry) for entry in entries}
        self.records: dict[str, dict[str, dict[str, str]]] = {resource: {} for resource in RESOURCES}
        self._made = 0
        self._done: dict[str, Any] = {}
        """What a call with a key came to: the same key again is the same call."""

    def call(self, tool: str, arguments: Mapping[str, Any], key: str = "") -> Any:
        """Do what a tool does.

        Args:
            key: the idempotency key of a call that changes something.

        Raises:
            Refused: there is no such tool, or no such document or record.
        """
        if key and key in self._done:
            return self._done[key]
        verb, _, noun = tool.partition("_")
        resource = noun if noun in RESOURCES else noun.removesuffix("s")
        if resource == "document" or tool == "list_references":
            answer = self._on_documents(tool, arguments)
        elif resource in RESOURCES:
            answer = self._on_records(verb, resource, arguments)
        else:
            raise Refused(f"there is no tool {tool}")
        if key:
            self._done[key] = answer
        return answer

    def _on_documents(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        match tool:
            case "search_documents":
                return {"found": self._search(str(arguments["query"]), int(arguments.get("limit", PAGE)))}
            case "read_document":
                return self._document(arguments)
            case "list_references":
                return {"references": self._references(self._document(arguments)["text"])}
            case "delete_document":
                return {"deleted": self.documents.pop(self._document(arguments)["id"])["id"]}
            case _:
                raise Refused(f"there is no tool {tool}")

    def _document(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        found = self.documents.get(str(arguments["id"]))
        if found is None:
            raise Refused(f"there is no document {str(arguments['id'])[:80]!r}")
        return found

    def _search(self, query: str, limit: int) -> list[dict[str, str]]:
        words = query.lower().split()
        found = [one for one in self.documents.values() if _has(one, words)]
        found.sort(key=lambda one: not any(word in one["title"].lower() for word in words))
        return [{"id": one["id"], "title": one["title"], "text": f"{one['text'][:SNIPPET]}…"} for one in found[:limit]]

    def _references(self, text: str) -> list[str]:
        named = [re.sub(r"[^a-z0-9]+", "-", name.lower()) for name in _REFERENCE.findall(text)]
        return [name for name in dict.fromkeys(named) if name in self.documents]

    def _on_records(self, verb: str, resource: str, arguments: Mapping[str, Any]) -> Any:
        kept = self.records[resource]
        if verb == "create":
            self._document({"id": arguments["document"]})
            return self._keep(resource, {"title": "", **arguments})
        if verb in ("list", "search", "count"):
            of = [one for one in kept.values() if arguments.get("document", one["document"]) == one["document"]]
            of = [one for one in of if _has(one, str(arguments.get("query", "")).lower().split())]
            return {"count": len(of)} if verb == "count" else {"found": of[: int(arguments.get("limit", PAGE))]}
        record = kept.get(str(arguments["id"]))
        if record is None:
            raise Refused(f"there is no {resource} {str(arguments['id'])[:80]!r}")
        match verb:
            case "get":
                return record
            case "update":
                record.update({name: str(value) for name, value in arguments.items()})
                return record
            case "delete":
                return {"deleted": kept.pop(record["id"])["id"]}
            case "copy":
                return self._keep(resource, {**record, "document": str(arguments["document"])})
            case _:
                raise Refused(f"there is no tool {verb}_{resource}")

    def _keep(self, resource: str, fields: Mapping[str, Any]) -> dict[str, str]:
        self._made += 1
        record = {**{name: str(value) for name, value in fields.items()}, "id": f"{resource}-{self._made}"}
        self.records[resource][record["id"]] = record
        return record


def _has(one: Mapping[str, str], words: list[str]) -> bool:
    text = f"{one['title']} {one['text']}".lower()
    return all(word in text for word in words)


def entries() -> list[dict[str, str]]:
    """Return the documents of the example: entries of the Jargon File, and a notice of ours."""
    files = ("entries.json", "ours.json")
    return [one for name in files for one in json.loads((INPUT / name).read_text(encoding="utf-8"))["entries"]]
