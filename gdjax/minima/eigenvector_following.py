"""Eigenvector following: from a point to a critical point of index 1.

    step along eigenvector i of H:   s_i 2 g_i / (|l_i| (1 + sqrt(1 + 4 (g_i / l_i)^2)))

The sign s_i is +1 along the followed eigenvector, up the slope, and -1 along all others, down the
slope. Near a critical point this is Newton's step. The followed eigenvector is the one with the
largest overlap with that of the step before, so a valley can be left along any of its directions.

At the end, an eigenvalue of the Hessian counts as positive or negative if it exceeds the error of
the solver. A saddle has index 1 if one eigenvalue is negative and all others are positive.

References: Cerjan and Miller 1981, *On finding transition states*; Wales 1994, *Rearrangements of
55-atom Lennard-Jones and (C60)55 clusters*.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from gdjax.curvature import eigensolvers
from gdjax.curvature.critical_points.polish import polish
from gdjax.curvature.directional_derivatives import DirectionalDerivatives, directional_derivatives
from gdjax.curvature.inertia import Inertia, dense_inertia
from gdjax.curvature.operators import FunctionOperator
from gdjax.landscape.slices import over_rows
from gdjax.problems.problem import Problem

MAX_STEPS = 150
NEWTON_STEPS = 12
STEP_RTOL = 1e-12  # length of a step at which iterations end, relative to max(1, |w|)
CONVERGED_RTOL = 1e-7  # longest last step of a converged iteration, relative to max(1, |w|)
WIDTH = 8  # number of rows in a slab; rows are repeated to fill the last one


class CriticalPoints(NamedTuple):
    """Critical points at which iterations ended, one per row.

    Args:
        point: flat parameters.
        cost: cost at the point.
        gradient_norm: norm of the gradient.
        index: number of eigenvalues that are negative beyond their error.
        nullity: number of eigenvalues whose sign is unknown, without dead coordinates.
        lowest: smallest eigenvalue.
        second: second smallest eigenvalue.
        error: largest error bound of the eigenvalues.
        direction: eigenvector of the smallest eigenvalue.
        converged: whether the last step was short.
    """

    point: Float[Any, "rows n"]
    cost: Float[Any, " rows"]
    gradient_norm: Float[Any, " rows"]
    index: Int[Any, " rows"]
    nullity: Int[Any, " rows"]
    lowest: Float[Any, " rows"]
    second: Float[Any, " rows"]
    error: Float[Any, " rows"]
    direction: Float[Any, "rows n"]
    converged: Bool[Any, " rows"]

    def row(self, number: int | np.integer) -> "CriticalPoints":
        """Return one of the points."""
        return CriticalPoints(*(values[number] for values in self))


class Landscape(NamedTuple):
    """A problem in flat coordinates, shared by the rows of all programs.

    Args:
        problem: problem whose deterministic cost is evaluated.
        example: parameters, for their structure.
        live: 1 at the coordinates on which the cost depends, 0 at dead ones.
    """

    problem: Problem
    example: PyTree
    live: Float[Any, " n"]

    def derivatives(self) -> DirectionalDerivatives:
        """Return the derivatives of the cost as functions of flat vectors."""
        return directional_derivatives(self.problem, ravel_pytree(self.example)[1])


def follow(
    landscape: Landscape,
    starts: Float[np.ndarray, "rows n"],
    directions: Float[np.ndarray, "rows n"],
    radii: Float[np.ndarray, " rows"],
) -> CriticalPoints:
    """Follow an eigenvector from each start to a critical point, up along it.

    Args:
        landscape: problem.
        starts: points from which to start.
        directions: the eigenvector with the largest overlap with it is followed.
        radii: length of the first step; it grows while the quadratic model holds.
    """
    return in_rows(_follow, (starts, directions, radii), landscape, "direction")


def polish_minima(landscape: Landscape, starts: Float[np.ndarray, "rows n"]) -> CriticalPoints:
    """Polish points to minima, down the slope and by Newton's method at the end."""
    return in_rows(_polish, starts, landscape, "minimum")


