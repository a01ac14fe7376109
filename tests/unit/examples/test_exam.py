"""The exam example: what is recorded, what its page says of it, and that the replay answers it over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from hashlib import sha256
from xml.etree import ElementTree

import pytest
import yaml

from headrace.examples.exam.prepare import KEY, draw, excerpt, fairest
from headrace.examples.exam.recorded import BEST, HERE, POOLS, PRICES, Answers, cost_of, read_answers
from headrace.examples.exam.score import PAGE, PICTURE, best_of, frontier, picture, points_of, table, with_table
from headrace.examples.exam.ways import SMALLEST_CASCADE, Way, choices_of, costs_of, escalations_of, ways, workflow_of
from headrace.orchestrator.core.graph import compile_workflow
from headrace.runtime.pools import load_pools
from headrace.schemas.errors import ConfigError, ErrorKind
from headrace.schemas.pools import Price
from headrace.workers.adapters.faulty.provider import ScriptedProvider
from headrace.workers.adapters.faulty.recorded import read_recordings
from headrace.workers.adapters.faulty.script import parse_script
from headrace.workers.adapters.faulty.server import serve
from tests.unit.workers.conftest import begin, make_runner, make_task

RECORDED = HERE / "recorded.jsonl.gz"
SCHEMA = {"type": "object", "properties": {"answer": {"enum": list("ABCDEFGHIJ")}}, "required": ["answer"]}


@pytest.fixture(scope="module")
def answers():
    return read_answers()


@pytest.fixture(scope="module")
def questions():
    return json.loads((HERE / "input" / "questions.json").read_text())["questions"]


def test_there_are_five_hundred_questions_and_four_answers_to_each(answers, questions):
    assert len({question["id"] for question in questions}) == 500
    assert {pool: len(cost) for pool, cost in answers.cost.items()} == dict.fromkeys(POOLS, 500)
    assert all(
        len(question["options"]) > "ABCDEFGHIJ".index(right)
        for question, right in zip(questions, answers.right, strict=True)
    )
    assert not any("answer" in question for question in questions)


def test_the_cascade_of_two_small_models_keeps_92_percent_at_66_percent_of_the_cost(answers):
    points = points_of(answers)
    best = best_of(points)
    (ladder,) = [point for point in points if point.way == SMALLEST_CASCADE]
    assert ladder.accuracy >= 0.92 * best.accuracy
    assert ladder.cost <= 0.66 * best.cost
    assert ladder in frontier(points)


def test_the_page_and_the_picture_are_what_the_records_say(answers):
    page = PAGE.read_text()
    assert with_table(page, table(points_of(answers))) == page
    assert PICTURE.read_text() == picture(points_of(answers))
    assert ElementTree.fromstring(PICTURE.read_text()).tag.endswith("svg")


def test_the_pools_file_has_the_models_and_prices_that_the_table_is_computed_with():
    pools = load_pools(HERE / "pools.yaml").pools
    assert {name: pool.model for name, pool in pools.items()} == POOLS
    assert {name: pool.price for name, pool in pools.items()} == {
        name: Price(**price) for name, price in PRICES.items()
    }


ABC = Answers(
    right=["A", "A", "A", "A"],
    chosen={
        "llama-8b": ["A", "B", None, "B"],
        "gemini-flash": ["A", "C", None, "B"],
        "gemini-pro": ["B", "A", "A", None],
    },
    cost={"llama-8b": [1] * 4, "gemini-flash": [2] * 4, "gemini-pro": [40] * 4},
)


@pytest.mark.parametrize(
    ("kind", "choices", "costs"),
    [("alone", ["B", "A", "A", None], 160), ("cascade", ["A", "A", "A", "B"], 92), ("vote", ["A", "A", "A", "B"], 172)],
)
def test_the_rules_of_a_model_alone_a_cascade_and_a_vote(kind, choices, costs):
    way = Way(kind, SMALLEST_CASCADE.pools if kind != "alone" else ("gemini-pro",))
    assert choices_of(way, ABC) == choices
    assert sum(costs_of(way, ABC)) == costs
    assert escalations_of(way, ABC) == (2 if kind == "cascade" else 4)


def test_every_way_is_a_workflow_that_holds_and_asks_in_the_same_words():
    cascade = yaml.safe_load((HERE / "workflow.yaml").read_text())
    pools = load_pools(HERE / "pools.yaml").pools
    graphs = [compile_workflow(workflow_of(way, cascade), pools=pools) for way in ways()]
    assert len(graphs) == 12
    assert len({text for graph in graphs for text in graph.steps[0].texts()}) == 1
    assert workflow_of(SMALLEST_CASCADE, cascade) == cascade


def ask(model, prompt, *, schema=None, script="{}"):
    """Return the result of one attempt against the replay, over real HTTP."""

    async def main():
        provider = ScriptedProvider(parse_script(script), now_s=time.monotonic, recorded=read_recordings(RECORDED))
        port = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(provider, host="127.0.0.1", port=0, ready=port.set_result))
        runner, adapter = make_runner(f"http://127.0.0.1:{await port}/v1", model=model, price=Price(**PRICES[BEST]))
        try:
            call = {"output_schema": schema} if schema else {}
            return (await runner.run(make_task(prompt=prompt, call=call), begin)).result
        finally:
            await adapter.close()
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)

    return asyncio.run(main())


def test_the_replay_answers_with_the_recorded_choice_and_its_real_count_of_tokens(answers, questions):
    at = next(at for at, chosen in enumerate(answers.chosen[BEST]) if chosen)
    prompt = f"Question {questions[at]['id']}. {questions[at]['question']}"
    result = ask(POOLS[BEST], prompt, schema=SCHEMA)
    assert result.output == {"answer": answers.chosen[BEST][at]}
    assert result.cost_microusd == answers.cost[BEST][at]
    assert result.model == POOLS[BEST]
    assert isinstance(ask(POOLS[BEST], prompt).output, str)


def test_an_answer_without_a_choice_is_malformed_where_json_is_asked_for(answers, questions):
    at = answers.chosen[BEST].index(None)
    result = ask(POOLS[BEST], f"Question {questions[at]['id']}.", schema=SCHEMA)
    assert result.failure.kind is ErrorKind.MALFORMED_OUTPUT
    assert result.cost_microusd == answers.cost[BEST][at]


@pytest.mark.parametrize(
    ("model", "prompt", "said"),
    [
        (POOLS["llama-8b"], "What is this?", "no key of a recorded answer in the prompt"),
        (POOLS["llama-8b"], "Question 99999999.", "to '99999999' in recorded.jsonl.gz"),
        ("gpt-9", "Question 1.", "no recorded answer of model 'gpt-9' (recorded: llama-3.1-8b-instant"),
    ],
)
def test_what_was_not_recorded_is_said_and_not_tried_again(model, prompt, said):
    result = ask(model, prompt)
    assert result.failure.kind is ErrorKind.BAD_REQUEST
    assert "HTTP 404" in result.failure.message
    assert said in result.failure.message


def test_a_replay_fails_as_its_script_says(questions):
    script = "{faults: [{kind: rate_limited}]}"
    assert (
        ask(POOLS["llama-8b"], f"Question {questions[0]['id']}.", script=script).failure.kind is ErrorKind.RATE_LIMITED
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "line 1"),
        ('{"key": "("}', "line 1"),
        ('{"key": "Question"}', "has no group"),
        ('{}\n{"model": "m"}', "line 2: Field required"),
        ('{}\n{"model": "m", "key": "k", "tokens": 1}', "line 2: Extra inputs"),
    ],
)
def test_a_file_of_recordings_that_is_none_is_refused_with_its_line(tmp_path, content, said):
    path = tmp_path / "recorded.jsonl"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_recordings(path)


def test_without_a_key_the_whole_prompt_is_looked_up(tmp_path):
    path = tmp_path / "recorded.jsonl"
    line = {"model": "m", "key": sha256(b"hello").hexdigest(), "text": "hi"}
    path.write_text("{}\n" + json.dumps(line))
    assert read_recordings(path).find("m", "hello", wants_json=False).text == "hi"
    assert isinstance(read_recordings(path).find("m", "hallo", wants_json=False), str)


def test_prices_are_rounded_up_as_a_worker_does():
    assert cost_of("llama-8b", 1, 1) == 1
    assert cost_of(BEST, 500_000, 100_000) == 2_200_000


@pytest.mark.parametrize(
    ("text", "choice", "kept"),
    [
        ("short. The answer is (B).", "B", "short. The answer is (B)."),
        ("x " * 300 + "The answer is (C).", "C", "The answer is (C)."),
        ("The answer is (D). " + "y " * 300, "D", "answer is (D). y y"),
        ("z " * 300, None, "z z"),
    ],
)
def test_an_excerpt_keeps_what_says_the_choice(text, choice, kept):
    cut = excerpt(text, choice)
    assert kept in cut
    assert len(cut) <= 162


def test_draws_take_of_each_category_its_share_and_are_the_same_each_time():
    columns = ("llama31_8b_instruct", "gemini15_flash_002", "gpt4o", "gemini31_pro")
    rows = [
        {
            "question_id": number,
            "category": "ab"[number % 3 == 0],
            "prompt_tokens": 100,
            **{f"{name}_correct": number % 5 > 1 for name in columns},
            **{f"{name}_out_tokens": 50 + number % 7 for name in columns},
        }
        for number in range(300)
    ]
    found = draw(rows, 1, 30)
    assert [row["category"] for row in found].count("b") == 10
    assert found == draw(list(reversed(rows)), 1, 30)
    assert len(fairest([*rows, *({**row, "question_id": 300 + row["question_id"]} for row in rows)], seeds=3)) == 500


def test_the_key_stands_in_a_prompt():
    assert read_recordings(RECORDED).pattern.pattern == KEY
