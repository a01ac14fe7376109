"""The tools of the example `coding`: which edits are applied, and what the tests of their copy may do."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.examples.coding import trial
from headrace.examples.coding.edits import MAX_BYTES, REPOSITORY, check_edits
from headrace.examples.coding.trial import run_tests
from headrace.schemas.errors import AdapterError, ErrorKind

MONEY = "shop/money.py"


def planned(*edits: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": "edit_file", "args": {"path": path, "instructions": "Do."}, "output": {"content": content}}
        for path, content in edits
    ]


def refusal(*edits: tuple[str, str]) -> str:
    with pytest.raises(AdapterError) as caught:
        check_edits(planned(*edits))
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    return caught.value.message


def test_edits_of_different_files_are_what_is_applied() -> None:
    edits = check_edits(planned((MONEY, "a"), ("shop/basket.py", "b")))
    assert edits == [{"path": MONEY, "content": "a"}, {"path": "shop/basket.py", "content": "b"}]
    assert check_edits([]) == []


@pytest.mark.parametrize("other", [MONEY, "./shop/money.py", "shop//money.py", "shop/./money.py"])
def test_two_tasks_with_one_file_are_a_conflict_however_it_is_written(other: str) -> None:
    assert "tasks 0 and 2 both edit shop/money.py" in refusal((MONEY, "a"), ("shop/basket.py", "b"), (other, "c"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/passwd.py", "leaves the repository"),
        ("../edits.py", "leaves the repository"),
        ("shop/../../edits.py", "leaves the repository"),
        ("shop\\..\\x.py", "leaves the repository"),
        ("shop/\0.py", "leaves the repository"),
        ("tests/test_shop.py", "is no module of shop"),
        ("shop/money.txt", "is no module of shop"),
        ("", "is no module of shop"),
        ("shop/new.py", "there is no"),
    ],
)
def test_an_edit_touches_modules_of_the_repository_only(path: str, said: str) -> None:
    assert said in refusal((path, "x"))


def test_an_edit_has_a_bound() -> None:
    assert "bytes" in refusal((MONEY, "x" * (MAX_BYTES + 1)))


def test_an_edit_that_nobody_checked_does_not_leave_the_copy_either() -> None:
    with pytest.raises(ValueError, match="leaves the copy"):
        run_tests([{"path": "../../x.py", "content": ""}])


def tried(content: str) -> dict[str, Any]:
    return run_tests([{"path": MONEY, "content": content}])


def test_the_tests_of_the_copy_decide_and_the_edits_come_back_as_a_diff() -> None:
    before = run_tests([])
    assert (before["passed"], before["tests"], len(before["broken"]), before["diff"]) == (False, 6, 5, "")
    after = tried((REPOSITORY / MONEY).read_text(encoding="utf-8").replace("float(", "100 * float("))
    assert (after["passed"], len(after["broken"])) == (False, 4)
    assert "-    return float(text" in after["diff"]
    assert "+    return 100 * float(text" in after["diff"]


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import os; os.kill(os.getppid(), 0)",
        "import ctypes; ctypes.CDLL(None)",
        "open('shop/other.py', 'w')",
        "import os; os.remove('tests/test_shop.py')",
        "import shutil; shutil.rmtree('.')",
    ],
)
def test_what_a_model_wrote_reaches_no_network_no_process_and_no_file(code: str) -> None:
    found = tried(code)
    assert not found["passed"]
    assert "is not for the tests of a model's edits" in found["log"]


def test_it_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_API_KEY", "secret")
    assert "KeyError" in tried("import os; os.environ['PROVIDER_API_KEY']")["log"]


def test_what_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 1)
    assert tried("while True: pass")["log"] == "not done after 1 s: stopped"


@pytest.mark.parametrize("code", ["x = bytearray(10**9)", "import sys; sys.exit(0)", "print('{}'); raise SystemExit"])
def test_what_breaks_the_run_has_not_passed(code: str) -> None:
    assert tried(code)["passed"] is False
