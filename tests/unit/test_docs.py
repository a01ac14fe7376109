"""The documents say what the code says, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace.examples.catalogue import examples
from headrace.schemas.workflow import KINDS
from tests.docs_tables import PAGE, with_tables

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_the_generated_tables_of_operations_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "run: .venv/bin/python -m tests.docs_tables"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_decision_is_short_and_in_nygards_form() -> None:
    for page in sorted((ROOT / "docs" / "adr").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name
        assert len(text.splitlines()) < 40, page.name


def test_tests_named_in_docs_exist() -> None:
    """docs/kafka.md names the test beside each rule; a renamed test must not leave a promise behind."""
    defined = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(named - defined - files) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_step_is_explained_with_a_picture(kind: str) -> None:
    page = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (.*)\n((?:(?!##).*\n)*)", page, re.MULTILINE))
    assert "```mermaid\n" in sections[f"`{kind}`"]


def test_every_example_stands_in_the_table_of_examples() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\w+)\]\(\1/README\.md\)", page, re.MULTILINE) == [one.name for one in examples()]
