"""Matrices of barriers, compared with barriers of single pairs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from some_networks import equivalents

import gdjax as gd
from gdjax.minima import barriers
from gdjax.minima.barriers import _is_loss_of_outputs, pairwise_barriers
from gdjax.minima.matching import match
from gdjax.minima.paths import linear_path, path_barrier, path_cost
from gdjax.problems.networks import Network

KEY = jax.random.key(3)
MATRICES = ("barrier", "matched_barrier", "distance", "matched_distance")
RNG = np.random.default_rng(0)


def some_problem(activation="sigmoid", cost="quadratic", widths=(7, 5, 4, 3), samples=70, scale=1):
    """Return a problem on random inputs, with the fields of a digit problem."""
    output = "identity" if cost == "cross_entropy" else None
    network = Network(widths, activation, output, input_scale=scale)
    x = RNG.normal(size=(samples, widths[0])) * scale
    data = (x.astype(np.float32), RNG.integers(0, widths[-1], samples))
    problem = gd.problems.supervised(network.init, network.apply, getattr(gd.problems, cost), data)
    return dataclasses.replace(problem, network=network)


def some_runs(problem, runs):
    rng = np.random.default_rng(2)
    like = jax.eval_shape(problem.init, KEY)
    return jax.tree.map(lambda a: jnp.array(2 * rng.normal(size=(runs, *a.shape)), a.dtype), like)


def of_run(runs, k):
    return jax.tree.map(lambda a: np.asarray(a)[k], runs)


@pytest.mark.long
@pytest.mark.parametrize(
    ("activation", "cost", "widths", "scale"),
    [
        ("sigmoid", "quadratic", (7, 5, 4, 3), 1),
        ("sigmoid", "quadratic", (7, 5, 3), 255),
        ("tanh", "cross_entropy", (7, 5, 4, 3), 1),
        ("relu", "cross_entropy", (7, 5, 4, 3), 1 / 255),
        ("softplus", "quadratic", (7, 3), 1),
    ],
)
def test_matrices_of_barriers_agree_with_barriers_of_single_pairs(activation, cost, widths, scale):
    problem = some_problem(activation, cost, widths, scale=scale)
    runs = some_runs(problem, 5)
    result = pairwise_barriers(problem, runs, key=KEY, points=25)
    # Without a hidden layer the direct evaluation is used.
    assert _is_loss_of_outputs(problem) == (len(widths) > 2)
    for k, (i, j) in enumerate(zip(result.first, result.second, strict=True)):
        a, b = of_run(runs, i), of_run(runs, j)
        plain = path_cost(problem, linear_path(a, b), points=25)
        np.testing.assert_allclose(result.cost[k], plain, rtol=2e-5, atol=1e-6)
        dense = path_barrier(path_cost(problem, linear_path(a, b), points=1601))
        np.testing.assert_allclose(result.barrier[i, j], dense, rtol=2e-5, atol=1e-5)
        one = match(problem.network, a, b, key=KEY)
        matched = path_cost(problem, linear_path(one.params, b), points=25)
        np.testing.assert_allclose(result.matched_cost[k], matched, rtol=2e-5, atol=1e-6)
        dense = path_barrier(path_cost(problem, linear_path(one.params, b), points=1601))
        np.testing.assert_allclose(result.matched_barrier[i, j], dense, atol=2e-5)
        np.testing.assert_allclose(result.matched_distance[i, j], one.matched_distance, rtol=1e-6)
        np.testing.assert_allclose(result.distance[i, j], one.distance, rtol=1e-6)
    for name in MATRICES:
        matrix = getattr(result, name)
        assert np.array_equal(matrix, matrix.T)
        assert not np.any(np.diag(matrix))
    assert np.all(result.matched_distance <= result.distance)
    assert np.ptp(result.cost, axis=1).min() > 1e-3
    assert activation != "sigmoid" or result.barrier.max() > 1e-3


@pytest.mark.long
def test_equivalent_networks_have_no_barrier_after_matching():
    """All copies have the target outputs; interpolated networks do not."""
    problem = some_problem()
    one = of_run(some_runs(problem, 1), 0)
    x = problem.data[0]
    problem = dataclasses.replace(problem, data=(x, np.asarray(problem.predict(one, x))))
    copies = equivalents(problem.network, one, 6, seed=5)
    result = pairwise_barriers(problem, copies, key=KEY)
    off = ~np.eye(6, dtype=bool)
    assert result.barrier[off].min() > 1e-3
    assert result.distance[off].min() > 1
    assert result.matched_barrier.max() < 1e-5
    assert result.matched_distance.max() < 1e-4


@pytest.mark.long
def test_barriers_do_not_depend_on_microbatches_and_slabs(monkeypatch):
    problem = some_problem(samples=2100)  # three microbatches, the last one shorter
    runs = some_runs(problem, 4)
    expected = pairwise_barriers(problem, runs, key=KEY, points=5)
    k = 2
    a, b = of_run(runs, expected.first[k]), of_run(runs, expected.second[k])
    np.testing.assert_allclose(
        expected.cost[k], path_cost(problem, linear_path(a, b), points=5), rtol=2e-5
    )
    monkeypatch.setattr(barriers, "SLAB_BYTES", {"cpu": 1})  # one pair at a time
    one = pairwise_barriers(problem, runs, key=KEY, points=5)
    np.testing.assert_allclose(one.cost, expected.cost, rtol=1e-5)
    np.testing.assert_allclose(one.matched_cost, expected.matched_cost, rtol=1e-5)


def test_barriers_are_computed_for_problems_without_a_network():
    well = gd.Problem(
        init=lambda key: {"x": jnp.zeros(()), "y": jnp.zeros(2)},
        cost=lambda p: (p["x"] ** 2 - 1) ** 2 + jnp.sum(p["y"] ** 2),
    )
    runs = {"x": jnp.array([-1.0, 1.0, 1.0]), "y": jnp.zeros((3, 2)).at[2, 0].set(4.0)}
    result = pairwise_barriers(well, runs, key=KEY)
    np.testing.assert_allclose(result.barrier, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(
        result.distance, [[0, 2, np.sqrt(20)], [2, 0, 4], [np.sqrt(20), 4, 0]], rtol=1e-6
    )
    for matched in (result.matched_barrier, result.matched_distance, result.matched_cost):
        assert np.isnan(matched).all()
    assert np.array_equal(result.smallest_distance, result.distance)


@pytest.mark.parametrize("center", [0.5 + 1 / 48, 0.37, 0.9])
def test_barriers_are_refined_beyond_the_points_to_a_stated_error(center):
    """A bump of height 50.52 whose top lies between the points, and a lower one on a point."""

    def cost(x):
        top = 50.52 * jnp.exp(-(((x - center) / 0.05) ** 2))
        return jnp.maximum(top, 44.0 * jnp.exp(-(((x - 0.25) / 0.02) ** 2)))

    ridge = gd.Problem(init=lambda key: jnp.zeros(()), cost=cost)
    result = pairwise_barriers(ridge, jnp.array([0.0, 1.0]), key=KEY)
    ends = cost(jnp.array([0.0, 1.0]))
    exact = 50.52 - float((1 - center) * ends[0] + center * ends[1])
    assert path_barrier(result.cost)[0] < exact - 0.1
    assert result.barrier[0, 1] == pytest.approx(exact, rel=1e-4)
    assert 0 <= result.barrier_error[0, 1] < 0.01
    rough = pairwise_barriers(ridge, jnp.array([0.0, 1.0]), key=KEY, points=25)
    error = exact - rough.barrier[0, 1]
    assert error <= rough.barrier_error[0, 1] + 1e-3 or error > 0.5


def test_runs_with_nan_parameters_have_nan_barriers():
    problem = some_problem()
    runs = some_runs(problem, 3)
    spoiled = np.array([0, np.nan, 0], np.float32)
    runs = jax.tree.map(lambda a: a + np.expand_dims(spoiled, tuple(range(1, a.ndim))), runs)
    result = pairwise_barriers(problem, runs, key=KEY, points=5)
    bad = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    for name in MATRICES:
        matrix = getattr(result, name)
        assert np.array_equal(np.isnan(matrix), bad)
