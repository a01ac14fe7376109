"""Ordered failover: the next provider is asked only where nothing can have been done by the one before."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from headrace.runtime.metrics import REGISTRY
from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.tools import BreakerSpec
from headrace.workers.core.breaker import BreakerState
from headrace.workers.tools.providers import Failover, Provider


class Scripted:
    """A provider that fails as it is told, and counts."""

    def __init__(self, name, *failures):
        self.name, self.failures, self.asked, self.shares = name, list(failures), 0, []

    async def ask(self, request, share_s):
        self.asked += 1
        self.shares.append(share_s)
        await asyncio.sleep(0)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return request

    @property
    def provider(self):
        return Provider(self.name, self.ask)


def down(kind=ErrorKind.NETWORK, *, unconfirmed=False):
    return AdapterError(kind, "down", unconfirmed=unconfirmed)


def failover(*providers, side_effect=True, failures=2, clock=lambda: 0, tool="t"):
    spec = BreakerSpec(failures=failures, window=max(failures, 4), open_s=10)
    return Failover(
        [one.provider for one in providers], spec, tool=tool, pool="p", side_effect=side_effect, clock=clock
    )


def ask(over, timeout_s=10.0):
    return asyncio.run(over.call("hello", timeout_s=timeout_s))


def test_the_first_provider_answers_and_the_next_one_is_not_asked():
    first, second = Scripted("a"), Scripted("b")
    assert ask(failover(first, second)) == ("hello", "a")
    assert second.asked == 0


@pytest.mark.parametrize("kind", [ErrorKind.NETWORK, ErrorKind.OVERLOADED, ErrorKind.RATE_LIMITED, ErrorKind.AUTH])
def test_what_was_certainly_not_done_is_done_by_the_next(kind):
    first, second = Scripted("a", down(kind)), Scripted("b")
    with capture_logs() as logs:
        assert ask(failover(first, second)) == ("hello", "b")
    assert [(one["event"], one["provider"]) for one in logs] == [("provider.failed_over", "a")]


def test_what_may_have_been_done_is_not_done_by_another():
    first, second = Scripted("a", down(ErrorKind.TIMEOUT, unconfirmed=True)), Scripted("b")
    with pytest.raises(AdapterError) as caught:
        ask(failover(first, second))
    assert (caught.value.kind, caught.value.unconfirmed, second.asked) == (ErrorKind.TIMEOUT, True, 0)


def test_where_nothing_is_changed_a_doubt_does_no_harm():
    first, second = Scripted("a", down(ErrorKind.TIMEOUT, unconfirmed=True)), Scripted("b")
    assert ask(failover(first, second, side_effect=False)).provider == "b"


def test_what_is_wrong_with_the_call_is_wrong_everywhere():
    first, second = Scripted("a", down(ErrorKind.BAD_REQUEST)), Scripted("b")
    with pytest.raises(AdapterError):
        ask(failover(first, second))
    assert second.asked == 0


def test_a_silent_provider_leaves_time_for_the_next():
    first, second = Scripted("a", down()), Scripted("b")
    ask(failover(first, second), timeout_s=10.0)
    assert first.shares == [pytest.approx(5.0, abs=0.1)]
    assert second.shares == [pytest.approx(10.0, abs=0.1)]


def test_a_provider_that_fails_is_left_alone_and_its_recovery_is_noticed():
    now = [0]
    first, second = Scripted("a", down(), down()), Scripted("b")
    over = failover(first, second, clock=lambda: now[0], tool="recovers")
    with capture_logs() as logs:
        assert [ask(over).provider for _ in range(5)] == ["b"] * 5
        assert first.asked == 2
        labels = {"pool": "p", "tool": "recovers", "provider": "a"}
        assert REGISTRY.get_sample_value("headrace_breaker_state", labels) == BreakerState.OPEN
        now[0] = 10_000
        assert ask(over).provider == "a"
        assert REGISTRY.get_sample_value("headrace_breaker_state", labels) == BreakerState.CLOSED
    events = [one["event"] for one in logs if one["event"].startswith("breaker.")]
    assert events == ["breaker.opened", "breaker.probed", "breaker.closed"]


def test_one_probe_asks_and_the_other_calls_go_to_the_next():
    now = [0]
    first, second = Scripted("a", down(), down()), Scripted("b")
    over = failover(first, second, clock=lambda: now[0])
    for _ in range(2):
        ask(over)
    now[0] = 10_000

    async def many():
        return [one.provider for one in await asyncio.gather(*(over.call("x", timeout_s=1) for _ in range(5)))]

    assert sorted(asyncio.run(many())) == ["a", "b", "b", "b", "b"]


def test_where_all_are_left_alone_the_call_says_when_to_ask_again():
    now = [0]
    first, second = Scripted("a", *[down()] * 2), Scripted("b", *[down()] * 2)
    over = failover(first, second, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(AdapterError):
            ask(over)
    now[0] = 4_000
    with pytest.raises(AdapterError) as caught:
        ask(over)
    assert (caught.value.kind, caught.value.unconfirmed) == (ErrorKind.OVERLOADED, False)
    assert caught.value.retry_after_ms == 6_000
    assert (first.asked, second.asked) == (2, 2)


def test_a_single_provider_is_always_asked():
    only = Scripted("a", *[down()] * 9)
    over = failover(only)
    for _ in range(9):
        with pytest.raises(AdapterError):
            ask(over)
    assert over.states() == {"a": BreakerState.OPEN}
    assert ask(over) == ("hello", "")


def test_a_client_error_says_nothing_against_the_provider():
    first = Scripted("a", *[down(ErrorKind.BAD_REQUEST)] * 9)
    over = failover(first, Scripted("b"))
    for _ in range(9):
        with pytest.raises(AdapterError):
            ask(over)
    assert over.states()["a"] is BreakerState.CLOSED
