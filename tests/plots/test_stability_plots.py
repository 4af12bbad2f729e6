"""Figure of a search for a learning rate: the drawn values equal the arguments."""

from types import SimpleNamespace

import numpy as np
import xarray as xr

from gdjax.plots import stability

RATES = 2.0 ** np.arange(-3, 4)


def search(**changes):
    """Return the result of a search in which both starts diverge at the largest rate."""
    cost = np.linspace(1, 0.1, 7)[:, None] * np.array([1, 1.2])
    cost[-1] = np.inf
    grid = ("learning_rate", "seed")
    outcome = np.where(np.isinf(cost), 1, 0), {"flag_meanings": "not_converged diverged"}
    runs = xr.Dataset(
        {"cost": ((*grid, "step"), cost[..., None]), "outcome": (grid, *outcome)},
        {"learning_rate": RATES, "seed": [0, 1]},
    )
    known = {"learning_rate": 0.5, "low": 0.25, "high": 1.0, "critical_rate": 1.5, "runs": [runs]}
    return SimpleNamespace(**{**known, **changes})


def test_the_figure_of_a_search_shows_costs_outcomes_and_the_recommended_rate():
    figure = stability.learning_rates(search())
    figure.canvas.draw()
    costs, outcomes = figure.axes
    assert costs.get_title(loc="left") == "Recommended: 0.5"
    lines = {line.get_label(): line.get_xydata() for line in costs.lines}
    np.testing.assert_allclose(lines["median"][:, 1], 1.1 * np.linspace(1, 0.1, 7)[:-1])
    assert lines["recommended: 0.5"][0, 0] == 0.5
    assert lines["at rates above 1.5, the first step raises the cost"][0, 0] == 1.5
    labels = [text.get_text() for text in costs.get_legend().texts]
    assert set(labels) == {"good rates", "quartiles", *lines}
    diverged = next(bars for bars in outcomes.containers if bars.get_label() == "diverged")
    assert [bar.get_height() for bar in diverged] == [0, 0, 0, 0, 0, 0, 1]


def test_only_a_recommended_rate_and_a_finite_limit_are_marked():
    figure = stability.learning_rates(search(learning_rate=np.nan, critical_rate=np.inf))
    labels = {line.get_label() for line in figure.axes[0].lines}
    assert labels == {"median", "one run"}
