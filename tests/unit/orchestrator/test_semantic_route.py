"""A route by example utterances: compared where no rule holds, abstaining where it is in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetAside, SetTaskAside
from headrace.orchestrator.core.events import TaskRedriven
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.steps import Step
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import Examples, JobStatus, Task
from tests.answers import by_index, events, refusal, reply, workflow
from tests.world import POOLS, World

EXAMPLES = {"history": ["When did Rome fall?", "the kings of France"], "maths": ["an integral"]}
SEMANTIC = {"pool": "embed", "text": "{{ input.question }}", "examples": EXAMPLES, "at_least": 0.4, "margin": 0.1}
TO: dict[str, Any] = {
    "history": {"llm": {"pool": "small", "prompt": "history: {{ input.question }}", "max_output_tokens": 9}},
    "maths": {"llm": {"pool": "large", "prompt": "maths: {{ input.question }}", "max_output_tokens": 9}},
    "nobody": {},
}
CLASSIFIER = {"pool": "tiny", "prompt": "{{ labels | join(', ') }}", "max_output_tokens": 9}


def route(**fields: Any) -> dict[str, Any]:
    return {"route": {"to": TO, "otherwise": "nobody", "semantic": SEMANTIC, **fields}}


def scores(history: float, maths: float) -> dict[str, Any]:
    return {"scores": [{"history": history, "maths": maths}]}


def ran(step: dict[str, Any], *outputs: Any, **fields: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"question": "why?"}, **fields)
    world.run(by_index(*outputs))
    return world


def decided(world: World) -> dict[str, Any]:
    (data,) = events(world, "route.decided")
    return data


def compiled(**fields: Any) -> Step:
    return compile_workflow(workflow(route(**fields)), pools=POOLS).steps[0]


def test_the_nearest_branch_is_taken_and_the_event_says_how_near_it_is() -> None:
    world = ran(route(classifier=CLASSIFIER), scores(0.7, 0.2), "1815")
    first, second = world.dispatched
    assert first.embed is not None
    assert (first.pool, first.call, first.embed.texts) == ("embed", None, ("why?",))
    assert first.embed.examples == tuple(Examples(route=name, texts=tuple(texts)) for name, texts in EXAMPLES.items())
    assert (second.task_id, second.pool, world.outcome("j").output) == ("j/s/1", "small", "1815")
    assert decided(world) == {"to": "history", "by": "semantic", "score": 0.7, "lead": 0.5}


def test_a_rule_that_holds_goes_before_the_examples() -> None:
    world = ran(route(rules=[{"when": "{{ true }}", "to": "maths"}]), "by a rule")
    assert [(task.pool, task.embed) for task in world.dispatched] == [("large", None)]


@pytest.mark.parametrize(
    ("answer", "abstained"),
    [
        (
            scores(0.39, 0.1),
            {"reason": "the nearest route is history, and its score is below 0.4", "score": 0.39, "lead": 0.29}
            | {"nearest": "history"},
        ),
        (
            scores(0.5, 0.55),
            {"reason": "maths leads history by less than 0.1", "score": 0.55, "lead": 0.05, "nearest": "maths"},
        ),
        ("what?", {"reason": "the worker's answer has no scores of these routes"}),
        (ErrorKind.BAD_REQUEST, {"reason": "the comparison failed: bad_request"}),
    ],
)
def test_in_doubt_the_classifier_is_asked_and_without_one_otherwise_is_taken(
    answer: Any, abstained: dict[str, Any]
) -> None:
    world = ran(route(classifier=CLASSIFIER), answer, {"to": "maths"}, "42")
    assert [task.pool for task in world.dispatched] == ["embed", "tiny", "large"]
    assert decided(world) == {"to": "maths", "by": "classifier", "abstained": abstained}
    world = ran(route(classifier=CLASSIFIER), answer, {"to": "unsure"})
    reason = "the classifier is unsure"
    assert decided(world) == {"to": "nobody", "by": "otherwise", "reason": reason, "abstained": abstained}
    world = ran(route(), answer)
    assert world.outcome("j").output == "nobody"
    reason = "the examples leave a doubt"
    assert decided(world) == {"to": "nobody", "by": "otherwise", "reason": reason, "abstained": abstained}


def test_a_comparison_is_tried_again_as_the_step_says_for_what_it_brought_in_is_kept() -> None:
    seen: list[int] = []

    def answer(task: Task) -> Any:
        seen.append(task.attempt)
        return refusal(task, ErrorKind.TIMEOUT) if len(seen) < 3 else reply(task, scores(0.9, 0.1))

    world = ran({**route(to={**TO, "history": {}}), "retry": {"attempts": 3}}, answer)
    assert (seen, world.outcome("j").output) == ([1, 2, 3], "history")
    assert not [effect for effect in world.effects if isinstance(effect, SetTaskAside)]


def test_its_bill_is_on_the_receipt_and_within_the_budget() -> None:
    world = ran(route(), lambda task: reply(task, scores(0.9, 0.1), tokens=(500, 0)), "1815")
    assert world.outcome("j").receipt.pools["embed"].cost_microusd == 50
    world = ran(route(), scores(0.9, 0.1), "1815", budget={"tokens": 100})
    assert (world.outcome("j").status, world.dispatched) == (JobStatus.FAILED, [])
    assert world.outcome("j").reason is ErrorKind.BUDGET_EXCEEDED


def test_nothing_confidential_is_compared_by_a_public_pool() -> None:
    world = World(public_pools=("embed",))
    world.submit("j", workflow(route()), {"question": "why?"}, sensitivity="confidential")
    assert "s (pool embed)" in world.outcome("j").message


def test_no_model_call_is_redriven_to_a_pool_that_serves_embeddings() -> None:
    world = World()
    both = {"voters": [{"pool": "small"}, {"pool": "large"}], "prompt": "q"}
    world.submit("j", workflow({"vote": both}), {"question": "why?"})
    world.deal()
    world.result(refusal(world.tasks.pop(0)))
    decision = world.take("j", TaskRedriven("j/s/0", "embed", None, 0))
    assert [effect.reason for effect in decision.effects if isinstance(effect, SetAside)] == ["invalid_redrive"]


def test_a_step_knows_every_pool_and_text_of_its_route() -> None:
    step = compiled(classifier=CLASSIFIER)
    assert step.model_pools == ("embed", "tiny", "small", "large")
    assert "{{ input.question }}" in tuple(step.texts())
    assert step.script is not None
    assert step.script.most_calls == 3


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"pool": "small"}, "pool 'small' serves chat, and embeddings is needed; there is embed that does"),
        ({"pool": "embd"}, "unknown pool 'embd' (did you mean 'embed'?)"),
        ({"examples": {"histry": ["x"]}}, "steps.s.route.semantic.examples: unknown branch 'histry'"),
        ({"examples": {"history": []}}, "steps.s.route.semantic.examples: route 'history' has no example"),
        ({"examples": {"history": [" "]}}, "an example has 1 to 2,000 characters (route 'history')"),
        ({"examples": {}}, "steps.s.route.semantic.examples"),
        ({"text": "{{ inptu }}"}, "unknown reference 'inptu' (did you mean 'input'?)"),
        ({"margin": 3}, "steps.s.route.semantic.margin"),
        ({"atleast": 0.3}, "unknown key 'atleast' (did you mean 'at_least'?)"),
    ],
)
def test_what_does_not_hold_is_refused_with_the_reason(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compiled(semantic={**SEMANTIC, **fields})
    assert part in str(caught.value)


def test_no_prompt_goes_to_a_pool_that_serves_embeddings() -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow({"llm": {"pool": "embed", "prompt": "x"}}), pools=POOLS)
    assert "pool 'embed' serves embeddings, and chat is needed; there is small, large, tiny that does" in str(
        caught.value
    )
