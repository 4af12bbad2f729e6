"""Extreme eigenvalues and residuals, compared with dense Hessians in float64."""

from functools import partial
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import digit_network, pooled_digits, quadratic, regression
from jax.flatten_util import ravel_pytree

from gdjax import progress
from gdjax.curvature import (
    eigenpairs,
    eigensolvers,
    extreme_eigenpairs,
    spectral_density,
)
from gdjax.problems import as_problem, bowl
from gdjax.problems.test_functions import FUNCTIONS


def rows(vectors):
    """Return eigenvectors as the rows of a float64 matrix."""
    return np.asarray(jax.vmap(lambda v: ravel_pytree(v)[0])(vectors), np.float64)


def true_residuals(H, result):
    V, values = rows(result.vectors), np.asarray(result.values, np.float64)
    return np.linalg.norm(V @ H - values[:, None] * V, axis=1)


@pytest.mark.long
def test_eigenpairs_of_a_network_are_those_of_its_dense_hessian_within_their_residuals():
    cost, params, data, H, exact = digit_network()
    result = jax.jit(partial(extreme_eigenpairs, largest=10, smallest=3))(
        as_problem(cost, data), params, key=jax.random.key(0)
    )
    assert H.shape == (2058, 2058)
    assert int(result.status) == eigenpairs.EigenpairsStatus.CONVERGED
    size = np.abs(exact).max()
    np.testing.assert_allclose(result.norm, size, rtol=1e-4)
    np.testing.assert_allclose(result.values[:10], exact[::-1][:10], atol=1e-4 * size)
    np.testing.assert_allclose(result.values[10:], exact[2::-1], atol=1e-3 * size)
    # Far fewer products than parameters are needed.
    assert int(result.num_hvps) < 400
    residuals = true_residuals(H, result)
    assert np.all(residuals <= result.residuals)
    assert np.all(result.residuals <= residuals + 2e-6 * result.norm)
    assert result.residuals.max() <= 1e-3 * result.norm
    np.testing.assert_allclose(np.linalg.norm(rows(result.vectors), axis=1), 1, rtol=1e-5)
    # Each value is within its residual of an eigenvalue.
    nearest = np.abs(exact[:, None] - np.asarray(result.values, np.float64)).min(axis=0)
    assert np.all(nearest <= result.residuals)


@pytest.mark.long
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda f: f.name)
def test_eigenvalues_at_critical_points_equal_those_of_dense_hessians(function):
    """The extreme eigenvalues equal those of the dense Hessian in float64."""
    with jax.enable_x64(True):
        points = jnp.array([point.x for point in function.critical_points], float)
        n = max(1, points[0].size)
        ends = {"largest": 1, "smallest": n - 1}
        result = jax.jit(
            jax.vmap(lambda x: extreme_eigenpairs(function.f, x, key=jax.random.key(0), **ends))
        )(points)
        result = jax.tree.map(np.asarray, result)
        H = np.asarray(jax.jit(jax.vmap(jax.hessian(function.f)))(points)).reshape(-1, n, n)
    exact = np.linalg.eigvalsh(H)[:, ::-1]
    np.testing.assert_allclose(result.values, exact, atol=1e-12 * (1 + np.abs(exact).max()))
    assert np.all(result.residuals <= 1e-12 * (1 + np.abs(exact).max()))


@pytest.mark.long
@pytest.mark.parametrize("n", [40, 700])
@pytest.mark.parametrize("name", ["known", "multiple", "low rank", "identity", "zero"])
def test_eigenvalues_of_quadratics_are_correct_below_and_above_the_dense_limit(n, name):
    bulk = np.random.default_rng(2).uniform(-0.5, 0.5, n)
    exact = np.sort(
        {
            "known": np.r_[np.linspace(1, 3, 6), -2, -1.5, bulk[8:]],
            "multiple": np.r_[3, 3, 3, 1, -2, -2, bulk[6:]],
            "low rank": np.r_[2, 1, -1, np.zeros(n - 3)],
            "identity": np.ones(n),
            "zero": np.zeros(n),
        }[name]
    )[::-1]
    cost, w, data = quadratic(exact)
    matrix = data[0]
    result = jax.jit(partial(extreme_eigenpairs, largest=4, smallest=2))(
        as_problem(cost, jnp.array(data)), w, key=jax.random.key(1)
    )
    size = np.abs(exact).max()
    assert int(result.status) == eigenpairs.EigenpairsStatus.CONVERGED
    np.testing.assert_allclose(result.values, exact[[0, 1, 2, 3, -2, -1]], atol=2e-3 * size)
    assert np.all(true_residuals(matrix, result) <= result.residuals)


