"""The central flow experiment: its comparisons, and a small run."""

import numpy as np
import pytest
import xarray as xr

from experiments.central_flow import __main__ as central_flow
from experiments.central_flow import __main__ as summaries
from experiments.central_flow.__main__ import Config
from experiments.shared.trees import datasets

SMALL = Config(
    rates=(0.1, 0.3),
    starts=2,
    widths=(4,),
    width_rates=(0.1,),
    width_starts=2,
    steps=300,
    digits=20,
    digit_rates=(1.0,),
    digit_starts=2,
    digit_steps=20,
    eigenvectors=2,
)


def test_the_deviation_from_2_is_the_largest_between_records_close_to_2():
    rising, covered, falling = (
        np.linspace(1, 1.9995, 50),
        np.full(40, 2.0004),
        np.linspace(1.99, 1, 9),
    )
    assert summaries.at_edge(np.r_[rising, covered, falling]) == pytest.approx(4e-4)
    assert summaries.at_edge(rising) is None


def test_deviations_compare_equally_smoothed_costs():
    """The deviation is 3 % for predictions 3 % too high, and +inf after divergence."""
    cost = np.exp(-np.linspace(0, 3, 201))[None, None] * np.ones((2, 1, 1))
    cost[1, 0, 100:] = np.inf
    dims = ("learning_rate", "seed", "step")
    part = xr.Dataset({"cost": (dims, cost), "mean": (dims, 1.03 * cost)})
    middle, largest = central_flow.deviation(part, "mean", 10.0)
    np.testing.assert_allclose([middle[0, 0], largest[0, 0]], 0.03)
    assert middle[1, 0] == largest[1, 0] == np.inf


@pytest.mark.long
def test_descents_are_predicted_and_figures_are_drawn_from_the_dataset(drawn):
    """The flows start at the starting points of the descents."""
    dataset = central_flow.run(SMALL)
    for part in datasets(dataset).values():
        start = part.isel(step=0)
        np.testing.assert_allclose(start.center, start.cost, rtol=1e-4)
        np.testing.assert_allclose(start.plain, start.cost, rtol=1e-4)
    result = central_flow.numbers(dataset)
    assert result["width_16_rate_0.1_mean_median"][0] < 0.05
    assert result["width_16_arrived"] == result["width_16_runs"] == 4
    assert list(drawn(central_flow, dataset)) == ["flows", "deviations"]
