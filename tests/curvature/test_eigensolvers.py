"""Jacobi rotations, compared with NumPy, and block Lanczos on known spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.curvature import eigensolvers

DENSE = np.random.default_rng(0).normal(size=(12, 12))

MATRICES = {
    "one row": np.array([[3.0]]),
    "two rows": np.array([[0.0, 2.0], [2.0, 3.0]]),
    "odd": (DENSE + DENSE.T)[:7, :7],
    "even": DENSE + DENSE.T,
    "identity": np.eye(12),
    "zero": np.zeros((7, 7)),
    "rank 1": np.ones((12, 12)),
    "equal pairs": np.kron(np.eye(6), np.ones((2, 2))),
    "graded": np.diag(10.0 ** -np.arange(7)) + 1e-9,
    "huge": 1e30 * (DENSE + DENSE.T),
    "tiny": 1e-30 * (DENSE + DENSE.T),
}
rotated = jax.jit(eigensolvers.jacobi_eigh)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("x64", [False, True])
def test_jacobi_eigenpairs_equal_those_of_numpy(name, x64):
    with jax.enable_x64(x64):
        A = np.asarray(jnp.array(MATRICES[name], float))
        values, vectors = (np.asarray(a, float) for a in rotated(A))
        A = A.astype(float)
        eps, size = float(jnp.finfo(jnp.zeros(()).dtype).eps), np.abs(A).max()
        np.testing.assert_allclose(values, np.linalg.eigvalsh(A), atol=20 * eps * size)
        np.testing.assert_allclose(A @ vectors, vectors * values, atol=20 * eps * size)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(A)), atol=20 * eps)


def test_small_eigenvalues_of_a_graded_matrix_have_small_relative_errors():
    """Entries are 0.1 sqrt(d_i d_j), and 1.1 d_i on the diagonal, with d_i = 10^-i.

    LAPACK is less accurate.
    """
    d = 10.0 ** -np.arange(7)
    A = np.float32(np.sqrt(d[:, None] * d) * (np.eye(7) + 0.1))
    exact = np.linalg.eigvalsh(A.astype(float))
    np.testing.assert_allclose(np.asarray(rotated(A)[0]), exact, rtol=1e-5)


def test_jacobi_rotations_terminate_on_non_finite_matrices():
    values, _ = rotated(jnp.eye(7).at[0, 0].set(jnp.nan))
    assert np.isnan(np.asarray(values)).any()


def test_large_matrices_are_decomposed_by_jax():
    assert "custom_call" in jax.jit(eigensolvers.eigh).lower(jnp.eye(40)).as_text()
    assert "custom_call" not in jax.jit(eigensolvers.eigh).lower(jnp.eye(8)).as_text()


# -- block Lanczos, with multiple and clustered eigenvalues


N = 600
RNG = np.random.default_rng(0)
BULK = RNG.uniform(-1, 1, N)

SPECTRA = {
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "rank 3": np.r_[3.0, 2.0, -1.0, np.zeros(N - 3)],
    "outliers": np.r_[np.linspace(2, 5, 10), RNG.normal(size=N - 10) * 0.02],
    "indefinite": BULK,
    "negative": -1 - np.abs(BULK),
    "geometric": np.geomspace(1e-6, 1, N),
    "five equal largest eigenvalues": np.r_[np.full(5, 3.0), 1.5 * BULK[5:]],
    "fourteen equal smallest and three larger eigenvalues": np.r_[
        np.full(14, -2.0), 5, 4, 3, 0.1 * BULK[17:]
    ],
    "clusters": np.r_[1 + 1e-5 * RNG.normal(size=20), -1 + 1e-5 * RNG.normal(size=20), BULK[40:]],
    "huge": 1e12 * BULK,
    "tiny": 1e-12 * BULK,
}
ENDS = [(1, 0), (1, 1), (6, 0), (0, 3), (2, 4)]


def matrix(spectrum):
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(N, N)))[0]
    return (basis * spectrum) @ basis.T


def solve(A, key, largest, smallest, tolerance=1e-3, max_restarts=200, start=None):
    start = jnp.ones(len(A), A.dtype) if start is None else start
    return eigensolvers.extreme_ritz_pairs(
        lambda v: jnp.matmul(A, v, precision="highest"),
        start,
        key,
        largest=largest,
        smallest=smallest,
        tolerance=lambda _, norm: tolerance * norm,
        max_restarts=max_restarts,
    )


solved = jax.jit(solve, static_argnames=("largest", "smallest", "max_restarts"))


@pytest.mark.long
def test_lanczos_converges_for_each_of_128_keys():
    """The iteration continues if a new block increases a residual."""
    A = jnp.array(matrix(SPECTRA["negative"]), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 128)
    result = jax.jit(jax.vmap(lambda key: solve(A, key, 0, 3, max_restarts=60)))(keys)
    assert result.residuals.max() <= 1e-3 * np.abs(SPECTRA["negative"]).max()


@pytest.mark.long
@pytest.mark.parametrize(("largest", "smallest"), ENDS)
@pytest.mark.parametrize("name", SPECTRA)
def test_extreme_eigenvalues_equal_those_of_a_known_spectrum(name, largest, smallest):
    spectrum = SPECTRA[name]
    A = matrix(spectrum)
    result = solved(jnp.array(A, jnp.float32), jax.random.key(0), largest, smallest)
    falling = np.sort(spectrum)[::-1]
    size = np.abs(spectrum).max()
    exact = np.r_[falling[:largest], falling[N - smallest :]]
    V, values = np.asarray(result.vectors, float), np.asarray(result.values, float)
    residuals = np.linalg.norm(A @ V - values * V, axis=0)
    # Residuals are correct within float32 rounding, and at most the tolerance.
    np.testing.assert_allclose(result.residuals, residuals, atol=2e-6 * size)
    assert result.residuals.max() <= 1e-3 * size
    # Each value is within its residual of an eigenvalue, and no extreme eigenvalue is missing.
    np.testing.assert_allclose(values, exact, atol=2e-3 * size)
    np.testing.assert_allclose(V.T @ V, np.eye(largest + smallest), atol=1e-5)
    assert 0.98 * size <= result.norm <= 1.00001 * size


@pytest.mark.long
def test_a_small_tolerance_is_reached_in_float64(float64):
    spectrum = SPECTRA["indefinite"]
    result = solved(jnp.array(matrix(spectrum)), jax.random.key(0), 2, 2, tolerance=1e-10)
    exact = np.sort(spectrum)[[-1, -2, 1, 0]]
    assert result.residuals.max() <= 1e-10
    # The error of an eigenvalue is of the order of its residual squared.
    np.testing.assert_allclose(result.values, exact, atol=1e-13)


@pytest.mark.long
def test_lanczos_keeps_masked_coordinates_at_zero():
    spectrum = 2 + BULK  # without the mask, 0 would be the smallest
    dead = np.arange(N) % 3 == 0
    A = matrix(spectrum)
    A[dead] = 0
    A[:, dead] = 0
    exact = np.linalg.eigvalsh(A[~dead][:, ~dead])
    start = jnp.array(~dead, jnp.float32)
    result = solved(jnp.array(A, jnp.float32), jax.random.key(0), 1, 2, start=start)
    np.testing.assert_allclose(result.values, exact[[-1, 1, 0]], atol=5e-3)
    assert np.all(np.asarray(result.vectors)[dead] == 0)


@pytest.mark.long
def test_vmapped_results_equal_those_of_separate_calls():
    names = ["outliers", "indefinite", "identity"]
    A = jnp.stack([jnp.array(matrix(SPECTRA[name]), jnp.float32) for name in names])
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(lambda A, key: solve(A, key, 2, 1)))(A, keys)
    for i in range(3):
        alone = solved(A[i], keys[i], largest=2, smallest=1)
        assert int(alone.num_hvps) == int(together.num_hvps[i])
        np.testing.assert_allclose(together.values[i], alone.values, atol=1e-4)
    assert len(set(np.asarray(together.num_hvps).tolist())) > 1
