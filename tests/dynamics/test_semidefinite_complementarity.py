"""Solutions of complementarity problems: closed forms and a slow solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.dynamics.semidefinite_complementarity import basis, solve

many = jax.jit(jax.vmap(solve))


def random_problems(k, count, rank=None, seed=0):
    """Return positive definite matrices M and symmetric matrices Q, in float64."""
    rng = np.random.default_rng(seed)
    m = k * (k + 1) // 2
    roots = rng.normal(size=(count, m, rank or m))
    Q = rng.normal(size=(count, k, k))
    M = roots @ roots.transpose(0, 2, 1) / m
    return M + 0.05 * np.eye(m), (Q + Q.transpose(0, 2, 1)) / 2


def slow(M, Q, iterations=3000):
    """Return the solution by accelerated projected gradient descent in NumPy."""
    k = len(Q)
    B = basis(k)
    q = np.einsum("mij,ij->m", B, Q)
    rate = 1 / np.linalg.eigvalsh(M)[-1]
    x = y = np.zeros(len(q))
    for t in range(iterations):
        A = np.einsum("m,mij->ij", y - rate * (M @ y + q), B)
        values, vectors = np.linalg.eigh(A)
        ahead = np.einsum("mij,ij->m", B, vectors * np.maximum(values, 0) @ vectors.T)
        # Restarts of the momentum after an overshoot accelerate convergence.
        momentum = 0.0 if (y - ahead) @ (ahead - x) > 0 else t / (t + 3)
        if np.linalg.norm(ahead - y) < 1e-13:
            break
        x, y = ahead, ahead + momentum * (ahead - x)
    return np.einsum("m,mij->ij", x, B)


def test_the_basis_is_orthonormal_and_spans_the_symmetric_matrices():
    B = basis(4)
    np.testing.assert_allclose(np.einsum("mij,nij->mn", B, B), np.eye(10), atol=1e-15)
    A = np.random.default_rng(0).normal(size=(4, 4))
    A = A + A.T
    np.testing.assert_allclose(np.einsum("m,mij->ij", np.einsum("mij,ij->m", B, A), B), A)


@pytest.mark.parametrize(
    ("x64", "error"), [pytest.param(False, 2e-3, marks=pytest.mark.long), (True, 1e-6)]
)
def test_solutions_of_size_one_equal_the_closed_form(x64, error):
    with jax.enable_x64(x64):
        q = jnp.linspace(-3, 3, 16)[:, None, None]
        result = many(jnp.full((16, 1, 1), 2.0), q)
        known = np.maximum(0, -np.asarray(q) / 2)
        np.testing.assert_allclose(result.X, known, atol=error)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("k", "rank"),
    [pytest.param(2, None, marks=LONG), (3, 2), pytest.param(5, None, marks=LONG), (5, 4)],
)
def test_solutions_agree_with_a_slow_reference(k, rank, float64):
    M, Q = random_problems(k, 16, rank)
    result = jax.tree.map(np.asarray, many(jnp.array(M), jnp.array(Q)))
    for one, X, residual in zip(zip(M, Q, strict=True), result.X, result.residual, strict=True):
        known = slow(*one)
        S = np.einsum("m,mij->ij", one[0] @ np.einsum("mij,ij->m", basis(k), X), basis(k)) + one[1]
        scale = 1 + np.max(np.abs(known))
        np.testing.assert_allclose(X, known, atol=1e-5 * scale)
        assert np.linalg.eigvalsh(X)[0] > -1e-12 * scale
        assert np.linalg.eigvalsh(S)[0] > -1e-6
        assert abs(np.sum(X * S)) < 1e-6 * scale
        assert float(residual) < 1e-6
    assert np.max(result.iterations) < 40


@pytest.mark.long
def test_float32_solutions_in_other_units_agree_with_float64_solutions():
    M, Q = random_problems(4, 16)
    with jax.enable_x64(True):
        known = np.asarray(many(jnp.array(M), jnp.array(Q)).X)
    rough = many(jnp.array(1e4 * M, jnp.float32), jnp.array(1e-3 * Q, jnp.float32))
    scale = np.max(np.abs(known), axis=(1, 2), keepdims=True) + 1e-2
    np.testing.assert_allclose(1e7 * rough.X / scale, known / scale, atol=2e-2)
    assert np.max(rough.residual) < 1e-3
