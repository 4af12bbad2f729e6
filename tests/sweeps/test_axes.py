"""Axes and grids of sweeps, and errors that name an invalid axis."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network

from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.sweeps import axes, sweep
from gdjax.sweeps.binding import (
    Role,
    assign_roles,
    trace_axes,
)

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


def two_scales():
    def cost(w, *, scale=1.0, temperature=1.0):
        return scale * jnp.sum(w**2) / temperature

    return Problem(init=lambda key, *, scale=1.0: scale * jnp.ones(2), cost=cost)


def test_a_qualified_name_selects_one_function():
    grid = axes(**{"init.scale": [1.0, 2.0], "cost.scale": [3.0], "seed": [0], "temperature": [1]})
    assert assign_roles(two_scales(), grid, optax.sgd) == {
        "init.scale": Role("init", "scale"),
        "cost.scale": Role("cost", "scale"),
        "seed": Role("seed", "seed"),
        "temperature": Role("cost", "temperature"),
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": [1.0]}, r"init and of cost; qualify it: init.scale or cost.scale"),
        ({"temperature": [1.0], "cost.temperature": [2.0]}, "given twice"),
    ],
)
def test_an_ambiguous_name_and_two_axes_for_one_keyword_are_rejected(values, message):
    with pytest.raises(InputError, match=message):
        assign_roles(two_scales(), axes(**values), optax.sgd)


def test_an_unknown_name_raises_an_error_with_the_valid_names_and_a_suggestion():
    with pytest.raises(InputError) as caught:
        sweep(network(), axes(learning_rat=[0.1]), 1)
    message = str(caught.value)
    assert message.startswith(
        "axes: unexpected axis 'learning_rat'; expected one of seed, data_seed, "
    )
    for name in ("scale", "decay", "learning_rate", "momentum", "nesterov"):
        assert f", {name}" in message
    assert message.endswith("Did you mean learning_rate?")
    with pytest.raises(InputError, match=r"Did you mean learning_rate\?"):
        sweep(network(), axes(lr=[0.1]), 1)
    with pytest.raises(InputError, match=r"unexpected axis 'cost.scale'"):
        sweep(network(), axes(**{"cost.scale": [0.1]}, learning_rate=[0.1]), 1)


# Arguments that can be traced


def cosine(learning_rate, decay_steps):
    return optax.sgd(optax.cosine_decay_schedule(learning_rate, decay_steps))


def warm(learning_rate):
    return optax.sgd(optax.warmup_cosine_decay_schedule(0.0, learning_rate, 2, 5))


def exponential(learning_rate, decay_rate):
    return optax.sgd(optax.exponential_decay(learning_rate, 10, decay_rate))


@pytest.mark.parametrize(
    ("optimizer", "axis", "values"),
    [
        (optax.sgd, "nesterov", {"learning_rate": [0.1], "momentum": [0.9], "nesterov": [1]}),
        (cosine, "decay_steps", {"learning_rate": [0.1], "decay_steps": [10, 20]}),
        (exponential, "decay_rate", {"learning_rate": [0.1], "decay_rate": [0.5]}),
        (warm, "learning_rate", {"learning_rate": [0.1, 0.2]}),
    ],
)
def test_an_argument_that_changes_an_optimizers_structure_cannot_be_swept(optimizer, axis, values):
    message = rf"axes: {axis} cannot be swept as a number, .* of optimizer .* use gd\.descent\.W"
    with pytest.raises(InputError, match=message):
        sweep(two_scales(), axes(**values), 1, make_optimizer=optimizer)


def test_an_argument_that_changes_a_problems_structure_cannot_be_swept():
    def init(key, *, size=2, scale=1.0):
        return scale * jnp.ones(size)

    def cost(w, *, steep=0, temperature=1.0):
        return jnp.sum(w**4 if steep else w**2) / temperature

    problem = Problem(init=init, cost=cost)
    rate = {"learning_rate": [0.1]}
    with pytest.raises(InputError, match=r"axes: size cannot be swept as a number, .* of init"):
        sweep(problem, axes(scale=[1.0], size=[1, 2], **rate), 1)
    with pytest.raises(InputError, match=r"axes: steep cannot be swept as a number, .* of cost"):
        sweep(problem, axes(temperature=[1.0], steep=[0, 1], **rate), 1)


def test_an_error_of_user_code_is_raised_unchanged():
    def broken(*, scale=1.0):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        trace_axes(broken, "init", {"scale": Role("init", "scale")}, axes(scale=[1.0]))
