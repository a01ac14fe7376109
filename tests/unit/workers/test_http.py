"""The one HTTP client: what a call that ended badly leaves behind for the calls after it."""

from __future__ import annotations

import asyncio

import pytest

from headrace.workers.http import HttpClient, LeasedTransport
from tests.unit.workers.conftest import served

TICKS = 24
"""Turns of the event loop: more than a request to loopback takes to be sent."""


@pytest.mark.parametrize("ticks", range(TICKS))
def test_a_call_that_is_closed_at_whatever_moment_leaves_no_connection_that_hangs(ticks):
    """httpcore keeps a connection for ever that was cancelled before it was opened: the next call waited for it."""

    async def main():
        async with served("latency: {ms: 0}") as (_, base_url):
            client = HttpClient(base_url, headers={}, key=None)
            closed = asyncio.ensure_future(ask(client))
            for _ in range(ticks):
                await asyncio.sleep(0)
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)
            assert (await ask(client)).status == 200
            await client.close()

    asyncio.run(main())


def test_one_connection_serves_one_call_after_the_other():
    async def main():
        async with served("latency: {ms: 0}") as (provider, base_url):
            transport = LeasedTransport()
            client = HttpClient(base_url, headers={}, key=None, transport=transport)
            connections = set()
            for _ in range(3):
                assert (await ask(client)).status == 200
                connections |= set(transport.free)
            assert len(connections) == 1
            await client.close()
            assert len(provider.calls) == 3

    asyncio.run(main())


def ask(client):
    body = {"messages": [{"role": "user", "content": "hello"}]}
    return client.post("/chat/completions", body, timeout_s=2, headers={})