def in_rows(function: Callable, rows: PyTree, landscape: Landscape, unit: str) -> PyTree:
    """Return `function(row, landscape)` for each row, by one program for any number of rows."""
    count = len(jax.tree.leaves(rows)[0])
    index = np.minimum(np.arange(-(-count // WIDTH) * WIDTH), count - 1)
    filled = jax.tree.map(lambda a: np.asarray(a)[index], rows)
    devices = jax.local_devices()[:1]
    results = over_rows(function, filled, landscape, width=WIDTH, devices=devices, unit=unit)
    return jax.tree.map(lambda a: a[:count], results)


def _follow(run, landscape):
    start, direction, radius = run
    at = landscape.derivatives()

    def cond_fun(state):
        _, _, _, radius, length, count = state
        return (count < MAX_STEPS) & jnp.isfinite(length) & (radius > 0)

    def body_fun(state):
        w, g, direction, radius, _, count = state
        values, vectors = eigensolvers.eigh(_hessian(at, w))
        along = vectors.T @ g
        mode = jnp.argmax(jnp.abs(vectors.T @ direction))
        sign = jnp.where(jnp.arange(w.size) == mode, 1.0, -1.0)
        size = jnp.abs(values)
        scale = size + jnp.sqrt(size**2 + 4 * along**2)
        parts = sign * 2 * along / jnp.where(scale > 0, scale, 1)
        length = jnp.linalg.norm(parts)
        parts = parts * jnp.minimum(1, radius / jnp.maximum(length, 1e-300))
        expected = g + vectors @ (values * parts)
        w_next = w + vectors @ parts
        g_next = at.gradient(w_next)[1]
        miss = jnp.linalg.norm(g_next - expected) / jnp.maximum(
            jnp.linalg.norm(expected - g), 1e-300
        )
        better = jnp.isfinite(miss) & (miss < 3)
        factor = jnp.where(miss < 0.25, 1.5, jnp.where(miss < 0.75, 1.0, 0.5))
        w_next, g_next = (jnp.where(better, new, old) for new, old in ((w_next, w), (g_next, g)))
        radius = radius * jnp.where(better, factor, 0.25)
        # A radius of zero ends the loop.
        done = better & (length <= STEP_RTOL * _scale(w))
        radius = jnp.where(done, 0.0, radius)
        return w_next, g_next, vectors[:, mode], radius, length, count + 1

    zero = jnp.zeros((), jnp.int32)
    first = (start, at.gradient(start)[1], direction, radius, jnp.zeros_like(radius), zero)
    w = jax.lax.while_loop(cond_fun, body_fun, first)[0]
    return critical_point(at, w, landscape.live)


def _polish(start, landscape):
    at = landscape.derivatives()
    unravel = ravel_pytree(landscape.example)[1]
    polished = polish(landscape.problem, unravel(start), max_steps=200)
    w, _ = newton(at, ravel_pytree(polished.params)[0])
    return critical_point(at, w, landscape.live)


def newton(at: DirectionalDerivatives, w: Float[Array, " n"]) -> tuple[Array, Array]:
    """Return the end point of a few Newton steps, and the length of the last one.

    A step that is longer than 0.1 max(1, |w|) is shortened.
    """

    def step(state, _):
        w, _ = state
        values, vectors = eigensolvers.eigh(_hessian(at, w))
        floor = 1e-12 * jnp.max(jnp.abs(values))
        inverse = jnp.where(jnp.abs(values) > floor, 1 / values, 0)
        p = -vectors @ (inverse * (vectors.T @ at.gradient(w)[1]))
        length = jnp.linalg.norm(p)
        return (w + p * jnp.minimum(1, 0.1 * _scale(w) / jnp.maximum(length, 1e-300)), length), None

    return jax.lax.scan(step, (w, jnp.zeros_like(w[0])), length=NEWTON_STEPS)[0]


def critical_point(
    at: DirectionalDerivatives, w: Float[Array, " n"], live: Float[Array, " n"]
) -> CriticalPoints:
    """Return a point with its index, and whether Newton's step from it is short."""
    cost, g = at.gradient(w)
    here = inertia(at, w, live)
    step = jnp.linalg.norm(here.pseudoinverse(g))
    # What the step cannot remove lies along directions of unknown curvature.
    converged = (step <= CONVERGED_RTOL * _scale(w)) & jnp.isfinite(cost)
    order = jnp.argsort(jnp.where(here.known, here.values, jnp.inf))
    values = jnp.append(here.values[order], jnp.nan)
    return CriticalPoints(
        point=w,
        cost=cost,
        gradient_norm=jnp.linalg.norm(g),
        index=jnp.sum(here.negative).astype(jnp.int32),
        nullity=here.nullity.astype(jnp.int32),
        lowest=values[0],
        second=values[1],
        error=jnp.max(jnp.where(here.known, here.error_bound, 0)),
        direction=here.vectors[:, order[0]],
        converged=converged,
    )


def inertia(at: DirectionalDerivatives, w: Float[Array, " n"], live: Float[Array, " n"]) -> Inertia:
    """Return the eigenpairs of the Hessian with errors, which include those of the point."""
    eps = jnp.finfo(w.dtype).eps
    offset = 8 * eps * jnp.maximum(1, jnp.abs(w)) * (1 - 2 * (jnp.arange(w.size) % 2))
    change = jnp.linalg.norm(_hessian(at, w + offset) - _hessian(at, w))
    operator = FunctionOperator(partial(at.product, w), w)
    return dense_inertia(operator, live, change, float(eps))


def _hessian(at, w):
    """Return the Hessian from its products with all unit vectors."""
    matrix = jax.vmap(at.product, (None, 0))(w, jnp.eye(w.size, dtype=w.dtype))
    return (matrix + matrix.T) / 2


def _scale(w):
    return jnp.maximum(1, jnp.linalg.norm(w))
