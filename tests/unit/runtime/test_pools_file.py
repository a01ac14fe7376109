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
