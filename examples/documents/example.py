"""Agents over a document server of a hundred tools: one plans, one reads each document, one keeps what was found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from headrace.examples.deployment import Deployment
from headrace.examples.documents.library import entries
from headrace.examples.provider import Provider
from headrace.examples.stage import Stage
from headrace.schemas.errors import DependencyUnavailable

QUESTION = "Which kinds of bug does the Jargon File tell apart by how they behave, and what is each named after?"
TOOLS = {
    "You plan": ["search_documents", "list_references"],
    "You read": ["read_document"],
    "You keep": ["create_annotation", "list_annotations"],
}
"""The tools of each agent, by how its prompt begins."""
TARGET = 0.9
"""Of the schemas' tokens, the share that listing a few tools saves."""


def run(stage: Stage) -> None:
    provider, journal = stage.provider(stage.home / "answers.yaml"), stage.scratch / "journal.jsonl"
    journal.unlink(missing_ok=True)  # Of a run before.
    places = {"127.0.0.1:9801": provider.address, "python3": sys.executable, "journal.jsonl": journal}
    names = _with_all_tools(stage.pools(places), stage)
    stage.expect("the server has a hundred tools", len(names) == 100, len(names))
    workflows = (stage.home / "workflow.yaml", stage.home / "read-document.yaml")
    here = stage.deploy(stage.scratch / "all-tools.yaml", workflows=workflows)
    job_id = here.submit("documents", {"question": QUESTION})
    outcome = here.outcome(job_id)
    rows = outcome.output or []
    known = {one["id"]: one for one in entries()}
    stage.expect("every document that was planned came to a row", bool(rows), outcome.message or _column(rows, "title"))
    stage.expect("each row is of a document of the server", all(row["document"] in known for row in rows))
    if stage.given_pools is not None:  # A real provider has no log, and nobody wrote what it says.
        return
    stage.expect(
        "and says what stands there, word for word", all(row["means"] in known[row["document"]]["text"] for row in rows)
    )
    _look_at_refusal(stage, here, job_id, journal, provider)
    _look_at_journal(stage, journal, rows)
    _look_at_prompts(stage, provider)
    _compare(stage, here, provider, names)
    done = "delete_document" in [line["tool"] for line in _lines(journal)]
    stage.expect("with all tools listed, the notice has its way", done)


def _with_all_tools(pools: Path, stage: Stage) -> list[str]:
    """Write a pools file that has all tools of the server besides those of `pools`, and return their names.

    The workflows do not change by it: an agent has the tools that its step lists, and no pools file gives it more.
    """
    given = yaml.safe_load(pools.read_text(encoding="utf-8"))
    server = given["tools"]["search_documents"]["server"]
    command = [sys.executable, "-m", "headrace.workers.tools.mcp_listing", *server["command"]]
    listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if listed.returncode:
        raise DependencyUnavailable(f"the document server: {listed.stderr.strip()[-300:]}", "install the extra `mcp`")
    tools = yaml.safe_load(listed.stdout)["tools"]
    for tool in tools.values():
        tool |= {"server": server, "public": False}
    given["tools"] = {**tools, **given["tools"]}
    (stage.scratch / "all-tools.yaml").write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return list(given["tools"])


def _look_at_refusal(stage: Stage, here: Deployment, job_id: str, journal: Path, provider: Provider) -> None:
    """A notice among the documents talks the planner into a deletion."""
    refused = [event.data for event in here.events(job_id) if event.type == "agent.refused"]
    expected = [{"turn": 2, "calls": [{"tool": "delete_document", "reason": "unlisted"}]}]
    stage.expect("a call of a tool that is not listed is refused, and an event", refused == expected, refused)
    told = [prompt for prompt in provider.prompts() if "refused: there is no tool delete_document here" in prompt]
    stage.expect("the model was told", bool(told))
    called = [line["tool"] for line in _lines(journal)]
    stage.expect("the server never saw it", called != [] and "delete_document" not in called, sorted(set(called)))


def _look_at_journal(stage: Stage, journal: Path, rows: list[dict[str, str]]) -> None:
    made = [line for line in _lines(journal) if line["tool"] == "create_annotation"]
    of = sorted(line["arguments"]["document"] for line in made)
    stage.expect("each document has one annotation", of == sorted(_column(rows, "document")), of)
    keys = {line["key"] for line in made}
    stage.expect("each made under a key of its own", len(keys) == len(made) and all(keys), f"{len(keys)} keys")


def _look_at_prompts(stage: Stage, provider: Provider) -> None:
    for begins, tools in TOOLS.items():
        offered = [_offered(call) for call in provider.log() if _begins(call, begins)]
        stage.expect(
            f"only the listed tools are in the prompts of {begins!r}",
            bool(offered) and all(names == tools for names in offered),
            f"{len(offered)} turns with {', '.join(tools)}",
        )


def _compare(stage: Stage, here: Deployment, provider: Provider, names: list[str]) -> None:
    """Ask the same planner once with all tools of the server, and compare what its tools take of the prompt."""
    document = yaml.safe_load((stage.home / "workflow.yaml").read_text(encoding="utf-8"))
    agent = {**document["steps"]["orchestrate"]["agent"], "tools": names}
    steps = {"orchestrate": {"agent": agent}}
    everything = {**document, "name": "all-tools", "steps": steps, "output": "{{ orchestrate }}"}
    few = {begins: _tokens(provider.log(), begins) for begins in TOOLS}
    seen = len(provider.log())
    here.outcome(here.client.submit(everything, {"question": QUESTION}))
    whole = _tokens(provider.log()[seen:], "You plan")
    for begins, tokens in few.items():
        saved = 1 - tokens / whole
        said = f"{tokens} tokens of schemas a turn against {whole}: {saved:.1%} less"
        stage.expect(f"schemas take ≥ {TARGET:.0%} less with a few tools ({begins!r})", saved >= TARGET, said)


def _tokens(log: list[dict[str, Any]], begins: str) -> int:
    """Return what the tools take of a prompt: four characters a token, as the scripted provider counts."""
    (first, *_) = [call for call in log if _begins(call, begins)]
    return len(json.dumps(first["body"]["tools"])) // 4


def _offered(call: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in call["body"].get("tools", ())]


def _begins(call: dict[str, Any], text: str) -> bool:
    return str(call["body"]["messages"][0]["content"]).startswith(text)


def _column(rows: list[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def _lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
