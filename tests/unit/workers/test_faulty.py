"""The scripted provider: same seed and key, same fate; storms come and go; scripts can be changed while it runs."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random

import jsonschema_rs
import pytest

from headrace.schemas.errors import ConfigError
from headrace.schemas.schema_sample import json_for
from headrace.workers.adapters.faulty.provider import ScriptedProvider
from headrace.workers.adapters.faulty.script import parse_script
from headrace.workers.http import HttpClient
from tests.unit.workers.conftest import served


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def ask(provider, key, prompt="hello"):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    return provider.reply("POST", "/v1/chat/completions", {"idempotency-key": key}, body)


def test_the_fate_of_a_call_depends_on_seed_and_key_alone():
    script = "{seed: 5, latency: {law: lognormal, ms: 100}, faults: [{kind: server_error, probability: 0.5}]}"
    one, two = (ScriptedProvider(parse_script(script), now_s=Clock()) for _ in range(2))
    keys = [f"t{number}:1" for number in range(50)]
    fates = {key: (reply.status, reply.delay_s) for key in keys for reply in [ask(one, key)]}
    assert fates == {key: (reply.status, reply.delay_s) for key in reversed(keys) for reply in [ask(two, key)]}
    assert {status for status, _ in fates.values()} == {200, 500}


def test_a_storm_begins_ends_and_comes_back():
    clock = Clock()
    script = "faults: [{kind: rate_limited, retry_after: '1', start_s: 10, length_s: 2, every_s: 20}]"
    provider = ScriptedProvider(parse_script(script), now_s=clock)
    seen = []
    for clock.now in (0, 10, 11.9, 12, 30, 33):
        seen.append(ask(provider, f"t{clock.now}:1").status)
    assert seen == [200, 429, 429, 200, 429, 200]


def test_honoured_keys_give_the_same_answer_and_no_further_call():
    provider = ScriptedProvider(parse_script("honour_keys: true"), now_s=Clock())
    assert ask(provider, "t:1").body == ask(provider, "t:1").body
    stats = json.loads(provider.reply("GET", "/stats", {}, b"").body)
    assert (stats["calls"], stats["repeated_keys"]) == (1, 0)


def test_another_script_can_be_posted_and_a_wrong_one_is_refused():
    provider = ScriptedProvider(parse_script(""), now_s=Clock())
    assert provider.reply("POST", "/script", {}, b"rules: [{answer: hi}]").status == 200
    assert b'"content": "hi"' in ask(provider, "t:1").body
    wrong = provider.reply("POST", "/script", {}, b"rulez: []")
    assert wrong.status == 400
    assert b"rulez" in wrong.body
    assert len(json.loads(provider.reply("GET", "/log", {}, b"").body)) == 1
    assert (
        provider.reply("GET", "/v1/models", {}, b"").status == provider.reply("GET", "/health", {}, b"").status == 200
    )
    assert provider.reply("GET", "/nothing", {}, b"").status == 404
    assert provider.reply("POST", "/v1/chat/completions", {}, b"{").status == 400


def test_the_log_says_who_called_what_is_billed_and_how_each_call_ended():
    """By it a test proves what a worker's death cost: what was in flight, and what was paid for."""

    async def main():
        script = "rules: [{match: slow, latency: {ms: 60000}}, {match: 'no', faults: [{kind: server_error}]}]"
        async with served(script) as (provider, base_url):
            client = HttpClient(base_url, headers={"x-caller": "worker-7"}, key=None)

            def call(prompt):
                body = {"messages": [{"role": "user", "content": prompt}]}
                return client.post("/chat/completions", body, timeout_s=60, headers={"idempotency-key": prompt})

            assert (await call("quick")).status == 200
            assert (await call("no")).status == 500
            slow = asyncio.ensure_future(call("slow"))
            await in_flight(provider, 1)
            slow.cancel()
            await in_flight(provider, 0)
            await client.close()
            return json.loads(provider.reply("GET", "/log", {}, b"").body)

    quick, refused, slow = asyncio.run(main())
    assert {line["caller"] for line in (quick, refused, slow)} == {"worker-7"}
    assert (quick["input_tokens"], quick["output_tokens"], quick["left"]) == (2, 2, False)
    assert (refused["input_tokens"], refused["output_tokens"]) == (0, 0)
    assert (slow["input_tokens"], slow["left"]) == (2, True)
    assert all(line["at_s"] <= line["ended_s"] < 30 for line in (quick, refused, slow))


async def in_flight(provider, count):
    deadline = time.monotonic() + 10
    while json.loads(provider.reply("GET", "/stats", {}, b"").body)["in_flight"] != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("text", ["rules: [{match: '('}]", "latency: {law: gauss}", "a: ["])
def test_a_wrong_script_is_named(text):
    with pytest.raises(ConfigError, match="myscript"):
        parse_script(text, "myscript")


def test_json_by_schema_holds_the_schema():
    schema = {
        "type": "object",
        "required": ["label", "score", "tags"],
        "properties": {
            "label": {"enum": ["a", "b"]},
            "score": {"type": "integer", "minimum": 1, "maximum": 3},
            "tags": {"type": "array", "minItems": 2, "items": {"type": "string", "maxLength": 4}},
            "deep": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
        },
    }
    for seed in range(20):
        jsonschema_rs.validate(schema, json_for(schema, Random(seed)))
