"""Generalized sharpness in units of its limit: known values, and a small run."""

import numpy as np
import xarray as xr

from experiments.non_euclidean_edge import __main__ as non_euclidean_edge
from experiments.non_euclidean_edge.__main__ import CASES, Config
from experiments.shared.edges import late
from experiments.shared.regressions import random_targets

DIMS = ("learning_rate", "seed", "step")


def test_late_values_are_medians_of_the_last_quarter():
    values = xr.DataArray(np.broadcast_to(np.arange(8.0), (2, 3, 8)), dims=DIMS)
    np.testing.assert_array_equal(late(values), np.full((2, 3), 6.5))


def test_the_summary_contains_known_late_values_and_the_figure_shows_all_cases():
    values = (DIMS, np.linspace(0.1, 1.0, 8) + np.zeros((1, 6, 8)))
    case = xr.Dataset(
        dict.fromkeys(("cost", "sharpness", "step_curvature"), values) | {"limit": 1.0},
        {"learning_rate": [0.01], "step": np.arange(8)},
    )
    tree = xr.DataTree.from_dict(dict.fromkeys(CASES, case))
    result = non_euclidean_edge.numbers(tree)
    np.testing.assert_allclose(result["muon_plain_sharpness"], [[np.mean([6.1, 7]) / 7] * 3], 0.02)
    assert result["sign_scaled_at_start"] == [0.1]
    figure = non_euclidean_edge.plot(tree)["edges"]
    assert len(figure.axes) == len(CASES)


def test_curvature_along_a_step_is_at_most_the_generalized_sharpness():
    config = Config(width=3, samples=6, steps=20, records=5, starts=2)
    result = non_euclidean_edge.recorded(config, random_targets(3, 6), "sign_plain", (0.01,))
    assert result.cost.dims == ("learning_rate", "seed", "step")
    assert np.all(result.step_curvature <= result.sharpness * (1 + 1e-3) + 1e-6)
    assert np.all(result.sharpness > 0)
