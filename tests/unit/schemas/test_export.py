"""The exported schemas are those of the code, and they say what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from headrace.schemas.export import FOLDER, differing, exported, write


def test_the_files_in_the_repository_are_those_of_the_code() -> None:
    assert differing() == []


def test_a_changed_a_missing_and_a_foreign_file_are_all_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "task.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    assert differing(tmp_path) == ["job.json", "old.json", "task.json"]
    write(tmp_path)
    assert differing(tmp_path) == []


@pytest.mark.parametrize("name", sorted(exported()))
def test_every_exported_schema_is_a_legal_one(name: str) -> None:
    jsonschema_rs.validator_for(json.loads((FOLDER / name).read_text(encoding="utf-8")))


def test_the_job_schema_takes_the_contracts_example_and_refuses_a_typing_error() -> None:
    schema = jsonschema_rs.validator_for(json.loads((FOLDER / "job.json").read_text(encoding="utf-8")))
    assert schema.is_valid({"workflow": "summarise@1", "input": {"text": "…"}, "labels": {"a": "b"}})
    assert not schema.is_valid({"worklfow": "summarise@1"})
