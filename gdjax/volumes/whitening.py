"""Coordinates in which a basin is round, for volumes and for Markov chains.

    w = w* + A z,   A^T (|H| + floor) A = 1

The simplest instance, a bowl that is 100 times as steep one way as the other:

>>> bowl = lambda w: (w[0] ** 2 + 1e4 * w[1] ** 2) / 2
>>> scale = whitened(bowl, jnp.zeros(2), floor=0.0)
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
    """A linear map w = A z of flat parameters, A = Q diag(scale); Q is the identity where None.

    Args:
        scale: lengths of the new axes, above 0.
        axes: their directions, orthonormal columns.
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
        """log |det A|, in nats."""
        return jnp.sum(jnp.log(self.scale))


def whitened(
    problem: Problem | Callable, params: PyTree, *, floor: ScalarLike, data: PyTree = None
) -> Whitening:
    """Return coordinates in which the curvature at a point is that of the unit ball.

        A = Q diag((|lambda| + floor)^(-1/2)),   H = Q diag(lambda) Q^T

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point, of at most a few thousand parameters: the whole Hessian is decomposed.
        floor: curvature that the flattest direction is taken to have. For chains of draws,
            localization / inverse temperature; for a volume, 2 level / R^2 if the basin reaches
            about as far as R.
        data: instead of the problem's own.

    Raises:
        InputError: parameters that are not real floats, a cost that is not a scalar.
    """
    values, axes = eigh(HessianOperator(problem, params, data=data).as_matrix())
    return Whitening((jnp.abs(values) + floor) ** -0.5, axes)


def whitened_on_average(
    problem: Problem,
    unravel: Callable[[Float[Array, " n"]], PyTree],
    points: Float[Array, "points n"],
    *,
    floor: ScalarLike,
) -> Whitening:
    """Return coordinates in which the mean curvature over several points is that of the unit ball.

        A = Q diag((h + floor)^(-1/2)),   mean of |H(w)| over points = Q diag(h) Q^T

    |H| has the absolute eigenvalues of H. In a valley that is curved, directions that are flat at
    one point are steep at another, so that coordinates of a single point would let chains take
    steps there that are too long. Points whose Hessian is not finite are left out.

    Args:
        problem: a Problem.
        unravel: from a vector to parameters.
        points: vectors of parameters.
        floor: curvature added to all directions.
    """

    def absolute(point):
        matrix = HessianOperator(problem, unravel(point)).as_matrix()
        finite = jnp.all(jnp.isfinite(matrix))
        values, axes = eigh(jnp.where(finite, matrix, 0))
        return (axes * jnp.abs(values)[None]) @ axes.T, finite

    matrices, finite = jax.lax.map(absolute, points)
    values, axes = eigh(jnp.sum(matrices, axis=0) / jnp.maximum(jnp.sum(finite), 1))
    return Whitening((jnp.maximum(values, 0) + floor) ** -0.5, axes)
