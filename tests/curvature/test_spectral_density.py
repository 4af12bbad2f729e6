"""Trace and spectral density, compared with dense float64 Hessians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import dense_reference, digit_network, quadratic, regression, spectra

from gdjax.curvature import hessian_trace, spectral_density
from gdjax.problems.problem import as_problem


def mean_density(at, eigenvalues, width):
    """Return 1/n sum_i N(at; lambda_i, width^2)."""
    z = (at[:, None] - eigenvalues) / width
    return np.mean(np.exp(-(z**2) / 2) / (width * np.sqrt(2 * np.pi)), axis=1)


# -- trace


@pytest.mark.long
def test_the_trace_of_a_network_is_within_three_standard_errors():
    cost, params, data, _, eigenvalues = digit_network()
    exact = eigenvalues.sum()
    traces = jax.jit(
        jax.vmap(
            lambda w, data, key: hessian_trace(as_problem(cost, data), w, key=key, probes=90),
            (None, None, 0),
        )
    )
    result = traces(params, data, jax.random.split(jax.random.key(0), 20))
    sigmas = np.abs(result.value - exact) / result.error
    assert np.all(sigmas < 3)
    # About two thirds of the deviations are below one standard error.
    assert 5 <= np.sum(sigmas < 1) <= 19
    # A plain Hutchinson estimate with 90 Gaussian probes has standard error sqrt(2 / 90) |H|_F.
    assert np.all(result.error < np.sqrt(2 / 90 * np.sum(eigenvalues**2)))


@pytest.mark.long
@pytest.mark.parametrize("n", [40, 600])
@pytest.mark.parametrize("name", ["indefinite", "identity", "zero", "rank 3"])
def test_the_trace_of_quadratics_is_within_three_standard_errors(n, name):
    spectrum = spectra(n)[name]
    cost, w, data = quadratic(spectrum)
    result = jax.jit(hessian_trace)(as_problem(cost, jnp.array(data)), w, key=jax.random.key(3))
    assert abs(float(result.value) - spectrum.sum()) <= 3 * float(result.error)
    exact = n <= 512 or name in ("zero", "rank 3")
    assert float(result.error) <= (1e-4 if exact else 0.5) * (1 + np.linalg.norm(spectrum))


@pytest.mark.long
def test_95_percent_of_intervals_with_24_probes_cover_the_trace():
    """Eight probes leave 7 degrees of freedom, so 1.96 standard errors cover only 0.91.

    Of 2,000 intervals with a coverage of 0.95, a share below 0.935 has probability 0.001.
    """
    eigenvalues = np.random.default_rng(0).normal(size=520)
    cost, w, data = quadratic(eigenvalues)
    problem = as_problem(cost, jnp.array(data))

    def one(key):
        return hessian_trace(problem, w, key=key, probes=24)

    keys = jax.random.split(jax.random.key(0), 2000)
    result = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=100))(keys)
    exact = eigenvalues.sum()
    assert np.mean((result.low <= exact) & (exact <= result.high)) > 0.935
    assert np.mean(np.abs(result.value - exact) <= 1.96 * result.error) < 0.93
    np.testing.assert_allclose((result.high - result.low) / (2 * result.error), 2.3646, rtol=1e-3)


# -- density


@pytest.mark.long
def test_the_density_of_a_network_equals_that_of_its_eigenvalues_within_3_errors():
    cost, params, data, _, eigenvalues = digit_network()
    result = jax.jit(partial(spectral_density, probes=16, depth=80, bandwidth=0.02))(
        as_problem(cost, data), params, key=jax.random.key(0)
    )
    at, value = (np.asarray(a, float) for a in (result.at, result.value))
    np.testing.assert_allclose(np.trapezoid(value, at), 1, rtol=1e-3)
    np.testing.assert_allclose(result.weights.sum(axis=1), 1, rtol=1e-4)
    size = np.abs(eigenvalues).max()
    np.testing.assert_allclose(result.bandwidth, 0.02 * size, rtol=1e-3)
    assert at[0] < eigenvalues[0]
    assert at[-1] > eigenvalues[-1]
    exact = mean_density(at, eigenvalues, float(result.bandwidth))
    # The total variation is half the area between the curves; compare it with the standard error.
    apart = np.trapezoid(np.abs(value - exact), at) / 2
    stated = np.trapezoid(np.asarray(result.error, float), at) / 2
    assert apart < 3 * stated < 0.2


@pytest.mark.long
def test_weights_per_interval_equal_the_histogram_of_the_eigenvalues_within_4_errors():
    cost, params, data, _, eigenvalues = digit_network()
    result = jax.jit(partial(spectral_density, probes=32, depth=60))(
        as_problem(cost, data), params, key=jax.random.key(1)
    )
    size = np.abs(eigenvalues).max()
    edges = np.array([-1, -0.02, 0.02, 0.2, 1.01]) * size
    exact = np.histogram(eigenvalues, edges)[0] / eigenvalues.size
    single = np.array(
        [
            np.histogram(nodes, edges, weights=weights)[0]
            for nodes, weights in zip(result.nodes, result.weights, strict=True)
        ]
    )
    error = single.std(axis=0, ddof=1) / np.sqrt(len(single))
    assert np.all(np.abs(single.mean(axis=0) - exact) <= 4 * error + 1e-3)


def test_nodes_and_density_are_exact_for_small_problems():
    cost, params, data = regression(20)
    result = jax.jit(partial(spectral_density, bandwidth=0.1))(
        as_problem(cost, data), params, key=jax.random.key(0)
    )
    eigenvalues = np.linalg.eigvalsh(dense_reference(cost, params, data))
    np.testing.assert_allclose(result.nodes[0], eigenvalues, atol=1e-5 * eigenvalues.max())
    exact = mean_density(np.asarray(result.at, float), eigenvalues, float(result.bandwidth))
    np.testing.assert_allclose(result.value, exact, atol=1e-3 * exact.max())
    assert np.all(result.error == 0)


@pytest.mark.long
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
def test_the_density_of_a_single_eigenvalue_is_a_gaussian(level):
    """The Krylov space has dimension one, and Lanczos must stop after one step."""
    result = jax.jit(
        lambda w, key: spectral_density(lambda w: level * jnp.sum(w**2) / 2, w, key=key)
    )(jnp.ones(600), jax.random.key(0))
    assert np.all(np.isfinite(result.value))
    width = float(result.bandwidth)
    exact = mean_density(np.asarray(result.at, float), np.array([level]), width)
    np.testing.assert_allclose(result.value, exact, atol=1e-3 * exact.max())
    assert width == pytest.approx(0.01 * (abs(level) or 1), rel=1e-5)


@pytest.mark.long
def test_the_density_is_nan_if_the_hessian_is_not_finite():
    w = jnp.ones(600).at[0].set(jnp.inf)
    result = spectral_density(lambda w: jnp.sum(w**4), w, key=jax.random.key(0), depth=3)
    assert np.all(np.isnan(result.value))
