"""Axes and grids of sweeps, and the keywords that axes set."""

import jax.numpy as jnp
import numpy as np
import optax

from gdjax.problems.problem import Problem
from gdjax.sweeps import axes
from gdjax.sweeps.binding import Role, assign_roles

# The grid


def test_the_grid_is_the_product_of_the_axes_in_their_order():
    grid = axes(momentum=[0.0, 0.9], seed=range(3), learning_rate=[0.1])
    assert (grid.shape, grid.runs) == ((2, 3, 1), 6)
    assert grid.sizes == {"momentum": 2, "seed": 3, "learning_rate": 1}
    values = grid.values((np.array([1, 0]), np.array([2, 2]), np.array([0, 0])))
    assert {name: v.tolist() for name, v in values.items()} == {
        "momentum": [0.9, 0.0],
        "seed": [2, 2],
        "learning_rate": [0.1, 0.1],
    }


def test_values_of_an_axis_have_one_type():
    for options in ([1, 2.5], np.float32([1, 2.5]), jnp.array([1, 2.5]), (1, 2.5)):
        values = axes(rate=options).dimensions["rate"]["rate"]
        assert (values.dtype, values.tolist()) == (np.float64, [1.0, 2.5])
    for options in (range(2), np.uint8([0, 1]), jnp.arange(2), [0.0, 1.0]):
        assert axes(seed=options).dimensions["seed"]["seed"].dtype == np.int64


# Keywords that an axis sets


def test_a_qualified_name_selects_one_function():
    two_scales = Problem(
        init=lambda key, *, scale=1.0: scale * jnp.ones(2),
        cost=lambda w, *, scale=1.0, temperature=1.0: scale * jnp.sum(w**2) / temperature,
    )
    grid = axes(**{"init.scale": [1.0, 2.0], "cost.scale": [3.0], "seed": [0], "temperature": [1]})
    assert assign_roles(two_scales, grid, optax.sgd) == {
        "init.scale": Role("init", "scale"),
        "cost.scale": Role("cost", "scale"),
        "seed": Role("seed", "seed"),
        "temperature": Role("cost", "temperature"),
    }
