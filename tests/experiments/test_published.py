"""Verdicts on published figures, and figures that the page holds."""

import json

import pytest

from experiments.published import __main__ as experiment
from experiments.published.rows import ROWS, Row
from experiments.render import summary

ROW = Row("", "", "", published=1.0, source="", experiment="", entry="a/b")


@pytest.mark.parametrize(
    ("low", "high", "tolerance", "differs", "verdict"),
    [
        (0.9, 1.1, 0.0, "", "agrees"),
        (1.1, 1.2, 0.0, "", "disagrees"),
        (0.5, 0.9, 0.0, "", "disagrees"),
        (1.1, 1.2, 0.15, "", "agrees"),
        (0.9, 1.1, 0.0, "another network", "settings differ"),
    ],
)
def test_a_verdict_follows_from_interval_tolerance_and_setting(
    low, high, tolerance, differs, verdict
):
    row = Row("", "", "", 1.0, "", "", "", tolerance=tolerance, differs=differs)
    assert row.verdict(low, high) == verdict


def test_a_figure_without_an_interval_has_equal_ends():
    assert ROW.ours({"a": {"b": [2, 1, 4]}}) == (2, 1, 4)
    assert ROW.ours({"a": {"b": 2}}) == (2, 2, 2)


@pytest.mark.long
def test_the_page_holds_the_figures_of_the_summaries():
    rows = summary("published")["row"]
    ours = {name: list(experiment.stored(ROWS[name])) for name in rows}
    assert json.loads(json.dumps(ours)) == {name: row["ours"] for name, row in rows.items()}
