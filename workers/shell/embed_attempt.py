"""One attempt in a pool that serves embeddings: vectors of texts, or how near they are to routes.

The order is that of `attempt.py`. The examples of routes are embedded by the first attempt that needs them, together
with its own texts, and kept by their content: 200 examples and a text are one provider call, the next attempts' are one
of a text each. Only where the examples do not fit into one request are there several; what an attempt has brought in is
kept whatever becomes of it, so the next one goes on from there. Each attempt pays what it brought in itself.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

from headrace.schemas.codec import canonical_json
from headrace.schemas.cost import cost_microusd
from headrace.schemas.errors import AdapterError, ContractError, DecodeError, ErrorKind
from headrace.schemas.messages import EmbedCall, Examples, ObjectRef, Result, Task, Usage
from headrace.schemas.vectors import Vector, check_embed_call, example_problem, packed
from headrace.workers.adapters.base import Embedder, Embedding
from headrace.workers.core.nearness import Nearness
from headrace.workers.shell.attempt import AttemptRunner, NoModel, since_ms
from headrace.workers.shell.workplace import Workplace

KEPT_BYTES = 268_435_456
"""Of examples, over all workflows: sixteen times 10,000 with vectors of 384 values."""
KEPT_SETS = 256
REQUEST_CHARS = 256_000
"""Of the texts of one request; OpenAI takes 300,000 tokens."""
TEXT_BYTES = 64
"""What a text takes in memory beside its characters."""


@dataclass(slots=True)
class _Kept:
    """Examples that a call named: embedded, or on the way there."""

    examples: tuple[Examples, ...]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    vectors: list[Vector] = field(default_factory=list)
    """Of the first examples: those of the requests that were answered."""
    ready: Nearness | None = None

    @property
    def size_bytes(self) -> int:
        """What it holds in memory, about."""
        held = self.ready.size_bytes if self.ready else 4 * sum(map(len, self.vectors))
        return held + sum(len(text) + TEXT_BYTES for each in self.examples for text in each.texts)


class EmbedRunner(AttemptRunner):
    """Runs the attempts of a pool that serves embeddings.

    Args:
        embedder: the endpoint's adapter.
        place: where it works.
    """

    def __init__(self, embedder: Embedder, place: Workplace) -> None:
        super().__init__(NoModel("a pool that serves embeddings answers no prompts"), place)
        self._embedder = embedder
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def close(self) -> None:
        await self._embedder.close()

    async def _call_of(self, task: Task) -> tuple[EmbedCall, _Kept | None]:
        """Return a call that may be made, with its examples.

        Raises:
            AdapterError: it may not be; nothing was done.
            HeadraceError: it is not to be had.
        """
        if task.call is not None or task.tool is not None:
            raise AdapterError(ErrorKind.BAD_REQUEST, "no call for embeddings, in a pool that serves them")
        call = task.embed
        if call is None:
            call = check_embed_call(await self._payloads.fetch(task, EmbedCall))
        if len(call.texts) > self._pool.texts_per_request or sum(map(len, call.texts)) > REQUEST_CHARS:
            most = f"{self._pool.texts_per_request} texts and {REQUEST_CHARS:,} characters"
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the texts are more than one request takes ({most})")
        if call.examples_ref is not None:
            return call, await self._examples_at(call.examples_ref)
        return call, self._keep(call.examples) if call.examples else None

    async def _examples_at(self, ref: ObjectRef) -> _Kept:
        if (known := self._kept.get(ref.sha256)) is not None:
            self._kept.move_to_end(ref.sha256)
            return known
        content = await self._payloads.read(ref)
        try:
            examples = tuple(Examples.model_validate(each) for each in json.loads(content))
        except (ValueError, TypeError, RecursionError):
            raise ContractError(f"object {ref.key} is no list of examples") from None
        if not examples or (problem := example_problem(examples)) is not None:
            raise DecodeError(f"object {ref.key}: {problem if examples else 'no examples'}", kind="out_of_range")
        return self._keep(examples)

    def _keep(self, examples: tuple[Examples, ...]) -> _Kept:
        key = sha256(canonical_json([each.model_dump() for each in examples])).hexdigest()
        kept = self._kept.pop(key, None) or _Kept(examples)
        self._kept[key] = kept  # Used last, so forgotten last.
        self._forget_oldest()
        return kept

    async def _answer(self, task: Task, call: Any, *, timeout_s: float, key: str, started: float) -> Result:
        asked, kept = call
        if kept is None:
            answer = await self._ask(asked.texts, timeout_s=timeout_s, key=key)
            output: Any = {"float32": [packed(vector) for vector in answer.vectors]}
        else:
            answer, output = await self._compare(asked.texts, kept, timeout_s=timeout_s, key=key)
        usage = answer.usage
        return self._result(
            task,
            output=output,
            usage=usage,
            cost_microusd=cost_microusd(usage, self._pool.price),
            model=answer.model,
            call_ms=since_ms(started),
            unconfirmed=self.priced and not usage.input_tokens,
        )

    async def _compare(
        self, texts: tuple[str, ...], kept: _Kept, *, timeout_s: float, key: str
    ) -> tuple[Embedding, dict[str, Any]]:
        answer = await self._with_examples(texts, kept, timeout_s=timeout_s, key=key)
        assert kept.ready is not None
        try:
            scores = [kept.ready.scores(vector) for vector in answer.vectors]
        except ValueError as error:  # The provider has another model under the old name.
            kept.ready, kept.vectors = None, []
            raise AdapterError(ErrorKind.SERVER_ERROR, f"{error}; they are embedded again", unconfirmed=True) from None
        return answer, {"scores": scores}

    async def _with_examples(self, texts: tuple[str, ...], kept: _Kept, *, timeout_s: float, key: str) -> Embedding:
        """Return the texts' vectors, once the examples have theirs. One attempt at a time brings examples in."""
        if kept.ready is not None:
            return await self._ask(texts, timeout_s=timeout_s, key=key)
        async with kept.lock:
            if kept.ready is None:
                return await self._bring_in(texts, kept, timeout_s=timeout_s, key=key)
        return await self._ask(texts, timeout_s=timeout_s, key=key)

    async def _bring_in(self, texts: tuple[str, ...], kept: _Kept, *, timeout_s: float, key: str) -> Embedding:
        """Embed the examples that have no vectors yet, and the texts with the last of them."""
        examples = list(chain.from_iterable(each.texts for each in kept.examples))
        wanted = [*examples[len(kept.vectors) :], *texts]
        usage, own, model, paid = Usage(), list[Vector](), "", False
        for number, batch in enumerate(self._batches(wanted)):
            try:
                answer = await self._ask(batch, timeout_s=timeout_s, key=f"{key}:{number}" if number else key)
            except AdapterError as error:
                # Requests before this one were paid, and a failure cannot tell how much.
                raise AdapterError(
                    error.kind,
                    error.message,
                    retry_after_ms=error.retry_after_ms,
                    unconfirmed=error.unconfirmed or paid,
                ) from None
            usage, model, paid = _sum(usage, answer.usage), answer.model, True
            missing = len(examples) - len(kept.vectors)
            kept.vectors.extend(answer.vectors[:missing])
            own.extend(answer.vectors[missing:])
        if len({len(vector) for vector in kept.vectors}) > 1:
            kept.vectors = []
            message = "the endpoint's vectors are of several lengths; the examples are embedded again"
            raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True)
        kept.ready = Nearness(kept.examples, kept.vectors)
        kept.vectors = []
        return Embedding(own, usage, model)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch, chars = list[str](), 0
        for text in texts:
            if batch and (len(batch) >= self._pool.texts_per_request or chars + len(text) > REQUEST_CHARS):
                yield batch
                batch, chars = [], 0
            batch.append(text)
            chars += len(text)
        yield batch

    async def _ask(self, texts: Sequence[str], *, timeout_s: float, key: str) -> Embedding:
        return await self._embedder.embed(texts, model=self._pool.model, timeout_s=timeout_s, idempotency_key=key)

    def _forget_oldest(self) -> None:
        """Keep what was used last, within the bounds. An attempt that has its examples in hand goes on with them."""
        held = sum(kept.size_bytes for kept in self._kept.values())
        while len(self._kept) > 1 and (held > KEPT_BYTES or len(self._kept) > KEPT_SETS):
            held -= self._kept.popitem(last=False)[1].size_bytes


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(input_tokens=one.input_tokens + other.input_tokens)
