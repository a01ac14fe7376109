"""Requests to replies: the scripted provider without HTTP, with its log and its counters."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from random import Random
from typing import Any, Literal

from headrace.schemas.errors import ConfigError
from headrace.schemas.json_texts import map_texts
from headrace.schemas.schema_sample import json_for
from headrace.workers.adapters.faulty.script import Fault, Rule, Script, ScriptedUse, parse_script

LOG_LINES = 200_000
TOKEN_CHARS = 4
CALLER_HEADER = "x-caller"
"""Who calls, for the log: an endpoint's ``headers`` in the pools file can name the worker."""


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


class ScriptedProvider:
    """Plays a script.

    Args:
        script: what to do.
        now_s: a clock that only goes forward.
        keep_bodies: keep each request's body in the log, for tests of what was sent.
    """

    def __init__(self, script: Script, *, now_s: Callable[[], float], keep_bodies: bool = False) -> None:
        self._now_s = now_s
        self._keep_bodies = keep_bodies
        self.calls: deque[Call] = deque(maxlen=LOG_LINES)
        self.load(script)

    def load(self, script: Script) -> None:
        """Play another script from its beginning; the log stays."""
        self._script = script
        self._started_s = self._now_s()
        self._calls_of_task: Counter[str] = Counter()
        self._answered: dict[str, Reply] = {}

    def ended(self, reply: Reply, *, left: bool = False) -> None:
        """Note that a reply was written, or that its caller left before."""
        if reply.call is not None and reply.call.ended_s is None:
            reply.call.ended_s, reply.call.left = self._elapsed_s(), left

    def reply(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request; ``headers`` by lower-case name."""
        match method, path.partition("?")[0].removeprefix("/v1"):
            case "POST", "/chat/completions":
                return self._complete(headers, body)
            case "GET", "/models":
                listed = [{"id": name, "object": "model", "owned_by": "headrace"} for name in self._script.models]
                return _json(200, {"object": "list", "data": listed})
            case "GET", "/health":
                return _json(200, {"status": "ok"})
            case "GET", "/log":
                return _json(200, [_line(call) for call in self.calls])
            case "DELETE", "/log":
                self.calls.clear()
                return _json(200, {})
            case "GET", "/stats":
                return _json(200, self._stats())
            case "POST", "/script":
                return self._change(body)
            case _:
                return _error(404, type="invalid_request_error", code="not_found", message="no such path")

    def _change(self, body: bytes) -> Reply:
        try:
            self.load(parse_script(body))
        except ConfigError as error:
            return _error(400, type="invalid_request_error", code=None, message=error.message)
        return _json(200, {})

    def _stats(self) -> dict[str, Any]:
        keys = [call.key for call in self.calls if call.key]
        return {
            "calls": len(self.calls),
            "in_flight": sum(call.ended_s is None for call in self.calls),
            "now_s": round(self._elapsed_s(), 4),
            "distinct_keys": len(set(keys)),
            "repeated_keys": len(keys) - len(set(keys)),
            "faults": dict(Counter(call.fault for call in self.calls if call.fault)),
            "statuses": {str(status): n for status, n in Counter(call.status for call in self.calls).items()},
        }

    def _elapsed_s(self) -> float:
        return self._now_s() - self._started_s

    def _complete(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        try:
            body = json.loads(raw)
            prompt = "\n".join(_said(message) for message in body["messages"])
        except (ValueError, KeyError, TypeError):
            return _error(400, type="invalid_request_error", code=None, message="no chat completion request")
        key = headers.get("idempotency-key", "")
        if self._script.honour_keys and key in self._answered:
            return self._answered[key]
        fault, reply = self._play(key or sha256(raw).hexdigest(), body, prompt)
        call = Call(
            at_s=self._elapsed_s(),
            key=key,
            model=str(body.get("model", "")),
            fault=fault.kind if fault else "",
            status=reply.status,
            delay_s=reply.delay_s,
            prompt_chars=len(prompt),
            caller=headers.get(CALLER_HEADER, ""),
            input_tokens=reply.billed[0],
            output_tokens=reply.billed[1],
            body=body if self._keep_bodies else {},
        )
        self.calls.append(call)
        if self._script.honour_keys and key and not fault:
            self._answered[key] = reply
        return replace(reply, call=call)

    def _play(self, key: str, body: dict[str, Any], prompt: str) -> tuple[Fault | None, Reply]:
        """Draw this call's fate: always the same number of draws in the same order."""
        script = self._script
        random = script.draws(key)
        rule, found = script.rule_for(prompt)
        delay_s = (rule.latency or script.latency).draw_s(random)
        task = key.rpartition(":")[0] or key
        self._calls_of_task[task] += 1
        elapsed_s = self._elapsed_s()
        fault = None
        for candidate in (*script.faults, *rule.faults):
            draw = random.random()
            calls = self._calls_of_task[task]
            if fault is None and candidate.applies(call_of_task=calls, elapsed_s=elapsed_s, draw=draw):
                fault = candidate
        text = _text(rule, found.groups() if found else (), body, random)
        reply = _reply(fault, text, body, prompt, delay_s)
        if rule.tool_calls and fault is None and body.get("tools") and body.get("tool_choice") != "none":
            uses = [_use(use, number, found, body) for number, use in enumerate(rule.tool_calls)]
            reply = _with_tool_calls(reply, uses)
        if rule.confidence is not None and fault is None and body.get("logprobs"):
            reply = replace(reply, body=_with_logprobs(reply.body, rule.confidence))
        return fault, reply


def _with_logprobs(answer: bytes, confidence: float) -> bytes:
    """Return a completion whose tokens all have the same probability."""
    body = json.loads(answer)
    token = {"token": "x", "logprob": math.log(confidence), "bytes": None, "top_logprobs": []}
    body["choices"][0]["logprobs"] = {"content": [token] * body["usage"]["completion_tokens"]}
    return json.dumps(body).encode()


def _said(message: dict[str, Any]) -> str:
    return str(message["content"] or "")


def _use(use: ScriptedUse, number: int, found: re.Match[str] | None, body: dict[str, Any]) -> dict[str, Any]:
    groups = found.groups() if found else ()
    arguments = map_texts(use.arguments, lambda text: _filled(text, groups, body))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": f"scripted{number}", "type": "function", "function": {"name": use.name, "arguments": text}}


def _with_tool_calls(reply: Reply, uses: list[dict[str, Any]]) -> Reply:
    """Return a completion that asks for calls of tools in place of its text; they are counted as it was."""
    body = json.loads(reply.body)
    body["choices"][0] |= {
        "message": {"role": "assistant", "content": None, "tool_calls": uses},
        "finish_reason": "tool_calls",
    }
    tokens = len(json.dumps(uses)) // TOKEN_CHARS + 1
    usage = body["usage"]
    usage |= {"completion_tokens": tokens, "total_tokens": usage["prompt_tokens"] + tokens}
    return replace(reply, body=json.dumps(body).encode(), billed=(usage["prompt_tokens"], tokens))


def _text(rule: Rule, groups: tuple[str | None, ...], body: dict[str, Any], random: Random) -> str:
    if rule.json_answer is not None:
        return json.dumps(rule.json_answer)
    if rule.answer is not None:
        return _filled(rule.answer, groups, body)
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return json.dumps(json_for(wanted.get("json_schema", {}).get("schema"), random))
    return _last(body)


def _filled(text: str, groups: tuple[str | None, ...], body: dict[str, Any]) -> str:
    text = text.replace("{last}", _last(body)).replace("{model}", str(body.get("model", "")))
    for number, group in enumerate(groups, start=1):
        text = text.replace(f"{{{number}}}", group or "")
    return text


def _last(body: dict[str, Any]) -> str:
    return _said(body["messages"][-1]) if body["messages"] else ""


def _reply(fault: Fault | None, text: str, body: dict[str, Any], prompt: str, delay_s: float) -> Reply:
    if fault is None:
        return _completion(text, "stop", body, prompt, delay_s)
    match fault.kind:
        case "truncated":
            return _completion(text[: max(1, len(text) // 2)], "length", body, prompt, delay_s)
        case "malformed":
            return _completion('{"unexpected": ', "stop", body, prompt, delay_s)
        case "content_filter":
            return _completion("", "content_filter", body, prompt, delay_s)
        case "stall":
            return _completion(text, "stop", body, prompt, delay_s + fault.stall_s)
        case "garbage":
            return Reply(200, b"\x00\xffthis is no JSON{", delay_s=delay_s)
        case "wrong_content_type":
            return Reply(200, b"<html><body>Welcome</body></html>", content_type="text/html", delay_s=delay_s)
        case "reset":
            return Reply(0, b"", delay_s=delay_s, manner="reset")
        case "half":
            whole = _completion(text, "stop", body, prompt, delay_s)
            return replace(whole, manner="half")
        case "rate_limited" | "overloaded" | "server_error" | "error":
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
    reply = _error(fault.status or status, type=fault.type or type_, code=fault.code, message=fault.message)
    return Reply(reply.status, reply.body, tuple(headers.items()), delay_s=delay_s)


def _completion(text: str, finish: str, body: dict[str, Any], prompt: str, delay_s: float) -> Reply:
    offered = len(json.dumps(body["tools"])) if body.get("tools") else 0
    tokens = {
        "prompt_tokens": (len(prompt) + offered) // TOKEN_CHARS + 1,
        "completion_tokens": len(text) // TOKEN_CHARS + 1,
    }
    answer = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "model": body.get("model") or "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }
    billed = tokens["prompt_tokens"], tokens["completion_tokens"]
    return Reply(200, json.dumps(answer).encode(), delay_s=delay_s, billed=billed)


def _error(status: int, *, type: str, code: str | None, message: str) -> Reply:
    return _json(status, {"error": {"message": message, "type": type, "param": None, "code": code}})


def _json(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode())


def _line(call: Call) -> dict[str, Any]:
    line = asdict(call)
    line["at_s"] = round(call.at_s, 4)
    line["ended_s"] = None if call.ended_s is None else round(call.ended_s, 4)
    if not call.body:
        del line["body"]
    return line
