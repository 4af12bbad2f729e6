"""Reduction of a network on a slice to a smaller network with equal costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.errors import InputError
from gdjax.landscape import slices
from gdjax.landscape.directions import at_coordinates
from gdjax.landscape.reduction import reduced, reduces_inputs
from gdjax.problems import Problem, digits

AT = ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-0.7, 2.3])


def drawn(problem, scale=1.0):
    """Return an origin and two directions with nonzero biases.

    The names of the directions are not in alphabetical order.
    """
    trees = []
    for seed in range(3):
        w = jax.jit(problem.init)(jax.random.key(seed), init_scale=scale)
        bias = np.random.default_rng(seed).normal(size=64)
        trees.append(tuple(layer._replace(bias=jnp.array(bias[: len(layer.bias)])) for layer in w))
    return trees[0], {"z": trees[1], "a": trees[2]}


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "tanh", "widths": (7,)},
        {"activation": "relu", "loss": "cross_entropy", "widths": (9, 5, 4)},
    ],
)
def test_a_reduced_problem_has_equal_costs_on_the_slice(float64, settings):
    problem = digits("mnist5k", samples=300, **settings)
    w, ds = drawn(problem)
    small = reduced(problem, w, ds)
    assert small.problem.network.widths == (
        3 * problem.network.widths[1],
        *problem.network.widths[1:],
    )
    assert list(small.directions) == ["z", "a"]
    cost = jax.jit(problem.cost)
    for c in AT:
        direct = float(cost(at_coordinates(w, ds, c), problem.data))
        there = at_coordinates(small.params, small.directions, c)
        assert float(cost(there, small.problem.data)) == pytest.approx(direct, rel=1e-12)


@pytest.mark.long
def test_a_reduced_problem_accepts_settings_and_has_equal_predictions(float64):
    problem = digits("mnist5k", samples=200)
    w, ds = drawn(problem)
    small = reduced(problem, w, ds)
    here, there = (
        at_coordinates(*of, [0.3, -1.0]) for of in ((w, ds), (small.params, small.directions))
    )
    cost = jax.jit(problem.cost)
    assert float(cost(there, small.problem.data, temperature=0.3)) == pytest.approx(
        float(cost(here, problem.data, temperature=0.3)), rel=1e-12
    )
    assert problem.predict is not None
    np.testing.assert_allclose(
        jax.jit(problem.predict)(there, small.problem.data[0]),
        jax.jit(problem.predict)(here, problem.data[0]),
        rtol=1e-11,
    )


@pytest.mark.long
def test_in_float32_costs_of_a_reduced_problem_are_equal_within_rounding():
    problem = digits("mnist5k", samples=200)
    w, ds = drawn(problem, scale=5.0)
    small = reduced(problem, w, ds)
    cost = jax.jit(problem.cost)
    for c in AT:
        direct = float(cost(at_coordinates(w, ds, c), problem.data))
        there = at_coordinates(small.params, small.directions, c)
        assert float(cost(there, small.problem.data)) == pytest.approx(direct, rel=1e-5)


def test_the_init_of_a_reduced_problem_returns_its_origin():
    problem = digits("mnist5k", samples=100)
    w, ds = drawn(problem)
    small = reduced(problem, w, ds)
    start = small.problem.init(jax.random.key(0))
    cost = jax.jit(problem.cost)
    here, there = (float(cost(*at)) for at in ((start, small.problem.data), (w, problem.data)))
    assert here == pytest.approx(there, rel=1e-5)


@pytest.mark.parametrize(
    ("widths", "directions", "less"), [((16,), 2, True), ((16,), 48, False), ((300,), 2, False)]
)
def test_the_reduction_is_used_only_if_products_are_fewer_than_inputs(widths, directions, less):
    problem = digits("mnist5k", samples=20, widths=widths)
    assert reduces_inputs(problem, dict.fromkeys(map(str, range(directions)))) == less
    assert not reduces_inputs(gd.problems.from_function("himmelblau"), {"d": None})


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


@pytest.mark.long
@pytest.mark.parametrize("other", [shifted, decayed])
def test_costs_that_use_first_layer_weights_or_inputs_directly_are_not_reduced(other):
    problem = other(digits("mnist5k", samples=50))
    w, ds = drawn(problem)
    with pytest.raises(
        InputError, match=r"at coordinates .* at most scaled before the first layer"
    ):
        reduced(problem, w, ds)
    result = slices.plane(problem, w, ds, [0.5], [-1.0, 1.0])
    assert result.attrs["evaluated"] == "directly"
    direct = float(problem.cost(at_coordinates(w, ds, [0.5, 1.0]), problem.data))
    assert float(result.cost[0, 1]) == pytest.approx(direct, rel=1e-5)


@pytest.mark.long
def test_the_reduction_rejects_other_or_missing_networks():
    problem = digits("mnist5k", samples=20)
    w, ds = drawn(problem)
    with pytest.raises(InputError, match="has no network; take the slice"):
        reduced(dataclasses.replace(problem, network=None), w, ds)
    with pytest.raises(InputError, match="reduced: params has"):
        reduced(problem, w[1:], {n: d[1:] for n, d in ds.items()})
    with pytest.raises(InputError, match="reduced: direction 'z' has"):
        reduced(problem, w, {"z": w[0]})
    images, labels = problem.data
    other = Problem(
        init=problem.init,
        cost=lambda p, batch: problem.cost(p, (batch["x"], batch["y"])),
        data={"x": images, "y": labels},
        network=problem.network,
    )
    with pytest.raises(InputError, match=r"data are not \(inputs \(20, 784\), ...\)"):
        reduced(other, w, ds)
    assert slices.plane(other, w, ds, [0.0], [0.0]).attrs["evaluated"] == "directly"
