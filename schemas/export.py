"""``python -m headrace.schemas.export [--check]``: the JSON Schemas of the messages, as files for other
languages, and of files that people write, for editors.

Exit codes: 0 written, or all as they should be; 1 with ``--check`` where a file differs from the code.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from headrace.schemas.codec import SCHEMA_VERSION, SCHEMAS
from headrace.schemas.workflow_tests import WorkflowTests

FOLDER = Path(__file__).parent / "json"
FILES: dict[str, type[BaseModel]] = {"workflow-tests": WorkflowTests}
"""Files that people write, for their editors."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """Return one message's schema: a writer's view for what producers write, a reader's for the rest.

    A field with a default is optional in both: what is at its default is not written.
    """
    body = model.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"urn:headrace:{name}:{SCHEMA_VERSION}", **body}


def exported() -> dict[str, str]:
    """Return every file's text by its name."""
    schemas = {name: schema_of(name, model) for name, model in {**SCHEMAS, **FILES}.items()}
    return {
        f"{name}.json": json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


def differing(folder: Path = FOLDER) -> list[str]:
    """Return the files that differ from the code, those that no message has any more included."""
    wanted = exported()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in {*wanted, *present} if wanted.get(name) != present.get(name))


def write(folder: Path = FOLDER) -> None:
    """Write every file; remove those that no message has any more."""
    folder.mkdir(exist_ok=True)
    wanted = exported()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write or check, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.schemas.export", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a file differs")
    options = parser.parse_args(arguments)
    if not options.check:
        write()
        return 0
    wrong = differing()
    for name in wrong:
        print(f"schemas/json/{name} differs from schemas/messages.py: run `make schemas`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
