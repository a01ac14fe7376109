"""The plan of topics, without a broker."""

import subprocess
from dataclasses import replace

import pytest
import yaml

from headrace.runtime.settings import Settings, TopicSettings
from headrace.runtime.topic_formats import as_kafka_topics, as_strimzi
from headrace.runtime.topic_plan import Action, compare, wanted_topics

SETTINGS = Settings(topics=TopicSettings(prefix="x", partitions=3, task_partitions=2))


def present(settings=SETTINGS, pools=("small",)):
    wanted = wanted_topics(settings, pools)
    return wanted, {s.name: s.partitions for s in wanted}, {s.name: dict(s.config) for s in wanted}


def test_topics_as_they_should_be_leave_nothing_to_do():
    plan = compare(*present())
    assert plan.differences == ()
    assert len(plan.fine) == 10


def test_every_topic_is_missing_on_an_empty_broker():
    wanted, _, _ = present()
    plan = compare(wanted, {}, {})
    assert [difference.action for difference in plan.differences] == [Action.CREATE] * 10
    assert all(difference.blocks for difference in plan.differences)


@pytest.mark.parametrize("name", ["jobs", "results", "state", "outcomes", "events", "control"])
def test_another_count_of_a_companion_is_refused_in_both_directions(name):
    for count in (2, 4, 40):
        wanted, counts, configs = present()
        counts[f"x.{name}"] = count
        plan = compare(wanted, counts, configs)
        assert [str(d) for d in plan.refused] == [str(plan.differing[0])]
        assert "cannot change" in str(plan.refused[0])


def test_task_topics_may_grow_and_may_have_more():
    wanted, counts, configs = present()
    counts |= {"x.tasks.small.batch": 1, "x.tasks.small.interactive": 12}
    plan = compare(wanted, counts, configs)
    assert [(d.topic, d.action) for d in plan.differences] == [("x.tasks.small.batch", Action.GROW)]
    assert not plan.differences[0].blocks


def test_every_difference_is_named_and_only_some_block():
    wanted, counts, configs = present()
    counts["x.jobs"] = 7
    del counts["x.outcomes"]
    configs["x.state"]["cleanup.policy"] = "delete"
    configs["x.events"]["retention.ms"] = "1"
    plan = compare(wanted, counts, configs)
    assert {(d.topic, d.what, d.blocks) for d in plan.differences} == {
        ("x.outcomes", "topic", True),
        ("x.jobs", "partitions", True),
        ("x.state", "cleanup.policy", True),
        ("x.events", "retention.ms", False),
    }


def test_configs_that_may_not_be_read_are_not_compared():
    wanted, counts, _ = present()
    assert compare(wanted, counts, {}).differences == ()


def test_retention_and_replicas_come_from_the_settings_but_compacted_topics_keep_theirs():
    topics = SETTINGS.topics.model_copy(
        update={"retention_ms": {"tasks": 5, "dead-letters": 6, "state": 7}, "min_insync_replicas": 2}
    )
    by_name = {s.name: s.config for s in wanted_topics(SETTINGS.model_copy(update={"topics": topics}), ["a-b"])}
    assert by_name["x.tasks.a-b.batch"]["retention.ms"] == "5"
    assert by_name["x.dead-letters"]["retention.ms"] == "6"
    assert "retention.ms" not in by_name["x.state"]
    assert {config["min.insync.replicas"] for config in by_name.values()} == {"2"}


def test_the_shell_text_is_a_shell_script_with_one_command_a_change(tmp_path):
    wanted, counts, configs = present()
    counts |= {"x.tasks.small.batch": 1, "x.jobs": 9}
    del counts["x.events"]
    configs["x.results"]["retention.ms"] = "1"
    text = as_kafka_topics(compare(wanted, counts, configs), replication_factor=3)
    script = tmp_path / "topics.sh"
    script.write_text(text)
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert "--create --if-not-exists --topic x.events --partitions 3 --replication-factor 3 --config" in text
    assert "--alter --topic x.tasks.small.batch --partitions 2" in text
    assert "--alter --entity-type topics --entity-name x.results --add-config retention.ms=604800000" in text
    assert "# refused: x.jobs has 9 partitions" in text


def test_strimzi_gets_one_resource_a_topic_and_the_brokers_replication_by_default():
    wanted, _, _ = present()
    resources = list(yaml.safe_load_all(as_strimzi(wanted, replication_factor=-1, cluster="c")))
    assert [r["spec"]["topicName"] for r in resources] == [s.name for s in wanted]
    assert all(
        "replicas" not in r["spec"] and r["metadata"]["labels"] == {"strimzi.io/cluster": "c"} for r in resources
    )
    assert (
        next(yaml.safe_load_all(as_strimzi([replace(wanted[0])], replication_factor=3, cluster="c")))["spec"][
            "replicas"
        ]
        == 3
    )
