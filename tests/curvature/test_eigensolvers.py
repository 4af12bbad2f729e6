"""Jacobi rotations, compared with NumPy, and block Lanczos with a mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import quadratic, spectra

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


@pytest.mark.long
def test_lanczos_keeps_masked_coordinates_at_zero():
    n = 600
    dead = np.arange(n) % 3 == 0
    A = quadratic(2 + spectra(n)["indefinite"])[2][0]  # without the mask, 0 would be the smallest
    A[dead] = 0
    A[:, dead] = 0
    exact = np.linalg.eigvalsh(A[~dead][:, ~dead])

    @jax.jit
    def solve(A, mask):
        return eigensolvers.extreme_ritz_pairs(
            lambda v: jnp.matmul(A, v, precision="highest"), mask, jax.random.key(0),
            largest=1, smallest=2, tolerance=lambda _, norm: 1e-3 * norm, max_restarts=200,
        )  # fmt: skip

    result = solve(jnp.array(A, jnp.float32), jnp.array(~dead, jnp.float32))
    np.testing.assert_allclose(result.values, exact[[-1, 1, 0]], atol=5e-3)
    assert np.all(np.asarray(result.vectors)[dead] == 0)
