"""What the scripted provider says, byte for byte: completions, embeddings, errors, and what faults make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal, NamedTuple

from headrace.schemas.json_texts import map_texts
from headrace.schemas.schema_sample import json_for
from headrace.schemas.vectors import packed
from headrace.workers.adapters.faulty.script import Fault, Rule, ScriptedUse
from headrace.workers.adapters.hashed_words import hashed_vector

TOKEN_CHARS = 4


class Said(NamedTuple):
    """What a model says."""

    text: str
    finish: str = "stop"
    billed: tuple[int, int] | None = None
    """Tokens of the prompt and of the answer; None: counted by their characters."""
    confidence: float | None = None
    """The probability of each of its tokens, told where a request asks for it."""
    tool_calls: tuple[dict[str, Any], ...] = ()
    """Calls of tools that it asks for in place of its text, as they are written in a completion."""


@dataclass(slots=True)
class Call:
    """One line of the log."""

    at_s: float
    """When it came in, in seconds since the script was loaded."""
    key: str
    model: str
    fault: str
    status: int
    delay_s: float
    prompt_chars: int
    caller: str = ""
    input_tokens: int = 0
    """What is billed for the prompt: nothing where an error is answered."""
    output_tokens: int = 0
    """What is billed for the answer."""
    ended_s: float | None = None
    """When it was answered, or its caller left; None while it is in flight."""
    left: bool = False
    """Whether its caller went away before the answer."""
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, and how."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    delay_s: float = 0.0
    manner: Literal["whole", "reset", "half"] = "whole"
    """``reset``: the connection is cut before a byte; ``half``: in the middle of the body."""
    billed: tuple[int, int] = (0, 0)
    """Tokens of the prompt and of the answer."""
    call: Call | None = None
    """Its line in the log."""


def text_of(rule: Rule, groups: tuple[str | None, ...], body: dict[str, Any], random: Random) -> str:
    """Return what a rule answers."""
    if rule.json_answer is not None:
        return json.dumps(rule.json_answer)
    if rule.answer is not None:
        return _filled(rule.answer, groups, body)
    if wants_json(body):
        return json.dumps(json_for(body["response_format"].get("json_schema", {}).get("schema"), random))
    return _last(body)


def uses_of(rule: Rule, groups: tuple[str | None, ...], body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the calls of tools that a rule asks for; none where the request offers none, or lets none be called."""
    if not body.get("tools") or body.get("tool_choice") == "none":
        return ()
    return tuple(_use(use, number, groups, body) for number, use in enumerate(rule.tool_calls))


def _use(use: ScriptedUse, number: int, groups: tuple[str | None, ...], body: dict[str, Any]) -> dict[str, Any]:
    arguments = map_texts(use.arguments, lambda text: _filled(text, groups, body))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    function = {"name": use.name, "arguments": text}
    return {"id": f"scripted{number}", "type": "function", "function": function}


def content_of(message: dict[str, Any]) -> str:
    """Return a message's text; one that asks for calls of tools has none."""
    return str(message["content"] or "")


def _filled(text: str, groups: tuple[str | None, ...], body: dict[str, Any]) -> str:
    text = text.replace("{last}", _last(body)).replace("{model}", str(body.get("model", "")))
    for number, group in enumerate(groups, start=1):
        text = text.replace(f"{{{number}}}", group or "")
    return text


def _last(body: dict[str, Any]) -> str:
    return content_of(body["messages"][-1]) if body["messages"] else ""


def wants_json(body: dict[str, Any]) -> bool:
    """Return whether a request asks for JSON of a schema."""
    wanted = body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") == "json_schema"


