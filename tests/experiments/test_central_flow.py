"""Comparisons of the central flow with descent."""

import numpy as np
import pytest
import xarray as xr

from experiments.central_flow import __main__ as central_flow


def test_the_deviation_from_2_is_the_largest_between_records_close_to_2():
    rising, covered, falling = (
        np.linspace(1, 1.9995, 50),
        np.full(40, 2.0004),
        np.linspace(1.99, 1, 9),
    )
    assert central_flow.at_edge(np.r_[rising, covered, falling]) == pytest.approx(4e-4)
    assert central_flow.at_edge(rising) is None


def test_deviations_compare_equally_smoothed_costs():
    """The deviation is 3 % for predictions 3 % too high, and +inf after divergence."""
    cost = np.exp(-np.linspace(0, 3, 201))[None, None] * np.ones((2, 1, 1))
    cost[1, 0, 100:] = np.inf
    dims = ("learning_rate", "seed", "step")
    part = xr.Dataset({"cost": (dims, cost), "mean": (dims, 1.03 * cost)})
    middle, largest = central_flow.deviation(part, "mean", 10.0)
    np.testing.assert_allclose([middle[0, 0], largest[0, 0]], 0.03)
    assert middle[1, 0] == largest[1, 0] == np.inf
