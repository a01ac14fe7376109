"""The echo: at once, or after a sleep as a provider's call."""

from __future__ import annotations

import asyncio
import time

from .conftest import begin, make_runner, make_task


def test_without_a_latency_the_echo_answers_in_process():
    runner, _ = make_runner("", adapter="noop")
    ended = runner.run_now(make_task())
    assert (ended.result.output, ended.result.failure, ended.called) == ("hello", None, True)


def test_with_a_latency_an_attempt_takes_so_long_and_others_go_on():
    async def main():
        runner, _ = make_runner("", adapter="noop", latency_ms=50)
        assert not runner.immediate
        assert runner.run_now(make_task()) is None
        began = time.monotonic()
        ended = await asyncio.gather(*(runner.run(make_task(), begin) for _ in range(20)))
        assert 0.045 < time.monotonic() - began < 0.9
        assert {one.result.output for one in ended} == {"hello"}
        assert all(one.result.call_ms >= 45 for one in ended)

    asyncio.run(main())


def test_a_latency_beyond_the_tasks_timeout_is_a_timeout():
    async def main():
        runner, _ = make_runner("", adapter="noop", latency_ms=5_000)
        ended = await runner.run(make_task(timeout_ms=20), begin)
        assert ended.result.failure.kind.value == "timeout"

    asyncio.run(main())
