"""An object store that is away for a moment costs an attempt time, and not the attempt."""

from __future__ import annotations

import asyncio

import pytest

from headrace.schemas.codec import encode
from headrace.schemas.errors import ConfigError, ContractError, DependencyUnavailable, ErrorKind
from headrace.schemas.messages import LlmCall
from headrace.workers.shell.payloads import Payloads, failure_of
from tests.unit.workers.conftest import make_task


class Flaky:
    """A store that is away for the first so many calls."""

    def __init__(self, store, times):
        self.store, self.left, self.asked = store, times, 0

    def _away(self):
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise DependencyUnavailable("the store does not answer")

    def get(self, ref):
        self._away()
        return self.store.get(ref)

    def put(self, content):
        self._away()
        return self.store.put(content)


def payloads(store, patience_s=30.0):
    waited = []

    async def pause(seconds):
        waited.append(seconds)

    return Payloads(lambda: store, patience_s=patience_s, pause=pause), waited


def test_a_store_that_comes_back_gives_the_call_and_takes_the_answer(memory_store):
    call = make_task(prompt="x").call
    task = make_task(call_ref=memory_store.put(encode(call))).model_copy(update={"call": None})
    patient, waited = payloads(Flaky(memory_store, 4))
    assert asyncio.run(patient.fetch(task, LlmCall)) == call
    assert waited == [0.2, 0.4, 0.8, 1.6]
    patient, _ = payloads(Flaky(memory_store, 2))
    assert memory_store.get(asyncio.run(patient.store({"a": "ä"}))) == '{"a":"ä"}'.encode()


def test_a_store_that_stays_away_is_given_up_after_the_patience(memory_store):
    store = Flaky(memory_store, 1_000)
    patient, _ = payloads(store, patience_s=0.0)
    with pytest.raises(DependencyUnavailable):
        asyncio.run(patient.store("x"))
    assert store.asked == 1


def test_what_is_lost_is_not_asked_for_again(memory_store):
    store = Flaky(memory_store, 0)
    patient, _ = payloads(store)
    ref = memory_store.put(b"x").model_copy(update={"key": "sha256/gone"})
    with pytest.raises(ContractError):
        asyncio.run(patient.fetch(make_task(call_ref=ref).model_copy(update={"call": None}), LlmCall))
    assert store.asked == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DependencyUnavailable("away"), ErrorKind.NETWORK),
        (ContractError("gone", kind="gone"), ErrorKind.PAYLOAD_LOST),
        (ContractError("large", kind="too_large"), ErrorKind.TOO_LARGE),
        (ConfigError("no extra"), ErrorKind.INTERNAL),
        (RuntimeError("secret"), ErrorKind.INTERNAL),
    ],
)
def test_each_trouble_with_a_payload_has_its_kind(error, kind):
    failure = failure_of(error, "the call")
    assert failure.kind is kind
    assert failure.message.startswith("the call: ")
    assert "secret" not in failure.message
