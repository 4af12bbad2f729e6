"""Distance along a flat direction over which the cost is constant.

    w <- w + step t,   then p with P H P p = -P g,   w <- w + p,   P = I - t t^T

The path follows the direction t. After each step, four corrections p by Newton's method minimize
the cost over the directions orthogonal to t. On a manifold of minima the cost is constant along the
path; in a valley that rises or falls it is not.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, ScalarLike

from gdjax.curvature.directional_derivatives import DirectionalDerivatives

MAX_STEPS = 8  # maximum number of steps along the direction
STEP = 0.125  # length of a step, in units of the parameters
CORRECTIONS = 4  # number of corrections by Newton's method across the direction, per step
MAX_CG_STEPS = 40  # maximum number of products for one correction
ALLOWED_ROUNDING = 200  # number of units of rounding by which cost and gradient may change
DIGITS = 4  # number of units in the last place by which each parameter is displaced
SIGNIFICANT = 4  # factor by which a significant slope exceeds its changes in the last digits
HALVINGS = 12  # number of halvings of the largest distance that give the first step


def constant_length(
    at: DirectionalDerivatives,
    w: Float[Array, " n"],
    cost: Float[Array, ""],
    g: Float[Array, " n"],
    direction: Float[Array, " n"],
    *,
    scale: ScalarLike,
    enabled: Bool[Array, ""] | bool = True,
) -> Float[Array, ""]:
    """Return the distance from w over which the cost is constant, at most 1.

    The distance is in units of the parameters. The cost counts as constant while its change is at
    most 200 eps (|C| + scale max(1, max |w_i|)), with the largest |eigenvalue| of the Hessian at w
    as `scale`, and its gradient and its slope along the path are within rounding.

    Examples:
        The minima of (1 - x y)^2 / 2 are the hyperbola x y = 1:

        >>> from gdjax.curvature.directional_derivatives import directional_derivatives
        >>> from gdjax.problems.problem import as_problem
        >>> valley = as_problem(lambda w: (1 - w[0] * w[1]) ** 2 / 2)
        >>> at = directional_derivatives(valley, lambda w: w)
        >>> w, t = jnp.ones(2), jnp.array([1.0, -1.0]) / 2**0.5
        >>> float(constant_length(at, w, *at.gradient(w), t, scale=jnp.array(2.0)))
        1.0
    """
    eps = jnp.finfo(w.dtype).eps
    size = jnp.maximum(1, jnp.max(jnp.abs(w)))
    max_change = ALLOWED_ROUNDING * eps * (jnp.abs(cost) + scale * size)
    min_curvature = 1e3 * eps * scale
    max_gradient = ALLOWED_ROUNDING * eps * scale * size + 4 * jnp.linalg.norm(g)

    def cond_fun(state):
        *_, is_constant, steps, _ = state
        return is_constant & (steps < MAX_STEPS)

    # Each iteration evaluates one gradient, for a correction or for the check that follows the
    # corrections. The evaluation occurs only once in the program, since it takes the longest to
    # compile.
    def body_fun(state):
        point, previous, t, rounding, _, steps, correction = state
        value, gradient, changes = _with_changes(at, point)
        is_check = correction == CORRECTIONS
        displacement = point - previous
        length = jnp.linalg.norm(displacement)
        along = displacement / jnp.where(length > 0, length, 1)
        # The gradient across the path contributes in proportion to the change of direction of the
        # path.
        turn_rounding = jnp.linalg.norm(along - t) * jnp.max(jnp.linalg.norm(changes, axis=1))
        rounding = jnp.maximum(
            rounding, jnp.where(is_check, _slope_rounding(along, changes) + turn_rounding, 0)
        )
        max_slope = rounding + 16 * eps * jnp.linalg.norm(gradient)
        has_slope = jnp.abs(along @ gradient) > max_slope
        is_small = (jnp.abs(value - cost) <= max_change) & (
            jnp.linalg.norm(gradient) <= max_gradient
        )
        is_same = is_small & ~has_slope
        is_constant = ~is_check | (is_same & (length <= 2 * STEP))
        corrected = point + _across(lambda v: at.product(point, v), gradient, t, min_curvature)
        return (
            jnp.where(is_check, point + STEP * along, corrected),
            jnp.where(is_check, point, previous),
            jnp.where(is_check, along, t),
            rounding,
            is_constant,
            steps + (is_check & is_constant),
            jnp.where(is_check, 0, correction + 1),
        )

    zero = jnp.zeros((), jnp.int32)
    no_rounding = jnp.zeros((), w.dtype)
    first = (w + STEP * direction, w, direction, no_rounding, jnp.asarray(enabled), zero, zero)
    *_, steps, _ = jax.lax.while_loop(cond_fun, body_fun, first)
    return STEP * steps.astype(w.dtype)


def falls_first(
    at: DirectionalDerivatives,
    w: Float[Array, " n"],
    direction: Float[Array, " n"],
    *,
    enabled: Bool[Array, ""] | bool = True,
) -> Bool[Array, ""]:
    """Return whether the cost falls along a straight line before it rises.

    A straight line leaves a curved manifold of minima, so the cost rises. If it falls instead after
    it seemed constant, the point lies on a plateau, such as sigmoid(x) at x = 40, whose derivative
    is 0 in float64. The cost is evaluated up to a distance of max(1, |w|), at distances that
    double. The result is False if the line is not followed (`enabled`).
    """
    eps = jnp.finfo(w.dtype).eps
    reach = jnp.maximum(1, jnp.linalg.norm(w))

    def cond_fun(state):
        halvings, rises, falls, _ = state
        return (halvings >= 0) & ~rises & ~falls

    def body_fun(state):
        halvings, _, _, rounding = state
        point = w + reach * 0.5**halvings * direction
        _, gradient, changes = _with_changes(at, point)
        rounding = jnp.maximum(rounding, _slope_rounding(direction, changes))
        max_slope = rounding + 16 * eps * jnp.linalg.norm(gradient)
        slope = gradient @ direction
        return halvings - 1, slope > max_slope, slope < -max_slope, rounding

    first_halvings = jnp.where(enabled, HALVINGS, -1)
    no = jnp.zeros((), bool)
    first = (first_halvings, no, no, jnp.zeros((), w.dtype))
    return jax.lax.while_loop(cond_fun, body_fun, first)[2]


def _with_changes(at, point):
    """Return the cost, the gradient, and its changes when the last digits change."""
    # If the cost couples coordinates, all of them have the rounding error of the largest.
    digits = DIGITS * jnp.finfo(point.dtype).eps * jnp.maximum(1, jnp.max(jnp.abs(point)))
    # Use two irregular patterns of signs, so that at least one of them detects a steep direction.
    signs = jnp.where(jnp.arange(point.size) * 0.6180339887 % 1 < 0.5, 1, -1).astype(point.dtype)
    alternating_signs = signs * (1 - 2 * (jnp.arange(point.size) % 2)).astype(point.dtype)
    points = jnp.stack([point, point + digits * signs, point + digits * alternating_signs])
    values, gradients = jax.vmap(at.gradient)(points)
    return values[0], gradients[0], gradients[1:] - gradients[:1]


def _slope_rounding(direction, changes):
    return SIGNIFICANT * jnp.max(jnp.abs(changes @ direction))


def _across(product, g, t, min_curvature):
    """Return the shortest p with P H P p = -P g, on directions of positive curvature."""

    def projected(v):
        return v - t * (t @ v)

    def cond_fun(state):
        *_, done, count = state
        return ~done & (count < MAX_CG_STEPS)

    def body_fun(state):
        p, r, d, _, count = state
        image = projected(product(d))
        curvature = d @ image
        squared = r @ r
        is_curved = curvature > min_curvature * (d @ d)
        length = jnp.where(is_curved, squared / jnp.where(is_curved, curvature, 1), 0)
        r_next = r + length * image
        d_next = -r_next + (r_next @ r_next) / jnp.where(squared > 0, squared, 1) * d
        done = ~is_curved | (r_next @ r_next <= limit)
        return p + length * d, r_next, d_next, done, count + 1

    r = projected(g)
    limit = jnp.finfo(g.dtype).eps * (r @ r)
    first = (jnp.zeros_like(g), r, -r, r @ r == 0, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(cond_fun, body_fun, first)[0]
