"""Requests to replies: the scripted provider without HTTP, with its log and its counters."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.faulty.recorded import Recordings
from headrace.workers.adapters.faulty.replies import (
    Call,
    Reply,
    Said,
    answered,
    content_of,
    embedded,
    error,
    json_reply,
    text_of,
    uses_of,
    wants_json,
)
from headrace.workers.adapters.faulty.script import Fault, Script, parse_script

LOG_LINES = 200_000
CALLER_HEADER = "x-caller"
"""Who calls, for the log: an endpoint's ``headers`` in the pools file can name the worker."""


class ScriptedProvider:
    """Plays a script.

    Args:
        script: what to do.
        now_s: a clock that only goes forward.
        keep_bodies: keep each request's body in the log, for tests of what was sent.
        recorded: answers of real models, in place of the script's; its faults and latencies stay. A prompt that has
            none is a 404.
    """

    def __init__(
        self,
        script: Script,
        *,
        now_s: Callable[[], float],
        keep_bodies: bool = False,
        recorded: Recordings | None = None,
    ) -> None:
        self._recorded = recorded
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
            case "POST", "/embeddings":
                return self._embed(headers, body)
            case "GET", "/models":
                names = self._script.models if self._recorded is None else self._recorded.models
                listed = [{"id": name, "object": "model", "owned_by": "headrace"} for name in names]
                return json_reply(200, {"object": "list", "data": listed})
            case "GET", "/health":
                return json_reply(200, {"status": "ok"})
            case "GET", "/log":
                return json_reply(200, [_line(call) for call in self.calls])
            case "DELETE", "/log":
                self.calls.clear()
                return json_reply(200, {})
            case "GET", "/stats":
                return json_reply(200, self._stats())
            case "POST", "/script":
                return self._change(body)
            case _:
                return error(404, type="invalid_request_error", code="not_found", message="no such path")

    def _change(self, body: bytes) -> Reply:
        try:
            self.load(parse_script(body))
        except ConfigError as wrong:
            return error(400, type="invalid_request_error", code=None, message=wrong.message)
        return json_reply(200, {})

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
            prompt = "\n".join(content_of(message) for message in body["messages"])
        except (ValueError, KeyError, TypeError):
            return error(400, type="invalid_request_error", code=None, message="no chat completion request")
        return self._answer(headers, raw, body, prompt)

    def _embed(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        try:
            body = json.loads(raw)
            texts = [body["input"]] if isinstance(body["input"], str) else [str(text) for text in body["input"]]
        except (ValueError, KeyError, TypeError):
            return error(400, type="invalid_request_error", code=None, message="no request for embeddings")
        return self._answer(headers, raw, body, "\n".join(texts), texts)

    def _answer(
        self,
        headers: Mapping[str, str],
        raw: bytes,
        body: dict[str, Any],
        prompt: str,
        texts: Sequence[str] | None = None,
    ) -> Reply:
        """Answer one call, for a completion, or for embeddings of texts."""
        key = headers.get("idempotency-key", "")
        if self._script.honour_keys and key in self._answered:
            return self._answered[key]
        fault, reply = self._play(key or sha256(raw).hexdigest(), body, prompt, texts)
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

    def _play(
        self, key: str, body: dict[str, Any], prompt: str, texts: Sequence[str] | None
    ) -> tuple[Fault | None, Reply]:
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
        groups = found.groups() if found else ()
        if texts is not None:
            return fault, embedded(fault, texts, body, delay_s)
        if self._recorded is None:
            said = Said(
                text_of(rule, groups, body, random),
                confidence=rule.confidence,
                tool_calls=uses_of(rule, groups, body),
            )
            return fault, answered(fault, said, body, prompt, delay_s)
        found_answer = self._recorded.find(str(body.get("model", "")), prompt, wants_json=wants_json(body))
        if isinstance(found_answer, str):
            return None, error(404, type="invalid_request_error", code="not_recorded", message=found_answer)
        return fault, answered(fault, found_answer, body, prompt, delay_s)


def _line(call: Call) -> dict[str, Any]:
    line = asdict(call)
    line["at_s"] = round(call.at_s, 4)
    line["ended_s"] = None if call.ended_s is None else round(call.ended_s, 4)
    if not call.body:
        del line["body"]
    return line
