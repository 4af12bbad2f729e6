"""Whether the cost stays the same along a direction without curvature.

    w <- w + step t,   then p with P H P p = -P g,   w <- w + p,   P = I - t t^T

The direction t is followed, and all other directions are minimized to where the gradient vanishes:
on a floor, a manifold of minima, the cost is the same there; in a valley that rises or falls it is
not. The simplest instance is (1 - x y)^2 / 2, whose floor is the hyperbola x y = 1:

>>> from gdjax.curvature.directional_derivatives import directional_derivatives
>>> from gdjax.problems.problem import as_problem
>>> valley = as_problem(lambda w: (1 - w[0] * w[1]) ** 2 / 2)
>>> at = directional_derivatives(valley, lambda w: w)
>>> w, t = jnp.ones(2), jnp.array([1.0, -1.0]) / 2**0.5
>>> float(follow(at, w, *at.gradient(w), t, scale=jnp.array(2.0)))
1.0
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, ScalarLike

from gdjax.curvature.directional_derivatives import DirectionalDerivatives

STEPS = 8  # along the direction
STEP = 0.125  # in the units of the parameters
CORRECTIONS = 4  # of Newton's method across it, a step
INNER = 40  # products for one correction, at most
ALLOWED = 200  # units of rounding by which cost and gradient may differ
DIGITS = 4  # units in the last place of a parameter by which points are displaced
SIGNIFICANT = 4  # a slope must be so much larger than its changes in the last digits
HALVINGS = 12  # of the distance up to which a straight line is followed


def follow(
    at: DirectionalDerivatives,
    w: Float[Array, " n"],
    cost: Float[Array, ""],
    g: Float[Array, " n"],
    direction: Float[Array, " n"],
    *,
    scale: ScalarLike,
    wanted: Bool[Array, ""] | bool = True,
) -> Float[Array, ""]:
    """Return how far from w the cost stays the same, at most 1 in the units of the parameters.

    It stays the same while its change is at most 200 eps (|C| + scale max(1, |w|)) and its slope
    along the path is not beyond rounding.

    Args:
        at: derivatives of the cost.
        w: where to begin, a critical point.
        cost: there.
        g: the gradient there.
        direction: of length 1; -direction is another one.
        scale: largest |eigenvalue| of the Hessian at w, of which rounding is a multiple.
        wanted: whether to follow it; the result is 0 otherwise.
    """
    eps = jnp.finfo(w.dtype).eps
    size = jnp.maximum(1, jnp.max(jnp.abs(w)))
    rise = ALLOWED * eps * (jnp.abs(cost) + scale * size)
    level_below = 1e3 * eps * scale
    slope = ALLOWED * eps * scale * size + 4 * jnp.linalg.norm(g)

    def cond_fun(state):
        *_, level, steps, _ = state
        return level & (steps < STEPS)

    # One gradient a turn, for corrections and for the look that follows them: written once, since
    # compiling it takes longer than all of this.
    def body_fun(state):
        point, before, t, rounding, _, steps, turn = state
        value, slope_here, changes = _with_changes(at, point)
        looked = turn == CORRECTIONS
        moved = point - before
        length = jnp.linalg.norm(moved)
        along = moved / jnp.where(length > 0, length, 1)
        # What is left across the path counts as far as the path turns.
        turned = jnp.linalg.norm(along - t) * jnp.max(jnp.linalg.norm(changes, axis=1))
        rounding = jnp.maximum(
            rounding, jnp.where(looked, _slope_rounding(along, changes) + turned, 0)
        )
        allowed = rounding + 16 * eps * jnp.linalg.norm(slope_here)
        changes_on = jnp.abs(along @ slope_here) > allowed
        small = (jnp.abs(value - cost) <= rise) & (jnp.linalg.norm(slope_here) <= slope)
        same = small & ~changes_on
        level = ~looked | (same & (length <= 2 * STEP))
        corrected = point + _across(lambda v: at.product(point, v), slope_here, t, level_below)
        return (
            jnp.where(looked, point + STEP * along, corrected),
            jnp.where(looked, point, before),
            jnp.where(looked, along, t),
            rounding,
            level,
            steps + (looked & level),
            jnp.where(looked, 0, turn + 1),
        )

    zero = jnp.zeros((), jnp.int32)
    first = jnp.zeros((), w.dtype)
    begin = (w + STEP * direction, w, direction, first, jnp.asarray(wanted), zero, zero)
    *_, steps, _ = jax.lax.while_loop(cond_fun, body_fun, begin)
    return STEP * steps.astype(w.dtype)


def falls_first(
    at: DirectionalDerivatives,
    w: Float[Array, " n"],
    direction: Float[Array, " n"],
    *,
    wanted: Bool[Array, ""] | bool = True,
) -> Bool[Array, ""]:
    """Return whether the cost falls along a straight line before it rises.

    A straight line leaves a bent floor, and the cost rises. Where it falls instead, after it seemed
    to stay the same, the point lies on a plateau: as sigmoid(x) at x = 40, whose derivative is 0 in
    float64. The line is followed to max(1, |w|), in steps that double.

    Args:
        at: derivatives of the cost.
        w: where to begin.
        direction: of length 1.
        wanted: whether to follow it; the result is False otherwise.
    """
    eps = jnp.finfo(w.dtype).eps
    reach = jnp.maximum(1, jnp.linalg.norm(w))

    def cond_fun(state):
        halvings, rises, falls, _ = state
        return (halvings >= 0) & ~rises & ~falls

    def body_fun(state):
        halvings, _, _, rounding = state
        point = w + reach * 0.5**halvings * direction
        _, slope, changes = _with_changes(at, point)
        rounding = jnp.maximum(rounding, _slope_rounding(direction, changes))
        allowed = rounding + 16 * eps * jnp.linalg.norm(slope)
        along = slope @ direction
        return halvings - 1, along > allowed, along < -allowed, rounding

    first = jnp.where(wanted, HALVINGS, -1)
    no = jnp.zeros((), bool)
    begin = (first, no, no, jnp.zeros((), w.dtype))
    return jax.lax.while_loop(cond_fun, body_fun, begin)[2]


def _with_changes(at, point):
    """Return cost and gradient at a point, and the gradient's changes in the last digits."""
    # A cost that mixes coordinates rounds all of them like the largest.
    digits = DIGITS * jnp.finfo(point.dtype).eps * jnp.maximum(1, jnp.max(jnp.abs(point)))
    # Irregular signs, and others, so that not both displacements leave a steep direction out.
    signs = jnp.where(jnp.arange(point.size) * 0.6180339887 % 1 < 0.5, 1, -1).astype(point.dtype)
    others = signs * (1 - 2 * (jnp.arange(point.size) % 2)).astype(point.dtype)
    points = jnp.stack([point, point + digits * signs, point + digits * others])
    values, gradients = jax.vmap(at.gradient)(points)
    return values[0], gradients[0], gradients[1:] - gradients[:1]


def _slope_rounding(direction, changes):
    return SIGNIFICANT * jnp.max(jnp.abs(changes @ direction))


def _across(product, g, t, level_below):
    """Return the least p with P H P p = -P g, restricted to positive curvature of H."""

    def projected(v):
        return v - t * (t @ v)

    def cond_fun(state):
        *_, done, count = state
        return ~done & (count < INNER)

    def body_fun(state):
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
    return jax.lax.while_loop(cond_fun, body_fun, begin)[0]
