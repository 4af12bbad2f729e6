"""Bitwise independence of a run from the size of the grid, at equal slab width."""

import jax
import numpy as np
import pytest

import gdjax as gd


@pytest.mark.long
def test_runs_of_a_larger_grid_are_bitwise_equal_at_equal_width():
    problem = gd.problems.few_digits(samples=20, widths=(4,))
    settings = {"width": 4, "devices": jax.local_devices()[:1], "record_every": 20}
    grids = [gd.axes(learning_rate=rates, seed=[0, 1]) for rates in ([1.0, 2.0], [1.0, 2.0, 0.5])]
    small, large = (gd.sweep(problem, grid, 40, **settings) for grid in grids)
    common = large.sel(learning_rate=[1.0, 2.0])
    for name, values in small.data_vars.items():
        np.testing.assert_array_equal(values, common[name], err_msg=name)
    assert np.unique(small.cost[..., -1]).size == 4
