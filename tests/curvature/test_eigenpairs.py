"""Extreme eigenvalues and residuals, compared with dense Hessians in float64."""

from functools import partial
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import digit_network, pooled_digits, quadratic, spectra
from jax.flatten_util import ravel_pytree

from gdjax.base import progress
from gdjax.curvature import (
    FunctionOperator,
    eigenpairs,
    eigensolvers,
    extreme_eigenpairs,
    spectral_density,
)
from gdjax.problems import as_problem, bowl


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


pairs_of = jax.jit(
    lambda A, key, **options: extreme_eigenpairs(
        lambda v: jnp.matmul(A, v, precision="highest"),
        A[0],
        operator=FunctionOperator,
        key=key,
        **options,
    ),
    static_argnames=("largest", "smallest", "max_steps"),
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "largest", "smallest"), [(40, 4, 2), (600, 1, 0), (600, 0, 3), (600, 6, 4)]
)
@pytest.mark.parametrize("name", spectra(40))
def test_extreme_eigenvalues_equal_those_of_a_known_spectrum(name, n, largest, smallest):
    """Matrices of up to 512 rows are decomposed, here in float64."""
    spectrum, key = spectra(n)[name], jax.random.key(0)
    A = quadratic(spectrum)[2][0]
    with jax.enable_x64(n == 40):
        result = pairs_of(jnp.array(A, float), key, largest=largest, smallest=smallest)
        V, residuals = rows(result.vectors), true_residuals(A, result)
        eps = float(jnp.finfo(result.values.dtype).eps)
        result = jax.tree.map(np.asarray, result)
    falling, size = np.sort(spectrum)[::-1], np.abs(spectrum).max()
    exact = np.r_[falling[:largest], falling[n - smallest :]]
    assert int(result.status) == eigenpairs.EigenpairsStatus.CONVERGED
    # Residuals are correct within rounding, and at most the tolerance.
    np.testing.assert_allclose(result.residuals, residuals, atol=40 * eps * size)
    assert result.residuals.max() <= 1e-3 * size
    # Each value is within its residual of an eigenvalue, and no extreme eigenvalue is missing.
    np.testing.assert_allclose(result.values, exact, atol=(40 * eps if n == 40 else 2e-3) * size)
    np.testing.assert_allclose(V @ V.T, np.eye(largest + smallest), atol=80 * eps)
    assert 0.98 * size <= result.norm <= 1.00001 * size


@pytest.mark.long
def test_block_lanczos_converges_for_each_of_128_keys():
    """The iteration continues if a new block increases a residual."""
    A = jnp.array(quadratic(spectra(600)["negative"])[2][0], jnp.float32)
    keys = jax.random.split(jax.random.key(0), 128)
    result = jax.vmap(lambda key: pairs_of(A, key, smallest=3, largest=0, max_steps=60))(keys)
    assert np.all(result.status == eigenpairs.EigenpairsStatus.CONVERGED)


@pytest.mark.long
def test_a_small_tolerance_is_reached_in_float64(float64):
    spectrum = spectra(600)["indefinite"]
    A = jnp.array(quadratic(spectrum)[2][0])
    result = pairs_of(A, jax.random.key(0), largest=2, smallest=2, rtol=1e-10, max_steps=200)
    assert result.residuals.max() <= 1e-10
    # The error of an eigenvalue is of the order of its residual squared.
    np.testing.assert_allclose(result.values, np.sort(spectrum)[[-1, -2, 1, 0]], atol=1e-13)


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


@pytest.mark.long
def test_eigenpairs_vmapped_over_runs_equal_separate_calls_and_compile_once():
    traces, keys = [], jax.random.split(jax.random.key(0), 3)
    names = ["outliers", "indefinite", "identity"]
    A = jnp.stack([jnp.array(quadratic(spectra(600)[n])[2][0], jnp.float32) for n in names])

    def one(A, key):
        traces.append(1)
        return pairs_of(A, key, largest=2, smallest=1)

    together = jax.jit(jax.vmap(one))
    result = together(A, keys)
    together(2 * A, keys)
    assert len(traces) == 1
    for i in range(3):
        alone = pairs_of(A[i], keys[i], largest=2, smallest=1)
        assert int(alone.num_hvps) == int(result.num_hvps[i])
        np.testing.assert_allclose(result.values[i], alone.values, atol=1e-4)
    assert len(set(np.asarray(result.num_hvps).tolist())) > 1


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
