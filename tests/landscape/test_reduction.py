"""Reduction of a network on a slice to a smaller network with equal costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.landscape import slices
from gdjax.landscape.directions import at_coordinates
from gdjax.landscape.reduction import reduced
from gdjax.problems import digits

AT = ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-0.7, 2.3])


def drawn(problem, scale=1.0):
    """Return an origin and two directions with nonzero biases.

    The names of the directions are not in alphabetical order.
    """
    trees = []
    for seed in range(3):
        w = jax.jit(problem.init)(jax.random.key(seed), init_scale=scale)
        bias = np.random.default_rng(seed).normal(size=300)
        trees.append(tuple(layer._replace(bias=jnp.array(bias[: len(layer.bias)])) for layer in w))
    return trees[0], {"z": trees[1], "a": trees[2]}


@pytest.mark.long
@pytest.mark.parametrize(
    ("x64", "settings"),
    [
        (True, {}),
        (True, {"activation": "tanh", "widths": (7,)}),
        (True, {"activation": "relu", "loss": "cross_entropy", "widths": (9, 5, 4)}),
        (False, {}),
    ],
)
def test_a_reduced_problem_has_equal_costs_and_predictions_on_the_slice(x64, settings):
    problem, rtol = digits("mnist5k", samples=300, **settings), 1e-11 if x64 else 1e-5
    with jax.enable_x64(x64):
        w, ds = drawn(problem, scale=5.0)
        small = reduced(problem, w, ds)
        widths = problem.network.widths
        assert small.problem.network.widths == (3 * widths[1], *widths[1:])
        assert list(small.directions) == ["z", "a"]
        assert problem.predict is not None
        cost, predict = jax.jit(problem.cost), jax.jit(problem.predict)
        more = {} if "loss" in settings or "activation" in settings else {"temperature": 0.3}
        for c in AT:
            here = at_coordinates(w, ds, c)
            there = at_coordinates(small.params, small.directions, c)
            for keywords in ({}, more):
                direct = float(cost(here, problem.data, **keywords))
                result = float(cost(there, small.problem.data, **keywords))
                assert result == pytest.approx(direct, rel=rtol)
        outputs = predict(here, problem.data[0]), predict(there, small.problem.data[0])
        np.testing.assert_allclose(*outputs, rtol=rtol, atol=rtol)
        start = cost(small.problem.init(jax.random.key(0)), small.problem.data)
        np.testing.assert_allclose(start, cost(w, problem.data), rtol=rtol)


def test_a_problem_is_not_reduced_without_a_network_or_if_products_are_not_fewer_than_inputs():
    wide = digits("mnist5k", samples=20, widths=(300,))
    assert reduced(wide, *drawn(wide)) is None
    himmelblau = gd.problems.from_function("himmelblau")
    assert reduced(himmelblau, jnp.zeros(2), {"d": jnp.ones(2)}) is None


def shifted(problem):
    """Return the problem with pixels shifted to [-1/2, 1/2].

    Products of weights with the stored pixels do not determine its cost.
    """

    def cost(params, batch):
        pixels = jnp.array(batch[0]).astype(jnp.float32) - 255 / 2
        return problem.loss(problem.network.apply(params, pixels), batch[1])

    return dataclasses.replace(problem, cost=cost)


def decayed(problem):
    def cost(params, batch):
        return problem.cost(params, batch) + 0.01 * jnp.sum(params[0].weights ** 2)

    return dataclasses.replace(problem, cost=cost)


def restructured(problem):
    return dataclasses.replace(
        problem,
        cost=lambda params, batch: problem.cost(params, (batch["x"], batch["y"])),
        data=dict(zip("xy", problem.data, strict=True)),
    )


@pytest.mark.long
@pytest.mark.parametrize("other", [shifted, decayed, restructured])
def test_costs_of_other_inputs_first_layer_weights_or_data_are_not_reduced(other):
    problem = other(digits("mnist5k", samples=50))
    w, ds = drawn(problem)
    result = slices.plane(problem, w, ds, [0.5], [-1.0, 1.0])
    assert result.attrs["evaluated"] == "directly"
    direct = float(problem.cost(at_coordinates(w, ds, [0.5, 1.0]), problem.data))
    assert float(result.cost[0, 1]) == pytest.approx(direct, rel=1e-5)
