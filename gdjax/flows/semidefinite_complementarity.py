"""Complementarity problem over symmetric matrices, by an interior-point method.

    find X >= 0 with S = M X + Q >= 0 and <X, S> = 0,   M symmetric and monotone, >= 0 as matrices

It is the minimum of <X, M X> / 2 + <Q, X> over positive semidefinite X. One row is max(0, -q / m):

>>> X = solve(jnp.array([[2.0]]), jnp.array([[-3.0]])).X
>>> X.round(4).tolist()
[[1.5]]

Interior points: X and S start as multiples of 1, and X S = mu 1 is followed by Newton's method as
mu falls. Nothing calls LAPACK's eigenvalues, so that runs can be computed on several devices.

References: Alizadeh, Haeberly and Overton 1998, *Primal-dual interior-point methods for
semidefinite programming* (their direction); Kojima, Shindoh and Hara 1997 (for complementarity
problems).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gdjax.curvature import jacobi_eigh
from gdjax.summaries import fields

ITERATIONS = 60  # 10 to 25 are enough; a loop must have an end
ROUNDING = 30  # in units of eps: nearer to a solution the type does not lead
CENTERING = 0.15  # what is left of mu after a whole step
BACK = 0.97  # of the way to the boundary


class ComplementaritySolution(NamedTuple):
    """Solution of a complementarity problem.

    Args:
        X: symmetric, no eigenvalue below 0; exactly 0 where Q is positive definite.
        residual: |X - (X - S)_+| / (1 + |X| + |S|), entries scaled as the problem was; 0 where it
            is solved, with S = M X + Q.
        iterations: of Newton's method.
    """

    X: Float[Array, "k k"]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]

    __repr__ = fields


def basis(size: int) -> Float[np.ndarray, "m k k"]:
    """Return an orthonormal basis of the symmetric matrices, of m = k (k + 1) / 2 elements.

    In the order of the upper triangle's rows: B_ii has one 1, B_ij has sqrt(1/2) twice.
    """
    rows, columns = np.triu_indices(size)
    found = np.zeros((len(rows), size, size))
    for matrix, row, column in zip(found, rows, columns, strict=True):
        matrix[row, column] = matrix[column, row] = 1 if row == column else np.sqrt(0.5)
    return found


def coordinates(A: Float[Array, "k k"]) -> Float[Array, " m"]:
    """Return the coordinates of a symmetric matrix in `basis`."""
    return jnp.einsum("mij,ij->m", jnp.asarray(basis(len(A)), A.dtype), A)


def matrix(a: Float[Array, " m"]) -> Float[Array, "k k"]:
    """Return the symmetric matrix that has these coordinates."""
    size = int(np.sqrt(2 * len(a)))  # k (k + 1) / 2 lies between k^2 / 2 and (k + 1)^2 / 2
    return jnp.einsum("m,mij->ij", a, jnp.asarray(basis(size), a.dtype))


def solve(M: Float[Array, "m m"], Q: Float[Array, "k k"]) -> ComplementaritySolution:
    """Solve one problem, as exactly as its type allows.

    Args:
        M: in the coordinates of `basis(k)`, symmetric positive semidefinite.
        Q: symmetric.
    """
    k, dtype = len(Q), Q.dtype
    B = jnp.asarray(basis(k), dtype)
    one, eps = jnp.eye(k, dtype=dtype), jnp.finfo(dtype).eps
    # In units in which Q and M are near 1.
    size_Q = jnp.max(jnp.abs(Q))
    size_Q = jnp.where(size_Q > 0, size_Q, 1)
    size_M = jnp.max(jnp.abs(M))
    size_M = jnp.where(size_M > 0, size_M, 1)
    Q, M = Q / size_Q, M / size_M

    def product(a):
        """Return the matrix of the symmetrized product with a; rows are images of the basis."""
        return images((B @ a + a @ B) / 2)

    def images(A):
        return jnp.einsum("mij,nij->mn", B, A)

    def cond_fun(state):
        _, _, gap, taken = state
        return (gap > ROUNDING * eps) & (taken < ITERATIONS)

    def body_fun(state):
        X, S, _, taken = state
        mu = jnp.vdot(X, S) / k
        rest = coordinates(matrix(M @ coordinates(X)) + Q - S)
        target = CENTERING * mu * one - (X @ S + S @ X) / 2
        # S' dX + X' dS with dS = M dX + rest.
        of_X, of_S = product(X), product(S)
        system = of_S + of_X @ M
        move = jnp.linalg.solve(system, coordinates(target) - of_X @ rest)
        move = jnp.where(jnp.isfinite(move), move, 0)
        dX, dS = matrix(move), matrix(M @ move + rest)
        along = jnp.minimum(_max_step(X, dX), _max_step(S, dS))
        X, S = X + along * dX, S + along * dS
        distance = jnp.max(jnp.abs(coordinates(matrix(M @ coordinates(X)) + Q - S)))
        gap = jnp.vdot(X, S) / k + distance
        return X, S, gap, taken + 1

    start = one, 2 * one, jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32)
    with jax.default_matmul_precision("highest"):
        X, _, _, taken = jax.lax.while_loop(cond_fun, body_fun, start)
        S = matrix(M @ coordinates(X)) + Q
        values, vectors = jacobi_eigh.eigh(X - S)
        nearest = vectors @ (jnp.maximum(values, 0)[:, None] * vectors.T)
    distance = jnp.linalg.norm(X - nearest)
    residual = distance / (1 + jnp.linalg.norm(X) + jnp.linalg.norm(S))
    idle = _lowest_pivot(Q) > 0
    X, residual = jax.tree.map(lambda a: jnp.where(idle, 0, a), (X, residual))
    return ComplementaritySolution(X * (size_Q / size_M), residual, taken)


def _max_step(A, step):
    """Return a t up to which A + t step is positive definite: the largest of 1, 0.8, 0.64, ...

    `A` is positive definite; pivots of an elimination say whether a matrix is.
    """
    tried = jnp.asarray(BACK * 0.8 ** np.arange(40), A.dtype)
    lowest = jax.vmap(lambda t: _lowest_pivot(A + t / BACK * step))(tried)
    return jnp.max(jnp.where(lowest > 0, tried, 0))


def _lowest_pivot(A):
    """Return the lowest pivot of Gauss's elimination, above 0 exactly if A is positive definite."""
    pivots = []
    for _ in range(len(A)):
        pivot = A[0, 0]
        pivots.append(pivot)
        safe = jnp.where(pivot > 0, pivot, 1)
        A = A[1:, 1:] - A[1:, :1] * A[:1, 1:] / safe
    return jnp.min(jnp.stack(pivots))
