"""Tables and pictures of docs/performance.md: what stands there is what was measured."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks import stacks
from benchmarks.pictures import CHARTS, Chart, bars_of, drawn, table_of, with_tables
from benchmarks.stacks import FIGURES, Stack, before, stack_of

LINE = {
    "benchmark": "fanout",
    "figures": {
        "max_in_flight_2048": {
            "tasks_per_s": 8_000.0,
            "tasks_per_s_min": 7_000.0,
            "tasks_per_s_max": 9_000.0,
            "runs": 3,
        },
        "a & b": {"tasks_per_s": 600.0, "settings": "as it comes"},
        "nothing": {"runs": 1},
    },
    "ratios": {"raw": 0.333},
}


def test_a_table_has_a_row_a_case_and_the_ratios_with_the_spread_in_brackets() -> None:
    rows = list(table_of(LINE))
    assert rows[2] == "| max_in_flight_2048 | tasks_per_s 8,000.0 (7,000.0 to 9,000.0); runs 3 |"
    assert rows[-1] == "| Headrace ÷ | raw **0.33** |"
    assert len(rows) == 6


def test_only_the_tables_of_what_was_measured_are_written_anew() -> None:
    page = "a\n<!-- bench:fanout -->\nold\n<!-- bench:end -->\n<!-- bench:idle -->\nkept\n<!-- bench:end -->\n"
    written = with_tables(page, {"fanout": LINE})
    assert "old" not in written
    assert "8,000.0" in written
    assert "<!-- bench:idle -->\nkept\n<!-- bench:end -->" in written
    assert with_tables(written, {"fanout": LINE}) == written


def test_a_picture_is_well_formed_says_its_figures_and_leaves_out_cases_without_one() -> None:
    chart = CHARTS[0]
    bars = bars_of(chart, LINE["figures"])  # type: ignore[arg-type]
    assert bars == [("max_in_flight_2048", 8_000.0), ("a & b", 600.0)]
    root = ElementTree.fromstring(drawn(chart, bars))
    assert root.get("role") == "img"
    assert "a & b 600.0" in (root.get("aria-label") or "")
    widths = [float(each.get("width") or 0) for each in root if each.tag.endswith("rect")]
    assert widths[0] > widths[1] > 0


def test_a_linear_picture_has_bars_of_their_figures_ratio() -> None:
    chart = Chart("x", "p50_ms", "t", "less is better", ("ours",))
    root = ElementTree.fromstring(drawn(chart, [("ours", 20.0), ("theirs", 10.0)]))
    widths = [float(each.get("width") or 0) for each in root if each.tag.endswith("rect")]
    assert abs(widths[0] - 2 * widths[1]) < 1


def test_the_picture_of_microseconds_has_every_part_of_both_engines_on_one_scale() -> None:
    then = before()
    lines = {"fanout": then["fanout"], "decisions": then["decisions"]}
    first = stack_of("before", lines)
    half = Stack("now", tuple((name, value / 2) for name, value in first.parts))
    root = ElementTree.fromstring(stacks.drawn("t", [first, half]))
    widths = [float(each.get("width") or 0) for each in root if each.tag.endswith("rect")]
    bars, parts = widths[: 2 * len(first.parts)], len(first.parts)
    assert abs(sum(bars[:parts]) - 2 * sum(bars[parts:])) < 1
    assert f"before {first.total:.0f}" in (root.get("aria-label") or "")
    process = then["fanout"]["figures"]["max_in_flight_2048"]
    assert abs(first.total - sum(process[f"{name}_cpu_us_per_task"] for name in FIGURES)) < 0.5
