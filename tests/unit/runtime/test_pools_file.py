"""The pools file: what is wrong is named, with its field and a suggestion."""

from __future__ import annotations

import pytest

from headrace.runtime.pools import ADAPTERS, api_key, find_pool, load_pools
from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import Endpoint
from headrace.workers.adapters.base import REGISTRY

GOOD = """
endpoints:
  here: {adapter: openai, base_url: "http://127.0.0.1:8080/v1", public: false}
pools:
  small:
    endpoint: here
    model: smol
    price: {input: 150000, output: 600000}
"""


def test_a_dozen_lines_make_a_pool(tmp_path):
    path = tmp_path / "pools.yaml"
    path.write_text(GOOD)
    pool, endpoint = find_pool(load_pools(path), "small")
    assert (pool.model, endpoint.public, pool.price.output) == ("smol", False, 600_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("openai", "opnai"), "endpoints.here.adapter: unknown adapter 'opnai' (did you mean 'openai'?)"),
        (GOOD.replace("model:", "modle:"), "unknown field pools.small.modle (did you mean 'model'?)"),
        (GOOD.replace("output:", "outptu:"), "unknown field pools.small.price.outptu (did you mean 'output'?)"),
        (GOOD.replace("base_url", "base_ulr"), "unknown field endpoints.here.base_ulr (did you mean 'base_url'?)"),
        (GOOD.replace("pools:", "poools:"), "unknown field poools (did you mean 'pools'?)"),
        (GOOD.replace("endpoint: here", "endpoint: there"), "names endpoint 'there', which is not there"),
        (GOOD.replace("model: smol", "serves: embedings"), "pools.small.serves"),
        (GOOD.replace("openai", "minilm"), "pools.small serves chat, and its endpoint 'here' has the adapter 'minilm'"),
        (GOOD.replace("public: false", "latency_ms: 5"), "latency_ms is for the adapter 'noop'"),
        (GOOD.replace("openai", "noop").replace("public: false", "latency_ms: 600001"), "less than or equal to 600000"),
        ("a: [", "is not YAML"),
        ("- a", "pools.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_suggestion(tmp_path, text, said):
    path = tmp_path / "pools.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_pools(path)
    assert said in caught.value.message
    assert "pools.yaml" in caught.value.message


def test_no_file_and_a_missing_file_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="no pools file"):
        load_pools(None)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pools(tmp_path / "none.yaml")


def test_an_unknown_pool_is_refused_with_a_suggestion(tmp_path):
    path = tmp_path / "pools.yaml"
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        find_pool(load_pools(path), "smal")


