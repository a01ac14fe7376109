"""``python -m headrace.schemas.export [--check]``: the JSON Schemas of every message, into ``schemas/json/``.

CI runs ``--check``: a change of the contract shows in the diff of a commit, or the build fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from headrace.schemas.codec import SCHEMA_VERSION, SCHEMAS
from headrace.schemas.pools import PoolsFile
from headrace.schemas.workflow import language_schema

FOLDER = Path(__file__).resolve().parent / "json"


def documents() -> dict[str, str]:
    """Return the text of every file, by name."""
    schemas = {name: model.model_json_schema(mode="validation") for name, model in SCHEMAS.items()}
    schemas |= {"pools": PoolsFile.model_json_schema(), "workflow": language_schema()}
    return {f"{name}.json": _text(name, schema) for name, schema in schemas.items()}


def _text(name: str, schema: dict[str, object]) -> str:
    titled = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"{name}, version {SCHEMA_VERSION}; written by `python -m headrace.schemas.export`",
        **schema,
    }
    return json.dumps(titled, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def differences(folder: Path = FOLDER) -> list[str]:
    """Return the files that are missing, differ, or should not be there."""
    wanted = documents()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path = FOLDER) -> None:
    """Write every file, and remove those of messages that are no more."""
    folder.mkdir(exist_ok=True)
    wanted = documents()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which differ; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m headrace.schemas.export [--check]", file=sys.stderr)
        return 2
    if not arguments:
        write()
        return 0
    wrong = differences()
    for name in wrong:
        print(f"schemas/json/{name} differs from the code: run python -m headrace.schemas.export", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
