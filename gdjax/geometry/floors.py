"""Whether the cost stays what it is along a direction in which it does not bend.

    w <- w + step t,   then p with P H P p = -P g,   w <- w + p,   P = I - t t^T

The direction t is followed, and everything across it goes downhill to where the gradient vanishes:
on a floor the cost is the same there, on a valley that rises it is not. The simplest instance is
(1 - x y)^2 / 2, whose floor is the hyperbola x y = 1:

>>> from gdjax.geometry.higher_orders import derivatives
>>> from gdjax.problems.problem import as_problem
>>> valley = as_problem(lambda w: (1 - w[0] * w[1]) ** 2 / 2)
>>> at = derivatives(valley, lambda w: w)
>>> w, t = jnp.ones(2), jnp.array([1.0, -1.0]) / 2**0.5
>>> float(follow(at, w, *at.gradient(w), t, scale=jnp.array(2.0)))
1.0
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, ScalarLike

from gdjax.geometry.higher_orders import Derivatives

STEPS = 8  # along the direction
STEP = 0.125  # in the units of the parameters
CORRECTIONS = 4  # of Newton's method across it, a step
INNER = 40  # products for one correction, at most
ALLOWED = 200  # units of rounding by which cost and gradient may differ


def follow(
    at: Derivatives,
    w: Float[Array, " n"],
    cost: Float[Array, ""],
    g: Float[Array, " n"],
    direction: Float[Array, " n"],
    *,
    scale: ScalarLike,
    wanted: Bool[Array, ""] | bool = True,
) -> Float[Array, ""]:
    """How far from w the cost stays the same, at most 1 in the units of the parameters.

    Args:
        at: derivatives of the cost.
        w: where to begin, a critical point.
        cost: there.
        g: the gradient there.
        direction: of length 1; -direction is another one.
        scale: largest |eigenvalue| of the Hessian at w, which says how much rounding can be.
        wanted: whether to look at all; 0 otherwise.
    """
    eps = jnp.finfo(w.dtype).eps
    size = jnp.maximum(1, jnp.max(jnp.abs(w)))
    rise = ALLOWED * eps * (jnp.abs(cost) + scale * size)
    level_below = 1e3 * eps * scale
    slope = ALLOWED * eps * scale * size + 4 * jnp.linalg.norm(g)

    def going_on(state):
        *_, level, steps, _ = state
        return level & (steps < STEPS)

    # One gradient a turn, for corrections and for the look that follows them: written once, since
    # compiling it takes longer than all of this.
    def advance(state):
        point, before, t, _, steps, turn = state
        value, slope_here = at.gradient(point)
        looked = turn == CORRECTIONS
        moved = point - before
        length = jnp.linalg.norm(moved)
        same = (jnp.abs(value - cost) <= rise) & (jnp.linalg.norm(slope_here) <= slope)
        level = ~looked | (same & (length <= 2 * STEP))
        along = moved / jnp.where(length > 0, length, 1)
        corrected = point + _across(lambda v: at.product(point, v), slope_here, t, level_below)
        return (
            jnp.where(looked, point + STEP * along, corrected),
            jnp.where(looked, point, before),
            jnp.where(looked, along, t),
            level,
            steps + (looked & level),
            jnp.where(looked, 0, turn + 1),
        )

    zero = jnp.zeros((), jnp.int32)
    begin = (w + STEP * direction, w, direction, jnp.asarray(wanted), zero, zero)
    *_, steps, _ = jax.lax.while_loop(going_on, advance, begin)
    return STEP * steps.astype(w.dtype)


def _across(product, g, t, level_below):
    """The least p with P H P p = -P g by conjugate gradients, as far as H bends up for certain."""

    def projected(v):
        return v - t * (t @ v)

    def going_on(state):
        *_, done, count = state
        return ~done & (count < INNER)

    def advance(state):
        p, r, d, _, count = state
        image = projected(product(d))
        curvature = d @ image
        squared = r @ r
        bends = curvature > level_below * (d @ d)
        length = jnp.where(bends, squared / jnp.where(bends, curvature, 1), 0)
        r_next = r + length * image
        d_next = -r_next + (r_next @ r_next) / jnp.where(squared > 0, squared, 1) * d
        done = ~bends | (r_next @ r_next <= limit)
        return p + length * d, r_next, d_next, done, count + 1

    r = projected(g)
    limit = jnp.finfo(g.dtype).eps * (r @ r)
    begin = (jnp.zeros_like(g), r, -r, r @ r == 0, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(going_on, advance, begin)[0]