def test_a_missing_key_names_its_variable_and_a_key_is_never_shown(monkeypatch):
    endpoint = Endpoint(base_url="http://127.0.0.1/v1", api_key_env="HR_TEST_KEY")
    monkeypatch.delenv("HR_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="HR_TEST_KEY"):
        api_key(endpoint, "here")
    monkeypatch.setenv("HR_TEST_KEY", "sk-secret")
    assert "sk-secret" not in repr(api_key(endpoint, "here"))
    assert api_key(Endpoint(), "here") is None


def test_the_names_that_files_may_use_are_the_adapters_that_workers_have():
    assert set(ADAPTERS) == set(REGISTRY)


TOOLS = (
    GOOD
    + """
tools:
  crm:
    kind: http
    pool: crm
    url: "http://127.0.0.1:1/customers/{id}"
    arguments: {type: object, required: [id], properties: {id: {type: string}}}
  charge: {kind: http, pool: crm, method: POST, url: "https://pay.example.com/charges", idempotent: true}
  send_email: {kind: email, sender: orders@example.org, providers: [{host: a.example.org}, {host: b.example.org}]}
  lookup: {kind: sql, database: shop.db}
  docs: {kind: mcp, server: {command: [docs-server]}, remote: search}
  handbook: {kind: retrieve, folder: handbook}
  score: {kind: python, function: "shop.scores:score"}
"""
)


def loaded(tmp_path, text):
    path = tmp_path / "pools.yaml"
    path.write_text(text)
    return load_pools(path)


def test_a_tool_is_a_few_lines_and_its_pool_needs_none(tmp_path):
    pools = loaded(tmp_path, TOOLS)
    pool, endpoint = find_pool(pools, "tool-email")
    assert (pool.endpoint, endpoint.adapter, endpoint.public) == ("tool-email", "tools", True)
    assert set(pools.tools_of("crm")) == {"crm", "charge"}
    assert pools.tools_of("small") == {}
    assert set(pools.pools) == {"small", "crm", "tool-email", "tool-sql", "tool-mcp", "tool-retrieve", "tool-python"}


def test_a_pool_of_tools_may_have_a_line_of_its_own(tmp_path):
    pools = loaded(tmp_path, TOOLS.replace("pools:\n", "pools:\n  tool-email: {concurrency: 2}\n"))
    assert find_pool(pools, "tool-email")[0].concurrency == 2


def test_what_a_call_changes_is_assumed_unless_its_kind_says_otherwise(tmp_path):
    pools = loaded(tmp_path, TOOLS + "  write: {kind: sql, database: shop.db, write: true}\n")
    changing = {name for name, tool in pools.tools.items() if tool.side_effect}
    assert changing == {"charge", "send_email", "docs", "score", "write"}
    assert {name for name, tool in pools.tools.items() if not tool.repeatable} == changing - {"charge"}
    private = {name for name, tool in pools.tools.items() if not tool.public}
    assert private == {"lookup", "handbook", "write"}
    assert not find_pool(pools, "tool-sql")[1].public


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TOOLS.replace("kind: email", "kind: emial"),
            "unknown kind 'emial' (did you mean 'email'?)",
        ),
        (TOOLS.replace("kind: sql, ", ""), "tools.lookup: a tool needs its kind"),
        (TOOLS.replace("database:", "databse:"), "unknown field tools.lookup.databse (did you mean 'database'?)"),
        (
            TOOLS.replace("{host: b.", "{hots: b."),
            "send_email.providers.1.hots (did you mean 'host'?)",
        ),
        (
            TOOLS.replace("customers/{id}", "customers/{ide}"),
            "which arguments do not have (did you mean 'id'?)",
        ),
        (TOOLS.replace("required: [id]", "required: []"), "needs argument 'id': add it to arguments.required"),
        (TOOLS.replace("https://pay", "https://{host}"), "names argument 'host'"),
        (TOOLS.replace("https://pay", "https://user@pay"), "holds no user or password"),
        (TOOLS.replace("id: {type: string}", "id: {type: strnig}"), "tools.crm.arguments: no JSON Schema"),
        (TOOLS.replace("id: {type: string}", 'id: {$ref: "http://a.example.org"}'), "lies outside"),
        (
            TOOLS.replace("pool: crm", "pool: small", 1),
            "pool 'small' calls endpoint 'here'; tools have pools",
        ),
        (TOOLS.replace("folder: handbook", "folder: h, endpoint: her"), "no endpoint 'her' (did you mean 'here'?)"),
        (
            TOOLS.replace("command: [docs-server]", "url: 'http://a.org', command: [a]"),
            "either a command or a url",
        ),
        (TOOLS.replace("docs:", '"do cs":'), "tool name 'do cs'"),
        (TOOLS.replace("adapter: openai", "adapter: tools"), "'tools' is not written"),
        (TOOLS.replace("pools:\n", "pools:\n  idle: {}\n"), "pool 'idle' names no endpoint, and no tool names it"),
    ],
)
def test_a_wrong_tool_is_refused_with_place_and_suggestion(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert said in caught.value.message


def test_all_problems_of_the_tools_come_at_once(tmp_path):
    wrong = TOOLS.replace("pool: crm", "pool: small", 1).replace("docs:", '"do cs":')
    with pytest.raises(ConfigError, match=r"pools of their own.*tool name 'do cs'"):
        loaded(tmp_path, wrong)
