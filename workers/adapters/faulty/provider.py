"""Requests to replies: the scripted provider without HTTP, with its log and its counters."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any, Literal

from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.faulty.script import Fault, Rule, Script, json_for, parse_script

LOG_LINES = 200_000
TOKEN_CHARS = 4


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


@dataclass(slots=True)
class Call:
    """One line of the log."""

    at_s: float
    key: str
    model: str
    fault: str
    status: int
    delay_s: float
    prompt_chars: int
    body: dict[str, Any] = field(default_factory=dict)


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
            "distinct_keys": len(set(keys)),
            "repeated_keys": len(keys) - len(set(keys)),
            "faults": dict(Counter(call.fault for call in self.calls if call.fault)),
            "statuses": {str(status): n for status, n in Counter(call.status for call in self.calls).items()},
        }

    def _complete(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        try:
            body = json.loads(raw)
            prompt = "\n".join(str(message["content"]) for message in body["messages"])
        except (ValueError, KeyError, TypeError):
            return _error(400, type="invalid_request_error", code=None, message="no chat completion request")
        key = headers.get("idempotency-key", "")
        if self._script.honour_keys and key in self._answered:
            return self._answered[key]
        rule, fault, delay_s, reply = self._play(key or sha256(raw).hexdigest(), body, prompt)
        del rule
        name = fault.kind if fault else ""
        kept = body if self._keep_bodies else {}
        at_s = self._now_s() - self._started_s
        model = str(body.get("model", ""))
        self.calls.append(Call(at_s, key, model, name, reply.status, delay_s, len(prompt), kept))
        if self._script.honour_keys and key and not fault:
            self._answered[key] = reply
        return reply

    def _play(self, key: str, body: dict[str, Any], prompt: str) -> tuple[Rule, Fault | None, float, Reply]:
        """Draw this call's fate: always the same number of draws in the same order."""
        script = self._script
        random = script.draws(key)
        rule, found = script.rule_for(prompt)
        delay_s = (rule.latency or script.latency).draw_s(random)
        task = key.rpartition(":")[0] or key
        self._calls_of_task[task] += 1
        elapsed_s = self._now_s() - self._started_s
        fault = None
        for candidate in (*script.faults, *rule.faults):
            draw = random.random()
            calls = self._calls_of_task[task]
            if fault is None and candidate.applies(call_of_task=calls, elapsed_s=elapsed_s, draw=draw):
                fault = candidate
        text = _text(rule, found.groups() if found else (), body, random)
        return rule, fault, delay_s, _reply(fault, text, body, prompt, delay_s)


def _text(rule: Rule, groups: tuple[str | None, ...], body: dict[str, Any], random: Random) -> str:
    last = str(body["messages"][-1]["content"]) if body["messages"] else ""
    if rule.json_answer is not None:
        return json.dumps(rule.json_answer)
    if rule.answer is not None:
        text = rule.answer.replace("{last}", last).replace("{model}", str(body.get("model", "")))
        for number, group in enumerate(groups, start=1):
            text = text.replace(f"{{{number}}}", group or "")
        return text
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return json.dumps(json_for(wanted.get("json_schema", {}).get("schema"), random))
    return last


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
            return Reply(200, whole.body, delay_s=delay_s, manner="half")
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
    tokens = {"prompt_tokens": len(prompt) // TOKEN_CHARS + 1, "completion_tokens": len(text) // TOKEN_CHARS + 1}
    answer = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "model": body.get("model") or "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }
    return Reply(200, json.dumps(answer).encode(), delay_s=delay_s)


def _error(status: int, *, type: str, code: str | None, message: str) -> Reply:
    return _json(status, {"error": {"message": message, "type": type, "param": None, "code": code}})


def _json(status: int, content: Any) -> Reply:
    return Reply(status, json.dumps(content).encode())


def _line(call: Call) -> dict[str, Any]:
    line = {
        "at_s": round(call.at_s, 4),
        "key": call.key,
        "model": call.model,
        "fault": call.fault,
        "status": call.status,
        "delay_s": call.delay_s,
        "prompt_chars": call.prompt_chars,
    }
    return {**line, "body": call.body} if call.body else line
