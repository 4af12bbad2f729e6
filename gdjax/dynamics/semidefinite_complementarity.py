"""Complementarity problems over symmetric matrices, by an interior-point method.

    find X >= 0 with S = M X + Q >= 0 and <X, S> = 0,   M symmetric and monotone, >= 0 as matrices

X minimizes <X, M X> / 2 + <Q, X> over positive semidefinite matrices.

X and S start as multiples of the identity, and Newton's method follows X S = mu 1 as mu decreases.
LAPACK's eigenvalue routines are not called, so that runs can be computed on several devices.

References: Alizadeh, Haeberly and Overton 1998, *Primal-dual interior-point methods for
semidefinite programming* (for the search direction); Kojima, Shindoh and Hara 1997 (for
complementarity problems).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gdjax.base.reprs import fields
from gdjax.curvature import eigensolvers

ITERATIONS = 60  # maximum number of iterations; 10 to 25 are usually enough
ROUNDING = 30  # smallest gap, in units of eps, that rounding allows
CENTERING = 0.15  # factor of mu after a full step
BACK = 0.97  # fraction of the distance to the boundary that a step takes


class ComplementaritySolution(NamedTuple):
    """Solution of a complementarity problem.

    Args:
        X: positive semidefinite matrix; exactly 0 if Q is positive definite.
        residual: |X - (X - S)_+| / (1 + |X| + |S|) with S = M X + Q, where the problem is scaled so
            that the largest entries of Q and M are 1; 0 for an exact solution.
        iterations: number of iterations of Newton's method.
    """

    X: Float[Array, "k k"]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]

    __repr__, _repr_html_ = fields


def basis(size: int) -> Float[np.ndarray, "m k k"]:
    """Return an orthonormal basis of the symmetric matrices.

    The m = k (k + 1) / 2 elements are in the order of the upper triangle's rows. B_ii has one entry
    1, and B_ij has two entries sqrt(1/2).
    """
    rows, columns = np.triu_indices(size)
    matrices = np.zeros((len(rows), size, size))
    for matrix, row, column in zip(matrices, rows, columns, strict=True):
        matrix[row, column] = matrix[column, row] = 1 if row == column else np.sqrt(0.5)
    return matrices


def coordinates(A: Float[Array, "k k"]) -> Float[Array, " m"]:
    """Return the coordinates of a symmetric matrix in `basis`."""
    return jnp.einsum("mij,ij->m", jnp.asarray(basis(len(A)), A.dtype), A)


def matrix(a: Float[Array, " m"]) -> Float[Array, "k k"]:
    """Return the symmetric matrix with given coordinates in `basis`."""
    size = int(np.sqrt(2 * len(a)))  # k (k + 1) / 2 lies between k^2 / 2 and (k + 1)^2 / 2
    return jnp.einsum("m,mij->ij", a, jnp.asarray(basis(size), a.dtype))


def solve(M: Float[Array, "m m"], Q: Float[Array, "k k"]) -> ComplementaritySolution:
    """Solve one complementarity problem to the precision of its dtype.

    Args:
        M: symmetric positive semidefinite matrix in the coordinates of `basis(k)`.
        Q: symmetric matrix.

    Examples:
        For k = 1 the solution is max(0, -q / m):

        >>> X = solve(jnp.array([[2.0]]), jnp.array([[-3.0]])).X
        >>> X.round(4).tolist()
        [[1.5]]
    """
    k, dtype = len(Q), Q.dtype
    B = jnp.asarray(basis(k), dtype)
    identity, eps = jnp.eye(k, dtype=dtype), jnp.finfo(dtype).eps
    # The problem is scaled so that the largest entries of Q and M are 1.
    size_Q = jnp.max(jnp.abs(Q))
    size_Q = jnp.where(size_Q > 0, size_Q, 1)
    size_M = jnp.max(jnp.abs(M))
    size_M = jnp.where(size_M > 0, size_M, 1)
    Q, M = Q / size_Q, M / size_M

    def product(a):
        """Return the symmetrized product with a; rows are images of the basis."""
        return images((B @ a + a @ B) / 2)

    def images(A):
        return jnp.einsum("mij,nij->mn", B, A)

    def cond_fun(state):
        _, _, gap, iteration = state
        return (gap > ROUNDING * eps) & (iteration < ITERATIONS)

    def body_fun(state):
        X, S, _, iteration = state
        mu = jnp.vdot(X, S) / k
        mismatch = coordinates(matrix(M @ coordinates(X)) + Q - S)
        target = CENTERING * mu * identity - (X @ S + S @ X) / 2
        # The linear system is S' dX + X' dS = target with dS = M dX + rest.
        of_X, of_S = product(X), product(S)
        system = of_S + of_X @ M
        move = jnp.linalg.solve(system, coordinates(target) - of_X @ mismatch)
        move = jnp.where(jnp.isfinite(move), move, 0)
        dX, dS = matrix(move), matrix(M @ move + mismatch)
        step_length = jnp.minimum(_max_step(X, dX), _max_step(S, dS))
        X, S = X + step_length * dX, S + step_length * dS
        distance = jnp.max(jnp.abs(coordinates(matrix(M @ coordinates(X)) + Q - S)))
        gap = jnp.vdot(X, S) / k + distance
        return X, S, gap, iteration + 1

    start = identity, 2 * identity, jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    with jax.default_matmul_precision("highest"):
        X, _, _, iteration = jax.lax.while_loop(cond_fun, body_fun, start)
        S = matrix(M @ coordinates(X)) + Q
        values, vectors = eigensolvers.eigh(X - S)
        nearest = vectors @ (jnp.maximum(values, 0)[:, None] * vectors.T)
    distance = jnp.linalg.norm(X - nearest)
    residual = distance / (1 + jnp.linalg.norm(X) + jnp.linalg.norm(S))
    is_zero = _lowest_pivot(Q) > 0
    X, residual = jax.tree.map(lambda a: jnp.where(is_zero, 0, a), (X, residual))
    return ComplementaritySolution(X * (size_Q / size_M), residual, iteration)


def _max_step(A, step):
    """Return a step length t for which A + t step is positive definite.

    t is BACK times the largest of 1, 0.8, 0.64, ... for which the matrix is positive definite, as
    shown by the pivots of an elimination. A itself is positive definite.
    """
    step_lengths = jnp.asarray(BACK * 0.8 ** np.arange(40), A.dtype)
    lowest = jax.vmap(lambda t: _lowest_pivot(A + t / BACK * step))(step_lengths)
    return jnp.max(jnp.where(lowest > 0, step_lengths, 0))


def _lowest_pivot(A):
    """Return the lowest pivot of an elimination, above 0 iff A is positive definite."""
    pivots = []
    for _ in range(len(A)):
        pivot = A[0, 0]
        pivots.append(pivot)
        safe = jnp.where(pivot > 0, pivot, 1)
        A = A[1:, 1:] - A[1:, :1] * A[:1, 1:] / safe
    return jnp.min(jnp.stack(pivots))
