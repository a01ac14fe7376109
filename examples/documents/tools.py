"""The tools of the document server, a hundred as such servers have: four on documents, eight on each other resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
LIMIT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 100, "description": "The most that are returned."}
CURSOR: dict[str, Any] = {"type": "string", "description": "Where the page before ended."}
DOCUMENT: dict[str, Any] = {"type": "string", "description": "The id of the document that it belongs to."}

RESOURCES = (
    *("annotation", "comment", "export", "folder", "permission", "retention_rule"),
    *("share_link", "subscription", "tag", "template", "version", "webhook"),
)
"""What belongs to a document besides its text."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One tool."""

    name: str
    description: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """The properties of its arguments."""
    required: tuple[str, ...] = ()
    destructive: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of its arguments."""
        form: dict[str, Any] = {"type": "object", "properties": self.arguments, "additionalProperties": False}
        return {**form, "required": list(self.required)} if self.required else form


def _on(resource: str) -> list[Offered]:
    """Return the eight tools of one resource."""
    one = resource.replace("_", " ")
    written = {"document": DOCUMENT, "title": TEXT, "text": {**TEXT, "description": f"What the {one} says."}}
    by_id = {"id": {**TEXT, "description": f"The id of the {one}."}}
    return [
        Offered(
            f"list_{resource}s",
            f"List the {one}s of a document, or all, page by page in the order in which they were made.",
            {"document": DOCUMENT, "limit": LIMIT, "cursor": CURSOR},
        ),
        Offered(f"get_{resource}", f"Return one {one} by its id.", by_id, ("id",)),
        Offered(f"create_{resource}", f"Make {_a(one)} on a document.", written, ("document", "text")),
        Offered(f"update_{resource}", f"Change title or text of {_a(one)}.", {**by_id, **written}, ("id",)),
        Offered(f"delete_{resource}", f"Delete {_a(one)} for good.", by_id, ("id",), destructive=True),
        Offered(
            f"search_{resource}s",
            f"Find {one}s whose title or text has all words of a query.",
            {"query": TEXT, "document": DOCUMENT, "limit": LIMIT},
            ("query",),
        ),
        Offered(
            f"copy_{resource}",
            f"Copy {_a(one)} to another document.",
            {**by_id, "document": DOCUMENT},
            ("id", "document"),
        ),
        Offered(f"count_{resource}s", f"Count the {one}s of a document, or all.", {"document": DOCUMENT}),
    ]


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


_BY_ID = {"id": {**TEXT, "description": "The id of the document."}}
TOOLS: tuple[Offered, ...] = (
    Offered(
        "search_documents",
        "Find documents that have all words of a query; those with a word in their title come first.",
        {"query": TEXT, "limit": LIMIT},
        ("query",),
    ),
    Offered("read_document", "Return a document: its title and its whole text.", _BY_ID, ("id",)),
    Offered("list_references", "List the documents that a document refers to.", _BY_ID, ("id",)),
    Offered("delete_document", "Delete a document for good.", _BY_ID, ("id",), destructive=True),
    *(tool for resource in RESOURCES for tool in _on(resource)),
)
"""All of them, as the server lists them."""
