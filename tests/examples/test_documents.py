from __future__ import annotations

import pytest

from headrace.examples.documents.library import Library, Refused, entries
from headrace.examples.documents.tools import RESOURCES, TOOLS
from tests.examples.conftest import Ran

pytestmark = pytest.mark.timeout(180)


@pytest.mark.broker
def test_agents_have_their_own_tools_and_a_call_of_another_is_refused(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("documents").checks}
    assert held["the server has a hundred tools"] == "100"
    for begins in ("You plan", "You read", "You keep"):
        assert held[f"only the listed tools are in the prompts of '{begins}'"]
        assert "% less" in held[f"schemas take ≥ 90% less with a few tools ('{begins}')"]
    assert "delete_document" in held["a call of a tool that is not listed is refused, and an event"]
    assert "delete_document" not in held["the server never saw it"]


def test_each_of_the_hundred_tools_does_something() -> None:
    library = Library(entries())
    ids = {
        resource: library.call(f"create_{resource}", {"document": "bug", "text": "x"})["id"] for resource in RESOURCES
    }
    given = {"document": "bug", "query": "x", "text": "y", "limit": 3}
    for tool in sorted(TOOLS, key=lambda tool: tool.destructive):
        resource = tool.name.partition("_")[2]
        arguments = {**given, "id": ids.get(resource, "bug")}
        assert isinstance(library.call(tool.name, {name: arguments[name] for name in tool.required}), dict), tool.name
    assert "bug" not in library.documents
    with pytest.raises(Refused):
        library.call("read_document", {"id": "bug"})
    with pytest.raises(Refused):
        library.call("burn_document", {})


def test_a_call_that_comes_again_with_its_key_is_done_once() -> None:
    library = Library(entries())
    made = [library.call("create_annotation", {"document": "bug", "text": "x"}, key) for key in ("a", "a", "b")]
    assert [one["id"] for one in made] == ["annotation-1", "annotation-1", "annotation-2"]
