"""The comparison of models of descent at the edge of stability."""

import numpy as np
import xarray as xr

from experiments.edge_models.__main__ import numbers, ratio, relative_distances


def test_relative_distances_from_a_straight_path_have_closed_forms():
    """They are 0 for a shift in time, and 1 / t for a path beside it at distance 1."""
    t = np.arange(20.0)
    line = np.stack([t, 0 * t], axis=1)
    shifted = line + np.array([2.0, 0.0])
    beside = line + np.array([0.0, 1.0])
    at = np.isfinite(relative_distances(shifted, line, 3))
    assert list(np.flatnonzero(at)) == list(range(3, 17))
    np.testing.assert_allclose(relative_distances(shifted, line, 3)[at], 0)
    np.testing.assert_allclose(relative_distances(beside, line, 3)[at], 1 / t[at])
    beside[10] = np.nan
    assert relative_distances(beside, line, 3)[10] == np.inf


def test_ratios_of_one_infinite_distance_are_counted_and_of_two_are_omitted():
    inf = np.inf
    result = ratio(np.array([1.0, inf, 1.0, inf]), np.array([2.0, 1.0, inf, inf]))
    assert result == [0.5, -inf, inf]
    assert ratio(np.array([inf]), np.array([inf])) is None


def test_ratios_from_below_include_only_starts_below_the_edge():
    distances = {"gradient": 4.0, "central": 2.0, "rod": 1.0, "edge": 2.0, "moved": 0.5}
    rows, at = ("learning_rate", "seed"), ("learning_rate", "seed", "step")
    variables: dict = {
        name: value
        for model, distance in distances.items()
        for name, value in {
            f"{model}_distance": (at, np.array([[[distance] * 4, [1.0] * 4]])),
            f"{model}_product": (at, np.array([[[1.5, 2, 2, 2], [2.5, 2, 2, 2]]])),
            f"{model}_completed": (rows, np.array([[True, True]])),
            f"{model}_seconds": 1.0,
        }.items()
    }
    variables["bounded"] = (rows, np.array([[True, True]]))
    dataset = xr.DataTree.from_dict({"case": xr.Dataset(variables, {"learning_rate": [0.3]})})
    result = numbers(dataset)
    assert result["case_rate_0.3_rod_to_central_from_below"] == [0.5]
    assert result["case_rate_0.3_rod_to_gradient"][0] == (0.25 + 1) / 2
    assert result["case_rate_0.3_rod_above_floor"] == 1
