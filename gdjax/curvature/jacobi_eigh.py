"""Eigenvalues and eigenvectors of a small symmetric matrix by Jacobi rotations.

    A <- J^T A J until A is diagonal,   J rotates pairs of coordinates so that A_pq becomes 0

All pairs of a round are rotated at once. The rounds follow a tournament in which every pair of
coordinates meets. On CPUs `jnp.linalg.eigh` calls LAPACK, and two devices of one program that call
it at the same time can deadlock. This implementation uses only JAX operations.

>>> values, vectors = eigh(jnp.array([[0.0, 2.0], [2.0, 3.0]]))
>>> values.tolist()
[-1.0, 4.0]

References: Golub and Van Loan, *Matrix Computations* (2013), section 8.5; Brent and Luk 1985.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SMALL = 16  # maximum number of rows for rotations; with 40 they take ten times as long as LAPACK
SWEEPS = 20  # maximum number of sweeps; 6 to 10 are enough for up to 100 rows


def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the eigenvalues (ascending) and eigenvectors of a symmetric matrix.

    Eigenvectors are the columns of the second result. On CPUs, matrices of up to 16 rows are
    decomposed without LAPACK; all others by `jnp.linalg.eigh`.

    Args:
        matrix: symmetric matrix.
    """
    if len(matrix) > SMALL:
        return _library(matrix)
    return jax.lax.platform_dependent(matrix, cpu=rotated, default=_library)


def _library(matrix):
    return tuple(jnp.linalg.eigh(matrix))


def rotated(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the result of `eigh`, computed by rotations on every platform."""
    size = len(matrix)
    scale = jnp.max(jnp.abs(matrix), initial=0)
    scale = jnp.where(scale > 0, scale, 1)
    # Pad an odd number of rows by one, whose eigenvalue lies below all others.
    even = size + size % 2
    A = jnp.full((even, even), 0, matrix.dtype).at[:size, :size].set(matrix / scale)
    A = A.at[size:, size:].set(-2 * even)
    half, eps = even // 2, jnp.finfo(matrix.dtype).eps
    places = _next_round(even)

    def rotate(rows, s, tau):
        # The result is c a - s b with 1 - c = s tau, in a form whose rounding decreases with the
        # angle.
        upper, lower = rows[:half], rows[half:]
        moved = (upper - s * (lower + tau * upper), lower + s * (upper - tau * lower))
        return jnp.concatenate(moved)[places]

    def rotate_round(_, state):
        A, V = state
        p, r = jnp.split(jnp.diagonal(A), 2)
        q = jnp.diagonal(A[:half, half:])
        slope = (r - p) / jnp.where(q == 0, 1, 2 * q)
        t = jnp.where(slope < 0, -1, 1) / (jnp.abs(slope) + jnp.sqrt(1 + slope**2))
        t = jnp.where(q == 0, 0, t)
        c = 1 / jnp.sqrt(1 + t**2)
        s, tau = (t * c)[:, None], (t * c / (1 + c))[:, None]
        return rotate(rotate(A, s, tau).T, s, tau), rotate(V, s, tau)

    def cond_fun(state):
        A, _, sweeps = state
        apart = jnp.linalg.norm(A - jnp.diag(jnp.diagonal(A)))
        return (apart > eps * jnp.linalg.norm(A[:size, :size])) & (sweeps < SWEEPS)

    def body_fun(state):
        A, V, sweeps = state
        A, V = jax.lax.fori_loop(0, even - 1, rotate_round, (A, V))
        return A, V, sweeps + 1

    state = A, jnp.eye(even, dtype=matrix.dtype), jnp.zeros((), jnp.int32)
    A, V, _ = jax.lax.while_loop(cond_fun, body_fun, state)
    values = jnp.diagonal(A)
    order = jnp.argsort(values)[even - size :]
    return values[order] * scale, V[order, :size].T


def _next_round(even):
    """Return the permutation to the next round: the first stays, all others move on."""
    places = np.arange(even).reshape(2, -1)
    ring = np.r_[places[0, 1:], places[1, ::-1]]
    ring = np.roll(ring, 1)
    half = even // 2
    return np.r_[0, ring[: half - 1], ring[half - 1 :][::-1]]
