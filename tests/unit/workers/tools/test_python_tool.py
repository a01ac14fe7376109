"""The tool `python`: the user's function, which may do what it likes except hold up the worker."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.workers.tools import python as python_tool
from tests.unit.workers.tools import functions
from tests.unit.workers.tools.kit import call, config_of, opened

HERE = "tests.unit.workers.tools.functions"


def run(name, arguments=None, **fields):
    return call(arguments or {}, kind="python", function=f"{HERE}:{name}", **fields).output


def failure(name, arguments=None, **fields):
    with pytest.raises(AdapterError) as caught:
        run(name, arguments, **fields)
    return caught.value


def test_a_function_is_called_with_its_arguments_be_it_async_or_not():
    assert run("twice", {"n": 4}) == 8
    assert run("twice_later", {"n": 4}) == 8


def test_a_function_that_asks_for_the_key_gets_it_and_never_one_of_the_caller():
    assert run("charge", {"amount": 3}, key="j/pay/0") == {"amount": 3, "key": "j/pay/0"}
    assert run("charge", {"amount": 3, "idempotency_key": "mine"}, key="j/pay/0")["key"] == "j/pay/0"
    assert run("twice", {"n": 1, "idempotency_key": "mine"}) == 2


def test_an_exception_is_a_failure_with_its_text_and_in_doubt():
    error = failure("fails", {"how": "value"})
    assert (error.kind, error.unconfirmed) == (ErrorKind.SERVER_ERROR, True)
    assert error.message == "the function raised ValueError: no such customer"


@pytest.mark.parametrize("how", ["exit", "stop"])
def test_a_function_cannot_end_the_worker(how):
    assert failure("fails", {"how": how}).kind is ErrorKind.SERVER_ERROR


def test_a_function_may_say_itself_what_went_wrong():
    error = failure("refuses")
    assert (error.kind, error.retry_after_ms, error.unconfirmed) == (ErrorKind.RATE_LIMITED, 5, False)


def test_arguments_that_the_function_does_not_take_are_a_failure():
    assert "TypeError" in failure("twice", {"m": 1}).message


def test_what_hangs_is_given_up_and_its_threads_are_bounded():
    functions.released.clear()

    async def main():
        async with opened(kind="python", function=f"{HERE}:hangs") as tool:
            most = tool._most
            began = time.monotonic()
            calls = [tool.call({}, timeout_s=0.2, idempotency_key="k") for _ in range(most)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            with pytest.raises(AdapterError) as refused:
                await tool.call({}, timeout_s=0.2, idempotency_key="k")
            return {error.kind for error in errors}, refused.value, time.monotonic() - began

    kinds, refused, took_s = asyncio.run(main())
    functions.released.set()
    assert kinds == {ErrorKind.TIMEOUT}
    assert (refused.kind, refused.unconfirmed) == (ErrorKind.OVERLOADED, False)
    assert took_s < 3


def test_an_async_function_that_blocks_holds_up_its_own_loop_only():
    async def main():
        async with opened(kind="python", function=f"{HERE}:blocks_its_loop") as tool:
            running = asyncio.create_task(tool.call({}, timeout_s=2, idempotency_key="k"))
            began = time.monotonic()
            await asyncio.sleep(0.05)
            took_s = time.monotonic() - began
            await running
            return took_s

    assert asyncio.run(main()) < 0.3


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("tests.no_such_module:f", "ModuleNotFoundError"),
        (f"{HERE}:no_such", "AttributeError"),
        (f"{HERE}:not_a_function", "is no function"),
        ("not_offered", "no entry point 'not_offered' in headrace.tools"),
    ],
)
def test_a_function_that_is_not_there_is_said_at_the_start(function, said):
    with pytest.raises(ConfigError) as caught:
        python_tool.PythonTool(config_of(kind="python", function=function))
    assert said in caught.value.message


def test_a_package_offers_functions_as_entry_points(monkeypatch):
    offered = EntryPoints([EntryPoint("double", f"{HERE}:twice", "headrace.tools")])
    monkeypatch.setattr(python_tool, "entry_points", lambda group: offered.select(group=group))
    assert call({"n": 2}, kind="python", function="double").output == 4