def answered(fault: Fault | None, said: Said, body: dict[str, Any], prompt: str, delay_s: float) -> Reply:
    """Return the reply to a request for a completion."""
    if fault is None:
        return _completion(said, body, prompt, delay_s)
    text = said.text
    match fault.kind:
        case "truncated":
            return _completion(Said(text[: max(1, len(text) // 2)], "length"), body, prompt, delay_s)
        case "malformed":
            return _completion(Said('{"unexpected": '), body, prompt, delay_s)
        case "content_filter":
            return _completion(Said("", "content_filter"), body, prompt, delay_s)
        case "stall":
            return _completion(said, body, prompt, delay_s + fault.stall_s)
        case _:
            return _spoilt(fault, _completion(said, body, prompt, delay_s))


def embedded(fault: Fault | None, texts: Sequence[str], body: dict[str, Any], delay_s: float) -> Reply:
    """Return the reply to a request for embeddings: hashed vectors, base64 where that is asked for."""
    whole = _embeddings(texts, body, delay_s)
    if fault is None:
        return whole
    match fault.kind:
        case "stall":
            return replace(whole, delay_s=delay_s + fault.stall_s)
        case "truncated" | "malformed" | "content_filter":
            return replace(whole, body=whole.body[: len(whole.body) // 2])
        case _:
            return _spoilt(fault, whole)


def _spoilt(fault: Fault, whole: Reply) -> Reply:
    """Return what comes in place of a whole reply, for faults that do not look at what it says."""
    delay_s = whole.delay_s
    match fault.kind:
        case "garbage":
            return Reply(200, b"\x00\xffthis is no JSON{", delay_s=delay_s)
        case "wrong_content_type":
            return Reply(200, b"<html><body>Welcome</body></html>", content_type="text/html", delay_s=delay_s)
        case "reset":
            return Reply(0, b"", delay_s=delay_s, manner="reset")
        case "half":
            return replace(whole, manner="half")
        case _:
            return _scripted_error(fault, delay_s)


def _scripted_error(fault: Fault, delay_s: float) -> Reply:
    usual = {
        "rate_limited": (429, "rate_limit_exceeded"),
        "overloaded": (503, "server_overloaded"),
        "server_error": (500, "server_error"),
        "error": (400, "invalid_request_error"),
    }
    status, type_ = usual[fault.kind]
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["retry-after"] = fault.retry_after
    reply = error(fault.status or status, type=fault.type or type_, code=fault.code, message=fault.message)
    return Reply(reply.status, reply.body, tuple(headers.items()), delay_s=delay_s)


def _completion(said: Said, body: dict[str, Any], prompt: str, delay_s: float) -> Reply:
    offered = len(json.dumps(body["tools"])) if body.get("tools") else 0
    written = len(json.dumps(said.tool_calls)) if said.tool_calls else len(said.text)
    billed = said.billed or ((len(prompt) + offered) // TOKEN_CHARS + 1, written // TOKEN_CHARS + 1)
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": said.finish}
    if said.tool_calls:
        message |= {"content": None, "tool_calls": said.tool_calls}
        choice["finish_reason"] = "tool_calls"
    if said.confidence is not None and body.get("logprobs"):
        token = {"token": "x", "logprob": math.log(said.confidence), "bytes": None, "top_logprobs": []}
        choice["logprobs"] = {"content": [token] * billed[1]}
    answer = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "model": body.get("model") or "scripted",
        "choices": [choice],
        "usage": {"prompt_tokens": billed[0], "completion_tokens": billed[1], "total_tokens": sum(billed)},
    }
    return Reply(200, json.dumps(answer).encode(), delay_s=delay_s, billed=billed)


def _embeddings(texts: Sequence[str], body: dict[str, Any], delay_s: float) -> Reply:
    tokens = sum(len(text) // TOKEN_CHARS + 1 for text in texts)
    as_text = body.get("encoding_format") == "base64"
    vectors = map(hashed_vector, texts)
    answer = {
        "object": "list",
        "model": body.get("model") or "scripted",
        "data": [
            {"object": "embedding", "index": index, "embedding": packed(vector) if as_text else vector.tolist()}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Reply(200, json.dumps(answer).encode(), delay_s=delay_s, billed=(tokens, 0))


def error(status: int, *, type: str, code: str | None, message: str) -> Reply:
    """Return an error as OpenAI writes it."""
    return json_reply(status, {"error": {"message": message, "type": type, "param": None, "code": code}})


def json_reply(status: int, content: Any) -> Reply:
    """Return JSON."""
    return Reply(status, json.dumps(content).encode())
