"""What a model says in an agent's turn comes from outside: any JSON, at any place of it, breaks nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.runtime.turns import turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus, Result, Task
from headrace.schemas.pools import PoolsFile
from tests.answers import workflow
from tests.hostile.bounds import within_time
from tests.hostile.mutations import FUZZ
from tests.world import POOLS, World

FILE = PoolsFile.model_validate({"tools": {"look": {"kind": "noop"}, "hidden": {"kind": "noop"}}})
TEXTS = st.text(max_size=20) | st.sampled_from(["look", "hidden", "{}", '{"a": 1}', "[" * 2_000, "{{ input }}", "\x00"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
USES = st.fixed_dictionaries({"name": TEXTS | VALUES, "arguments": TEXTS | VALUES}) | VALUES
TURNS = st.fixed_dictionaries({"content": VALUES, "tool_calls": st.lists(USES, max_size=5) | VALUES}) | VALUES


@FUZZ
@given(st.lists(TURNS, max_size=4))
def test_whatever_a_turn_is_the_job_ends_and_no_other_tool_is_called(turns: list[Any]) -> None:
    left = [*turns, *[turn("done")] * 8]

    def answer(task: Task) -> Result:
        output = task.tool.arguments if task.tool is not None else left.pop(0)
        return Result(task_id=task.task_id, job_id=task.job_id, attempt=task.attempt, output=output)

    world = World(pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    step = {"agent": {"pool": "small", "prompt": "go", "tools": ["look"]}, "retry": {"attempts": 1}}
    world.submit("j", workflow(step))
    within_time("an agent", lambda: world.run(answer))
    outcome = world.outcome("j")
    assert outcome.status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    assert outcome.reason in (None, ErrorKind.MALFORMED_OUTPUT)
    assert {task.tool.tool for task in world.dispatched if task.tool is not None} <= {"look"}