@pytest.mark.long
def test_status_reports_a_tolerance_below_rounding():
    cost, params, data = pooled_digits()
    result = jax.jit(partial(extreme_eigenpairs, largest=1, rtol=1e-9, max_steps=2))(
        as_problem(cost, data), params, key=jax.random.key(0)
    )
    assert int(result.status) == eigenpairs.EigenpairsStatus.TOLERANCE_NOT_REACHED
    assert result.residuals[0] > 1e-9 * result.norm
    upper, _, size = eigensolvers.sizes(1, 0)
    assert int(result.num_hvps) == size + 2 * (size - upper)


@pytest.mark.long
@pytest.mark.parametrize("hidden", [3, 300])
def test_status_reports_a_hessian_that_is_not_finite(hidden):
    w = jnp.ones(2 * hidden).at[0].set(jnp.inf)
    result = extreme_eigenpairs(lambda w: jnp.sum(w**4), w, key=jax.random.key(0))
    assert int(result.status) == eigenpairs.EigenpairsStatus.NOT_FINITE
    # Without finite values, block Lanczos is not restarted.
    assert int(result.num_hvps) == (6 if hidden == 3 else eigensolvers.sizes(1, 0).basis)


def test_eigenpairs_vmapped_over_runs_equal_separate_calls_and_compile_once():
    traces = []
    cost, _, data = regression(20)

    def counted(w, batch):
        traces.append(1)
        return cost(w, batch)

    many = [regression(20, seed)[1] for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)
    keys = jax.random.split(jax.random.key(0), 3)

    def one(w, data, key):
        return extreme_eigenpairs(as_problem(counted, data), w, key=key, largest=2, smallest=1)

    together = jax.jit(jax.vmap(one, (0, None, 0)))
    result = together(stacked, data, keys)
    before = len(traces)
    together(jax.tree.map(lambda a: 2 * a, stacked), data, keys)
    assert len(traces) == before
    alone = jax.jit(one)
    for i, params in enumerate(many):
        np.testing.assert_allclose(
            result.values[i], alone(params, data, keys[i]).values, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("function", [extreme_eigenpairs, spectral_density])
def test_outside_jit_a_progress_bar_counts_the_products(monkeypatch, function):
    """Lanczos computes two products of a block at a time, and 8 of the spectral density."""
    bar = MagicMock()
    bar.__enter__.return_value = bar
    monkeypatch.setattr(progress, "bar", MagicMock(return_value=bar))
    problem, key = bowl(np.linspace(1.0, 2.0, 600)), jax.random.key(0)
    jax.jit(function)(problem, jnp.ones(600), key=key)
    assert not bar.update.called
    result = function(problem, jnp.ones(600), key=key)
    expected = result.num_hvps // 2 if function is extreme_eigenpairs else 64
    assert bar.update.call_count == expected


def test_eigenvalues_of_16_bit_parameters_have_single_precision():
    w = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones((), jnp.float16)}

    def cost(w):
        return 3 * w["a"][0] ** 2 + w["a"][1] ** 2 - 2 * w["b"] ** 2

    pairs = extreme_eigenpairs(cost, w, key=jax.random.key(0), largest=1, smallest=1)
    assert pairs.values.tolist() == [6.0, -4.0]
    assert pairs.values.dtype == jnp.float32
    assert [v.dtype for v in jax.tree.leaves(pairs.vectors)] == [jnp.bfloat16, jnp.float16]
