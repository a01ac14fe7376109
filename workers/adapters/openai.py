"""Chat Completions and embeddings, as OpenAI and everything compatible with it speak them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.messages import ChatMessage, LlmCall, ToolUse, Usage
from headrace.schemas.vectors import Vector, checked_vector, unpacked
from headrace.workers.adapters.base import AdapterConfig, Completion, Embedding
from headrace.workers.adapters.openai_errors import failure_of
from headrace.workers.http import Answer, HttpClient


class OpenAiAdapter:
    """Speaks to one endpoint over HTTP."""

    def __init__(self, config: AdapterConfig) -> None:
        self._config = config
        endpoint = config.endpoint
        self._secrets = [config.key.get_secret_value()] if config.key else []
        self._http = HttpClient(endpoint.base_url, headers=endpoint.headers, key=config.key)

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        answer = await self._http.post(
            "/chat/completions",
            self._body(request, model),
            timeout_s=timeout_s,
            headers={"idempotency-key": idempotency_key},
        )
        if answer.status != 200:
            raise failure_of(answer.status, answer.headers, answer.body, secrets=self._secrets)
        return _completion(answer)

    async def embed(self, texts: Sequence[str], *, model: str, timeout_s: float, idempotency_key: str) -> Embedding:
        answer = await self._http.post(
            "/embeddings",
            {**self._config.endpoint.extra_body, "model": model, "input": list(texts)},
            timeout_s=timeout_s,
            headers={"idempotency-key": idempotency_key},
        )
        if answer.status != 200:
            raise failure_of(answer.status, answer.headers, answer.body, secrets=self._secrets)
        return _embedding(answer, len(texts))

    async def close(self) -> None:
        await self._http.close()

    def _body(self, request: LlmCall, model: str) -> dict[str, Any]:
        """Return the request. Sampling parameters go only where they were given: newer models refuse any."""
        body: dict[str, Any] = {
            **self._config.endpoint.extra_body,
            "model": model,
            "messages": [_message(message) for message in request.messages],
        }
        if request.max_output_tokens is not None:
            body[self._config.endpoint.output_tokens_field] = request.max_output_tokens
        for name in ("temperature", "top_p", "seed"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.logprobs:
            body["logprobs"] = True
        if request.stop:
            body["stop"] = list(request.stop)
        if request.output_schema is not None:
            schema = {"name": "output", "schema": request.output_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.arguments},
                }
                for tool in request.tools
            ]
            if request.tool_choice == "none":
                body["tool_choice"] = "none"
        return body


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.tool_calls:
        calls = [
            {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
            for use in message.tool_calls
        ]
        return {"role": message.role, "content": message.content or None, "tool_calls": calls}
    if message.tool_call_id:
        return {"role": message.role, "tool_call_id": message.tool_call_id, "content": message.content}
    return {"role": message.role, "content": message.content}


def _completion(answer: Answer) -> Completion:
    try:
        body = json.loads(answer.body)
        choice = body["choices"][0]
        message, finish = choice["message"], str(choice.get("finish_reason") or "")
        text = message.get("content") or ""
        refusal = message.get("refusal")
        usage = _usage(body.get("usage") or {})
        model = str(body.get("model") or "")
        confidence = _confidence(choice.get("logprobs"))
        tool_calls = tuple(_tool_use(call["function"]) for call in message.get("tool_calls") or ())
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        kind = answer.headers.get("content-type", "no content-type").partition(";")[0][:60]
        message = f"the endpoint answered 200 with something that is no chat completion ({kind})"
        raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True) from None
    if not isinstance(text, str):
        raise AdapterError(ErrorKind.SERVER_ERROR, "the endpoint's answer has no text", unconfirmed=True)
    refused = finish == "content_filter" or bool(refusal and not text)
    return Completion(text, finish, usage, model, refused, confidence, tool_calls)


def _tool_use(function: dict[str, Any]) -> ToolUse:
    """Return a call that the model asks for; some servers give its arguments as the object that their text is of."""
    name, arguments = function["name"], function.get("arguments") or ""
    if not isinstance(name, str):
        raise TypeError("a call of a tool without a name")
    return ToolUse(name=name, arguments=arguments if isinstance(arguments, str) else json.dumps(arguments))


def _confidence(raw: Any) -> float | None:
    """Return e to the mean log-probability of the answer's tokens; None where it is not said, or is no probability."""
    tokens = raw.get("content") if isinstance(raw, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    said = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
    known = [value for value in said if isinstance(value, int | float) and value <= 0]
    return math.exp(sum(known) / len(known)) if len(known) == len(tokens) else None


def _embedding(answer: Answer, count: int) -> Embedding:
    """Read vectors, as lists of numbers or (``encoding_format: base64`` in ``extra_body``) as base64 of float32."""
    try:
        body = json.loads(answer.body)
        by_index = {int(each["index"]): _vector(each["embedding"]) for each in body["data"]}
        vectors = [by_index[index] for index in range(count)]
        usage = Usage(input_tokens=_count(body.get("usage") or {}, "prompt_tokens"))
        model = str(body.get("model") or "")
        if len({len(vector) for vector in vectors}) > 1:
            raise ValueError("vectors of several lengths")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        message = f"the endpoint answered 200 with something that is no embedding of {count} texts"
        raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True) from None
    return Embedding(vectors, usage, model)


def _vector(raw: Any) -> Vector:
    return unpacked(raw) if isinstance(raw, str) else checked_vector(raw)


def _usage(raw: dict[str, Any]) -> Usage:
    """Map the provider's counts; ``prompt_tokens`` already includes what the cache read and wrote."""
    prompt = raw.get("prompt_tokens_details") or {}
    answer = raw.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=_count(raw, "prompt_tokens"),
        cached_tokens=_count(prompt, "cached_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens"),
        output_tokens=_count(raw, "completion_tokens"),
        reasoning_tokens=_count(answer, "reasoning_tokens"),
    )


def _count(raw: dict[str, Any], name: str) -> int:
    return max(0, int(raw.get(name) or 0))
