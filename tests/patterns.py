"""Random steps of every pattern, and answers that fit what their calls ask for."""

from __future__ import annotations

from random import Random
from typing import Any

Step = dict[str, Any]
COUNT = "{{ input.items | length > 2 }}"


def draw_pattern(draws: Random, prompt: str, pools: tuple[str, ...], *, embed: str = "") -> Step:
    """Return a step that decides as it goes.

    Args:
        prompt: what its calls are asked.
        embed: a pool that serves embeddings; empty: there is none.
    """

    def llm(text: str = prompt, **more: Any) -> dict[str, Any]:
        return {"pool": draws.choice(pools), "prompt": text, "max_output_tokens": 8, **more}

    kind = draws.choice((_route, _cascade, _vote, _refine, _plan))
    step = kind(draws, prompt, pools, llm)
    if embed and kind is _route and draws.random() < 0.6:
        examples = {"a": ["as a whole", "all of it"], "c": ["something else"]}
        step["route"]["semantic"] = {"pool": embed, "text": prompt, "examples": examples}
    step["retry"] = {
        "attempts": draws.choice((1, 2, 3)),
        "backoff_ms": draws.choice((50, 400)),
        "max_backoff_ms": 1_000,
    }
    step["on_error"] = draws.choice(("fail", "skip", {"default": "?"}))
    if draws.random() < 0.2:
        step["when"] = COUNT
    if draws.random() < 0.3:
        step["max_in_flight"] = draws.choice((1, 2))
    return step


def _route(draws: Random, prompt: str, pools: tuple[str, ...], llm: Any) -> Step:
    route: dict[str, Any] = {
        "to": {"a": {"llm": llm()}, "b": {"llm": llm()}, "c": {}},
        "otherwise": draws.choice("abc"),
    }
    if draws.random() < 0.5:
        route["rules"] = [{"when": COUNT, "to": draws.choice("abc")}]
    if draws.random() < 0.7:
        route["classifier"] = llm(prompt + "{{ labels }}")
        if draws.random() < 0.3:
            route["classifier"]["at_least"] = 0.5
    return {"route": route}


def _cascade(draws: Random, prompt: str, pools: tuple[str, ...], llm: Any) -> Step:
    tiers: list[Any] = [draws.choice(pools) for _ in range(draws.choice((2, 3)))]
    accept: dict[str, Any] = {}
    if draws.random() < 0.4:
        accept["confidence"] = {"at_least": 0.5}
    if draws.random() < 0.4:
        accept["agreement"] = {"samples": draws.choice((2, 3)), "at_least": 2}
        if draws.random() < 0.5:
            tiers[0] = list(pools)
    if draws.random() < 0.3:
        accept["schema"] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    if draws.random() < 0.4 or not accept:
        accept["judge"] = llm("{{ answer }}", at_least=0.5)
    return {"cascade": {"pools": tiers, "prompt": prompt, "max_output_tokens": 8, "accept": accept}}


def _vote(draws: Random, prompt: str, pools: tuple[str, ...], llm: Any) -> Step:
    voters = [{"pool": draws.choice(pools), "samples": draws.choice((1, 2))} for _ in range(draws.choice((2, 3)))]
    vote: dict[str, Any] = {"voters": voters, "prompt": prompt, "max_output_tokens": 8}
    vote["pick"] = draws.choice(("majority", "majority", "first_valid", "best_of", "merge"))
    if vote["pick"] in ("majority", "first_valid"):
        vote["ask"] = draws.choice(("all", "as_needed"))
    if vote["pick"] == "majority":
        vote["output"] = {"type": "boolean"}
        if draws.random() < 0.3:
            vote["quorum"] = 2
    if vote["pick"] == "best_of" or (vote["pick"] == "majority" and draws.random() < 0.5):
        vote["judge"] = llm("{{ answers }}")
    if vote["pick"] == "merge":
        vote["merge"] = llm("{{ answers }}")
    return {"vote": vote}


def _refine(draws: Random, prompt: str, pools: tuple[str, ...], llm: Any) -> Step:
    refine = {"generate": llm(prompt + "{{ draft }}{{ feedback }}"), "evaluate": llm("{{ draft }}")}
    return {"refine": {**refine, "max_rounds": draws.choice((1, 2, 3)), "keep": draws.choice(("last", "best"))}}


def _plan(draws: Random, prompt: str, pools: tuple[str, ...], llm: Any) -> Step:
    allowed = {
        "look": {"llm": llm("{{ args.instructions }}{{ needs }}")},
        "count": {"args": {"type": "object", "properties": {"n": {"type": "integer"}}}, "llm": llm("{{ args.n }}")},
    }
    bounds = {"max_tasks": draws.choice((1, 2, 4)), "max_depth": draws.choice((1, 2, 3))}
    return {"plan": {**llm(prompt + "{{ allowed }}"), "allowed": allowed, **bounds}}


def answer_to(schema: dict[str, Any], draws: Random) -> Any:
    """Return an answer that holds a schema of the patterns; a score from 0 to 1, a number of few."""
    if "enum" in schema:
        return draws.choice(schema["enum"])
    if "anyOf" in schema:
        return answer_to(draws.choice(schema["anyOf"]), draws)
    match schema.get("type"):
        case "array":
            return [answer_to(schema["items"], draws) for _ in range(draws.randrange(3))]
        case "object":
            return {name: answer_to(part, draws) for name, part in schema.get("properties", {}).items()}
        case "number":
            return round(draws.random(), 3)
        case "integer":
            return draws.randrange(3)
        case "boolean":
            return draws.random() < 0.6
        case _:
            return draws.choice(("yes", "no"))
