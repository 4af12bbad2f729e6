"""Coordinates in which a basin is round, for volumes and for Markov chains.

    w = w* + A z,   A^T (|H| + damping) A = 1

The simplest instance is a bowl whose axes differ by a factor of 100:

>>> bowl = lambda w: (w[0] ** 2 + 1e4 * w[1] ** 2) / 2
>>> scale = hessian_whitening(bowl, jnp.zeros(2), damping=0.0)
>>> jnp.sort(jnp.abs(scale.apply(jnp.ones(2)))).round(3).tolist()
[0.01, 1.0]
>>> round(float(scale.log_determinant), 3)
-4.605
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, ScalarLike

from gdjax.curvature.jacobi_eigh import eigh
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.problem import Problem
from gdjax.summaries import fields


class Whitening(NamedTuple):
    """A linear map w = A z of flat parameters, A = Q diag(scale).

    Args:
        scale: lengths of the new axes, above 0.
        axes: directions Q of the new axes, orthonormal columns; None means the identity.
    """

    scale: Float[Array, " n"]
    axes: Float[Array, "n n"] | None = None

    __repr__ = fields

    def apply(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A z."""
        return self.scale * z if self.axes is None else self.axes @ (self.scale * z)

    def transposed(self, w: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A^T w."""
        return self.scale * (w if self.axes is None else self.axes.T @ w)

    def solve(self, w: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A^-1 w."""
        return (w if self.axes is None else self.axes.T @ w) / self.scale

    @property
    def log_determinant(self) -> Float[Array, ""]:
        """The logarithm log |det A|, in nats."""
        return jnp.sum(jnp.log(self.scale))


def hessian_whitening(
    problem: Problem | Callable, params: PyTree, *, damping: ScalarLike, data: PyTree = None
) -> Whitening:
    """Return coordinates in which |H| + damping at a point is the identity.

        A = Q diag((|lambda| + damping)^(-1/2)),   H = Q diag(lambda) Q^T

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point, with at most a few thousand parameters, since the full Hessian is
            decomposed.
        damping: curvature added to all directions. For Markov chains, use
            localization / inverse temperature; for a volume, use 2 level / R^2 if R is the
            approximate extent of the basin.
        data: data that replace those of the problem.

    Raises:
        InputError: if the parameters are not real floats, or the cost is not a scalar.
    """
    values, axes = eigh(HessianOperator(problem, params, data=data).as_matrix())
    return Whitening((jnp.abs(values) + damping) ** -0.5, axes)


def mean_hessian_whitening(
    problem: Problem,
    unravel: Callable[[Float[Array, " n"]], PyTree],
    points: Float[Array, "points n"],
    *,
    damping: ScalarLike,
) -> Whitening:
    """Return coordinates in which the mean of |H| + damping is the identity.

        A = Q diag((h + damping)^(-1/2)),   mean of |H(w)| over points = Q diag(h) Q^T

    |H| has the absolute values of the eigenvalues of H. In a curved valley, directions that are
    flat at one point are steep at another, so coordinates from a single point would make the steps
    of chains too long at other points. Points whose Hessian is not finite are omitted.

    Args:
        problem: a Problem.
        unravel: function that converts a vector to parameters.
        points: parameters as vectors, one per row.
        damping: curvature added to all directions.
    """

    def absolute(point):
        matrix = HessianOperator(problem, unravel(point)).as_matrix()
        finite = jnp.all(jnp.isfinite(matrix))
        values, axes = eigh(jnp.where(finite, matrix, 0))
        return (axes * jnp.abs(values)[None]) @ axes.T, finite

    matrices, finite = jax.lax.map(absolute, points)
    values, axes = eigh(jnp.sum(matrices, axis=0) / jnp.maximum(jnp.sum(finite), 1))
    return Whitening((jnp.maximum(values, 0) + damping) ** -0.5, axes)
