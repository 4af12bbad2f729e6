"""Optimizers that commands accept by name, compared with their formulas."""

import inspect
from typing import get_args

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.cli.options import MOMENTUM, Optimizer, make_optimizer, optimizer_keywords
from gdjax.cli.sweep import NETWORK_AXES
from gdjax.problems import digits
from gdjax.problems.keywords import declared
from gdjax.sweeps.binding import factory_arguments


def path(optimizer, steps=3):
    """Return the parameters at each step, for a constant gradient of 1."""
    w = jnp.zeros(())
    state, result = optimizer.init(w), []
    for _ in range(steps):
        update, state = optimizer.update(jnp.ones(()), state, w)
        w = optax.apply_updates(w, update)
        result.append(float(w))
    return result


def test_each_named_optimizer_follows_its_formula():
    np.testing.assert_allclose(path(make_optimizer("sgd")(0.5)), [-0.5, -1.0, -1.5])
    # v = 1, 1 + m, 1 + m + m^2
    v = np.cumsum(MOMENTUM ** np.arange(3))
    np.testing.assert_allclose(
        path(make_optimizer("momentum")(0.5)), -0.5 * np.cumsum(v), rtol=1e-6
    )
    # The update is g + m v, which is one step ahead.
    ahead = 1 + MOMENTUM * v
    np.testing.assert_allclose(
        path(make_optimizer("nesterov")(0.5)), -0.5 * np.cumsum(ahead), rtol=1e-6
    )
    for name in ("adam", "lion"):
        np.testing.assert_allclose(path(make_optimizer(name)(0.5)), [-0.5, -1.0, -1.5], rtol=1e-3)


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_each_named_optimizer_moves_against_the_gradient(name):
    w = path(make_optimizer(name)(0.1))
    assert 0 > w[0] > w[1] > w[2] > -3


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_keywords_read_from_the_source_are_those_of_the_optimizer(name):
    arguments = factory_arguments(make_optimizer(name, ("momentum",)))
    assert optimizer_keywords(name) == [*arguments]


def test_the_axes_of_the_network_are_the_keywords_of_its_functions():
    problem = digits(widths=(4,))
    assert {*NETWORK_AXES} == {*declared(problem.init), *declared(problem.cost)}


def test_momentum_is_not_fixed_if_it_is_swept():
    created = make_optimizer("momentum", ("momentum",))
    np.testing.assert_allclose(path(created(0.5, momentum=0.0)), [-0.5, -1.0, -1.5])
    assert "momentum" in inspect.signature(created).parameters
