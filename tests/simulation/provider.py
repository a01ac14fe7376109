"""The model provider: latency by a law, errors by seed, and a memory of every call that reached it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.messages import LlmCall, ToolUse, Usage
from headrace.workers.adapters.base import AdapterConfig, Completion
from tests.patterns import answer_to
from tests.simulation.deployment import UNDO
from tests.simulation.faults import Faults
from tests.simulation.process import Process
from tests.simulation.world import World

LONGEST = 400
"""Characters of an answer."""


@dataclass(slots=True)
class Call:
    """One call that reached the provider."""

    task_id: str
    attempt: int
    process: Process
    began_us: int
    usage: Usage
    ended: str = ""
    """``ok``, an error kind, ``closed`` by the worker; empty where the worker died first."""


class Provider:
    """All endpoints.

    Args:
        latency_s: mean of a call's duration.
    """

    def __init__(self, world: World, faults: Faults, *, latency_s: float) -> None:
        self.world = world
        self.calls: list[Call] = []
        self._faults = faults
        self._draws = world.draws("provider")
        self.answers = world.draws("answers")
        self._latency_s = latency_s

    def adapter(self, config: AdapterConfig) -> SimAdapter:
        """Return a worker's adapter."""
        return SimAdapter(self, config)

    def latency_s(self, timeout_s: float) -> float:
        """Draw how long a call takes; some never end in time."""
        draw = self._draws.expovariate(1 / self._latency_s)
        if self._faulty(0.02):
            return timeout_s * 2
        return min(draw, timeout_s * 0.9)

    def error(self) -> AdapterError | None:
        """Draw how a call fails, or None."""
        if not self._faulty(0.15):
            return None
        match self._draws.randrange(6):
            case 0:
                wish_ms = self._draws.randrange(50, 1_500)
                return AdapterError(ErrorKind.RATE_LIMITED, "simulated 429", retry_after_ms=wish_ms)
            case 1:
                return AdapterError(ErrorKind.OVERLOADED, "simulated 529")
            case 2:
                return AdapterError(ErrorKind.SERVER_ERROR, "simulated 500")
            case 3:
                return AdapterError(ErrorKind.NETWORK, "simulated broken connection")
            case 4:
                return AdapterError(ErrorKind.BAD_REQUEST, "simulated 400")
            case _:
                return AdapterError(ErrorKind.RATE_LIMITED, "simulated 429")

    def early(self) -> bool:
        """Draw whether an error comes before the provider has done anything."""
        return self._draws.random() < 0.5

    def uses(self, request: LlmCall) -> tuple[ToolUse, ...]:
        """Draw the calls of tools that a model asks for: of what it is offered, of what it is not, or not as it should.

        Only where it is offered any; also where it is to ask for none, since models do as they please.
        """
        if not request.tools or self.answers.random() < (0.9 if request.tool_choice == "none" else 0.3):
            return ()
        names = [*(tool.name for tool in request.tools), *(tool.name for tool in request.tools), UNDO]
        good = json.dumps({"text": request.messages[0].content})
        return tuple(
            ToolUse(name=self.answers.choice(names), arguments=self.answers.choice((good, good, good, "{}", "{")))
            for _ in range(self.answers.choice((1, 1, 2, 3)))
        )

    def _faulty(self, share: float) -> bool:
        return self._faults.switches.provider and not self._faults.calm and self._draws.random() < share


class SimAdapter:
    """What a worker calls. Answers with the last message, or what the schema asks for."""

    def __init__(self, provider: Provider, config: AdapterConfig) -> None:
        self._provider = provider
        self._config = config

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        provider = self._provider
        task_id, _, attempt = idempotency_key.rpartition(":")
        text = _shortened(request.messages[-1].content)
        if request.output_schema is not None:
            text = json.dumps(answer_to(request.output_schema, provider.answers))
        uses = provider.uses(request)
        length = sum(len(message.content) for message in request.messages)
        most = request.max_output_tokens or 1_000
        usage = Usage(input_tokens=1 + length // 4, output_tokens=min(most, 1 + len(text) // 4))
        process = provider.world.running().process
        call = Call(task_id, int(attempt), process, provider.world.now_us, usage)
        provider.calls.append(call)
        error = provider.error()
        try:
            if error is None or not provider.early():
                await asyncio.sleep(provider.latency_s(timeout_s))
        except asyncio.CancelledError:
            call.ended = "closed"
            raise
        if error is not None:
            call.ended = error.kind.value
            raise error
        call.ended = "ok"
        confidence = provider.answers.random() if request.logprobs else None
        return Completion(text, "stop", usage, model, confidence=confidence, tool_calls=uses)

    async def close(self) -> None:
        """Nothing is held."""


def _shortened(text: str) -> str:
    """Return the first whole words: half the name of a job would be another job's."""
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0]
