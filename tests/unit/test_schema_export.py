"""The exported JSON Schemas are what the code says."""

import json

from headrace.schemas.export import differing, exported, main, write


def test_the_files_in_the_repository_are_up_to_date():
    assert differing() == [], "run `make schemas`"


def test_a_file_that_differs_is_found_and_mended(tmp_path):
    write(tmp_path)
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert differing(tmp_path) == ["job.json", "old.json"]
    write(tmp_path)
    assert differing(tmp_path) == []


def test_every_field_is_described():
    job = json.loads(exported()["job.json"])
    assert all("description" in field or "$ref" in field or "allOf" in field for field in job["properties"].values())
    assert job["additionalProperties"] is False


def test_the_check_passes():
    assert main(["--check"]) == 0
