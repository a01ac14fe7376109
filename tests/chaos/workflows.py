"""What the jobs run on: two pools, the provider's script, and workflows that echo, so that every output is known."""

from __future__ import annotations

from typing import Any

INPUT_PRICE, OUTPUT_PRICE = 1_000_000, 2_000_000
"""Micro-US-dollars for a million tokens: one and two a token, so that no rounding hides anything."""
CALL_TIMEOUT_S = 30.0
"""Longer than any call or pause here: a timeout would be an attempt more, and a matter of its own."""
MAX_OUTPUT_TOKENS = 64

RETRY = {"attempts": 20, "backoff_ms": 200, "max_backoff_ms": 2_000}
"""Enough to outlast every storm of the script: a job that fails has found something."""

ALWAYS, FAIL_TWICE, CUT, SLOW = "#always", "#twice", "#cut", "#slow"
"""Words in a prompt by which the provider knows what to do."""

SCRIPT: dict[str, Any] = {
    "latency": {"law": "lognormal", "ms": 250, "sigma": 0.7},
    "faults": [
        {"kind": "rate_limited", "retry_after": "1", "probability": 0.5, "start_s": 20, "every_s": 45, "length_s": 5},
        {"kind": "overloaded", "probability": 0.5, "start_s": 40, "every_s": 60, "length_s": 3},
        {"kind": "server_error", "probability": 0.01},
        {"kind": "reset", "probability": 0.007},
        {"kind": "half", "probability": 0.005},
    ],
    "rules": [
        {"match": ALWAYS, "faults": [{"kind": "error", "status": 400}]},
        {"match": FAIL_TWICE, "faults": [{"kind": "server_error", "first_calls": 2}]},
        {"match": CUT, "faults": [{"kind": "truncated", "probability": 0.5}]},
        {"match": SLOW, "latency": {"law": "uniform", "low_ms": 1_500, "high_ms": 4_000}},
        # Not among the faults above, which come first: one that ends well must not save a call that is to fail.
        {"match": ".", "faults": [{"kind": "stall", "stall_s": 3, "probability": 0.01}]},
    ],
}


def pools(provider_port: int, caller: str) -> dict[str, Any]:
    """Return the pools file of one process, whose calls the provider can tell from others'."""
    scripted = {
        "adapter": "openai",
        "base_url": f"http://127.0.0.1:{provider_port}/v1",
        "public": False,
        "headers": {"x-caller": caller},
    }
    price = {"input": INPUT_PRICE, "output": OUTPUT_PRICE}
    return {
        "endpoints": {"here": {"adapter": "noop", "public": False}, "scripted": scripted},
        "pools": {
            "noop": {"endpoint": "here", "model": "noop", "concurrency": 64},
            "http": {
                "endpoint": "scripted",
                "model": "scripted",
                "concurrency": 24,
                "price": price,
                "timeout_s": CALL_TIMEOUT_S,
            },
        },
    }


def _llm(pool: str, prompt: str) -> dict[str, Any]:
    return {"pool": pool, "prompt": prompt, "max_output_tokens": MAX_OUTPUT_TOKENS}


def one(pool: str) -> dict[str, Any]:
    """Return a workflow of one task that says what it is told."""
    return _workflow(f"one-{pool}", {"say": {"llm": _llm(pool, "{{ input.text }}"), "retry": RETRY}}, "{{ say }}")


def fan(pool: str, name: str = "fan", **step: Any) -> dict[str, Any]:
    """Return a workflow that says each item; ``step`` are further words of its step."""
    say = {"for_each": "{{ input['items'] }}", "llm": _llm(pool, "{{ item }}"), "retry": RETRY, **step}
    return _workflow(f"{name}-{pool}", {"say": say}, "{{ say }}")


def tree() -> dict[str, Any]:
    """Return a workflow that says each item over HTTP and joins the texts by a tree of calls on the other pool."""
    steps = {
        "say": {"for_each": "{{ input['items'] }}", "llm": _llm("http", "{{ item }}"), "retry": RETRY},
        "join": {"reduce": "say", "fan_in": 4, "llm": _llm("noop", "{{ items | join('') }}"), "retry": RETRY},
    }
    return _workflow("tree", steps, "{{ join }}")


def _workflow(name: str, steps: dict[str, Any], output: str) -> dict[str, Any]:
    return {"name": name, "version": 1, "steps": steps, "output": output}


SKIP = fan("http", "skip", on_error="skip")
DEFAULT = fan("http", "default", on_error={"default": "instead"})
REQUIRE = fan("http", "require", require={"share": 0.5})
WORKFLOWS: dict[str, dict[str, Any]] = {
    document["name"]: document
    for document in (one("noop"), one("http"), fan("noop"), fan("http"), tree(), SKIP, DEFAULT, REQUIRE)
}
"""Those that orchestrators know by name."""
