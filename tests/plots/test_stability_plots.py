"""Figures of limits of the learning rate: the drawn values equal the arguments."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from experiments.edge_of_stability.__main__ import edge
from experiments.gradient_flow.__main__ import from_flow
from gdjax.plots import stability

RATES = np.array([0.1, 0.5, 10.0])
INF = [np.inf] * 4
EDGE = xr.Dataset(
    {
        "sharpness": (
            ("learning_rate", "step"),
            [[3, 5, 8, 12, 15.0], [3, 4, 4, 4, np.nan], [3, 1, 0.5, 0.2, 0.2]],
        ),
        "threshold": ("learning_rate", 2 / RATES),
        "cost": (
            ("learning_rate", "step"),
            [[1, 0.5, 0.2, 0.1, 0.05], [1, 0.3, 0.4, 0.1, 0.05], [1, *INF]],
        ),
    },
    {"learning_rate": RATES, "step": np.arange(0, 50, 10)},
)
TIME = np.linspace(1, 10, 10)


def flow(distance):
    """Return results in which both problems have these distances."""
    case = xr.Dataset(
        {
            name: (("rate", "time"), np.exp(-TIME) * np.array([[0.9], [0.95], [0.975]]))
            for name in ("product", "cost")
        }
        | {name: ("time", np.exp(-TIME)) for name in ("known", "flow_cost")}
        | {"distance": (("rate", "time"), distance)},
        {"rate": [0.4, 0.2, 0.1], "time": TIME},
    )
    tree = xr.DataTree.from_dict({"equal": case, "digits": case})
    tree.attrs["fitted"] = 2
    return tree


def test_limits_are_dashed_in_the_color_of_their_rate():
    top, bottom = edge({"plain": EDGE}).axes
    solid = {line.get_color(): line for line in top.lines if line.get_linestyle() == "-"}
    dashed = {line.get_color(): line for line in top.lines if line.get_linestyle() == "--"}
    assert len(solid) == 3
    for color, line in dashed.items():
        row = np.flatnonzero(
            [np.array_equal(s, solid[color].get_ydata()) for s in EDGE.sharpness.values]
        )
        if row.size:  # the line with NaN is not equal to itself
            assert line.get_ydata()[0] == EDGE.threshold.values[row[0]]
    assert sorted(line.get_ydata()[0] for line in dashed.values()) == [0.2, 4]
    labels = [text.get_text() for text in bottom.get_legend().get_texts()]
    assert labels == ["0.1: 20", "0.5: 4", "10: 0.2"]
    assert bottom.get_yscale() == "log"


def test_distances_from_the_flow_are_drawn_with_their_fitted_order():
    distances = np.array([[0.4], [0.2], [0.1]]) * TIME
    left, middle, right = from_flow(flow(distances)).axes[:3]
    np.testing.assert_allclose(left.lines[-1].get_ydata(), np.exp(-TIME))
    for line, distance in zip(middle.lines, distances, strict=True):
        np.testing.assert_allclose(line.get_ydata(), distance)
    (dots,) = right.collections
    np.testing.assert_allclose(dots.get_offsets()[:, 1], [4, 2, 1])
    (slope,) = right.lines
    x, y = slope.get_data()
    np.testing.assert_allclose(np.diff(np.log(y)) / np.diff(np.log(x)), 1)
    np.testing.assert_allclose(y / x, 10)  # the line passes through the smallest distance
    assert right.get_title(loc="left") == "Fitted order 1.000 (2 smallest rates)"


def learning_rates(**changes):
    """Return a result like that of `find_learning_rate`."""
    cost = np.linspace(1, 0.1, 7)[:, None] * np.array([1, 1.1, 1.2, 1.3])
    fields = {
        "learning_rates": 2.0 ** np.arange(-3, 4),
        "diverged": np.array([0, 0, 0, 0, 0, 0.25, 1.0]),
        "stalled": np.array([0, 0, 0, 0, 0.5, 0.25, 0.0]),
        "runs": [xr.Dataset({"cost": (("learning_rate", "seed", "step"), cost[..., None])})],
        "learning_rate": 0.5,
        "low": 0.25,
        "high": 1.0,
        "critical_rate": 1.5,
    }
    return SimpleNamespace(**{**fields, **changes})


def test_the_figure_of_learning_rates_shows_failures_costs_and_the_recommendation():
    figure = stability.learning_rates(learning_rates())
    failed, costs = figure.axes
    stalled, diverged = failed.containers
    np.testing.assert_allclose([bar.get_height() for bar in stalled], [0, 0, 0, 0, 0.5, 0.25, 0])
    np.testing.assert_allclose([bar.get_y() for bar in diverged], [0, 0, 0, 0, 0.5, 0.25, 0])
    np.testing.assert_allclose([bar.get_height() for bar in diverged], [0, 0, 0, 0, 0, 0.25, 1])
    star = next(line for line in costs.lines if line.get_marker() == "*")
    assert star.get_xdata()[0] == 0.5
    assert star.get_ydata()[0] == pytest.approx(0.7 * 1.15)  # median of four starts
    labels = [t.get_text() for t in costs.get_legend().texts]
    assert "at rates above 1.5, the first step raises the cost" in labels
    figure.canvas.draw()


def test_learning_rates_without_failures_or_a_recommendation_can_be_drawn():
    none = np.zeros(7)
    (costs,) = stability.learning_rates(
        learning_rates(diverged=none, stalled=none, learning_rate=np.nan, critical_rate=np.inf)
    ).axes
    assert not [line for line in costs.lines if line.get_marker() == "*"]
