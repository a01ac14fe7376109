import pytest

from headrace.orchestrator.core.aggregate import NodeInputs, ReduceError, TreePlan, apply_reducer


def test_nine_items_with_a_fan_in_of_eight_make_two_even_nodes_and_a_root():
    plan = TreePlan(9, 8)
    assert (plan.levels, plan.node_count, plan.root) == ((2, 1), 3, 2)
    assert [plan.inputs_of(node) for node in range(3)] == [
        NodeInputs(True, 0, 4),
        NodeInputs(True, 4, 9),
        NodeInputs(False, 0, 2),
    ]
    assert (plan.parent_of_item(3), plan.parent_of_item(4)) == (0, 1)
    assert (plan.parent_of_node(0), plan.parent_of_node(2)) == (2, None)


def test_one_item_makes_one_node_and_none_make_none():
    assert TreePlan(1, 8).levels == (1,)
    assert (TreePlan(0, 8).node_count, TreePlan(0, 8).root) == (0, None)


def test_a_million_items_cost_no_list():
    plan = TreePlan(1_000_000, 2)
    assert len(plan.levels) == 20
    assert plan.parent_of_item(999_999) == 499_999


def test_what_is_not_in_the_tree_is_an_index_error():
    for ask in (TreePlan(3, 2).inputs_of, TreePlan(3, 2).parent_of_node, TreePlan(3, 2).parent_of_item):
        for number in (-1, 9):
            with pytest.raises(IndexError):
                ask(number)
    for count, fan_in in ((-1, 2), (3, 1)):
        with pytest.raises(ValueError, match="fan_in >= 2"):
            TreePlan(count, fan_in)


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("concat", ["a", "b"], "ab"),
        ("concat", [[1], [2, 3]], [1, 2, 3]),
        ("concat", [], ""),
        ("count", [1, None], 2),
        ("mean", [1, 2], 1.5),
        ("majority", ["b", "a", "a", "b"], "b"),
        ("majority", [{"x": 1, "y": 2}, 3, {"y": 2, "x": 1}], {"x": 1, "y": 2}),
        ("merge_objects", [{"a": 1, "b": 1}, {"b": 2}], {"a": 1, "b": 2}),
    ],
)
def test_reducers_need_no_task(name, values, result):
    assert apply_reducer(name, iter(values)) == result


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("concat", ["a", 1]),
        ("concat", ["a", ["b"]]),
        ("mean", ["a"]),
        ("mean", [True]),
        ("mean", []),
        ("mean", [10**400, 1]),
        ("majority", []),
        ("merge_objects", [[]]),
    ],
)
def test_reducers_refuse_values_they_cannot_take(name, values):
    with pytest.raises(ReduceError):
        apply_reducer(name, values)
