"""Small workflows with cases beside them, for the tests of ``headrace workflow test``."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from headrace.console.commands.workflow import app

EXAMPLES = Path(__file__).parents[3] / "examples"
LLM = {"pool": "small", "prompt": "{{ input.text }}", "max_output_tokens": 50}
ASK = {"name": "w", "version": 1, "steps": {"ask": {"llm": LLM}}}
EACH = {
    "name": "w",
    "version": 1,
    "steps": {
        "notes": {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "Item {{ item }}"}},
        "sum": {"reduce": "notes", "llm": {"pool": "large", "prompt": "{{ items | join(', ') }}"}},
    },
}
LABEL = {**ASK, "steps": {"ask": {"llm": {**LLM, "output": {"type": "object", "required": ["label"]}}}}}
PRICES = {
    "endpoints": {"e": {"public": True}},
    "pools": {"small": {"endpoint": "e", "price": {"input": 1_000_000, "output": 2_000_000}, "timeout_s": 60}},
}


@pytest.fixture
def write(tmp_path):
    def write(workflow, *cases, **more):
        (tmp_path / "w.yaml").write_text(yaml.safe_dump(workflow, sort_keys=False))
        named = [{"name": f"case {number}", **case} for number, case in enumerate(cases)]
        (tmp_path / "w.tests.yaml").write_text(yaml.safe_dump({"cases": named, **more}, sort_keys=False))
        return tmp_path / "w.yaml"

    return write


def run(*arguments):
    return CliRunner().invoke(app, ["test", *map(str, arguments)])


def played(path, *arguments):
    """Run and return the one case, as ``--json`` has it."""
    result = run(path, "--json", *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    (case,) = json.loads(result.stdout)["cases"]
    return case


def ask(**case):
    return {"input": {"text": "hello"}, **case}
