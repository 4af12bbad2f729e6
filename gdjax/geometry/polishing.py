"""From where a descent stopped to the critical point next to it, so that it can be told what it is.

    H p = -g within |p| <= radius,   w <- w + p if the cost fell as g and H had promised

A descent's gradient shrinks slowly at the end; Newton's step makes it vanish, to rounding. The
simplest instance:

>>> valley = lambda w: w[0] ** 2 + 100 * w[1] ** 2
>>> found = polish(valley, jnp.array([0.05, 0.001]))
>>> bool(found.gradient_norm <= 1e-6), int(found.steps)
(True, 1)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from gdjax.errors import InputError
from gdjax.geometry.derivatives import value_and_gradient
from gdjax.geometry.products import dense, flat_product, raveled
from gdjax.geometry.spectrum import DENSE

RADIUS = 0.1  # of the first step: short, since the point beside this one is looked for
INNER = 200  # products for one step, at most


class Polished(NamedTuple):
    """Where polishing ended.

    Args:
        params: the point.
        cost: there.
        gradient_norm: there; above the tolerance if it was not reached.
        steps: how many were tried.
    """

    params: PyTree
    cost: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    steps: Int[Array, ""]


class _Downhill(NamedTuple):
    w: Float[Array, " n"]
    cost: Float[Array, ""]
    g: Float[Array, " n"]
    radius: Float[Array, ""]
    steps: Int[Array, ""]


def polish(
    cost: Callable,
    params: PyTree,
    data: PyTree = None,
    *,
    steps: int = 100,
    tolerance: ScalarLike = 1e-6,
) -> Polished:
    """Downhill to the critical point beside this one, by Newton's method in a trust region.

    Each step solves H p = -g by conjugate gradients, which stop at the region's edge and follow a
    direction that bends down as far as that; so it leaves saddles, unless it starts on one. The
    first step is at most 0.1 long. Where the change of the cost drowns in rounding, it is taken
    from the gradients at both ends, -(g + g') p / 2.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: where the descent stopped.
        data: a pytree of arrays with a leading sample axis, or None.
        steps: at most so many, with up to 200 products each.
        tolerance: norm of the gradient at which it ends; 1e-6 suits float32, 1e-10 float64.

    Returns:
        The point; where rounding, a cost that has no minimum, or `steps` ended it before, the
        gradient's norm says so.

    Source: Steihaug 1983; Nocedal and Wright, *Numerical Optimization* (2006), algorithm 7.2; for
    rounding, Hager and Zhang 2005.
    """
    flat, unravel = raveled(params)
    eps = jnp.finfo(flat.dtype).eps
    at = _flat_gradient(cost, unravel, data)
    start = at(flat)
    first = jnp.linalg.norm(start[1])

    def going_on(state):
        size = jnp.linalg.norm(state.g)
        moving = state.radius > eps * jnp.linalg.norm(state.w)
        return (size > tolerance) & (state.steps < steps) & moving & jnp.isfinite(size)

    def step(state):
        size = jnp.linalg.norm(state.g)
        product = flat_product(cost, unravel(state.w), data)
        precise = size * jnp.minimum(0.1, jnp.sqrt(size / first))
        p, bent = _steihaug(product, state.g, state.radius, jnp.maximum(precise, tolerance / 10))
        promised = -(state.g @ p + p @ bent / 2)
        value, g = at(state.w + p)
        fell = jnp.where(
            promised > 100 * eps * jnp.abs(state.cost),
            state.cost - value,
            -(state.g + g) @ p / 2,
        )
        kept = jnp.where(promised > 0, fell / promised, -1.0)
        better = (kept > 1e-4) & jnp.all(jnp.isfinite(g)) & jnp.isfinite(value)
        length = jnp.linalg.norm(p)
        radius = jnp.where(
            better & (kept > 0.75) & (length > 0.9 * state.radius),
            2 * state.radius,
            jnp.where(better & (kept > 0.25), state.radius, length / 4),
        )
        return _Downhill(
            jnp.where(better, state.w + p, state.w),
            jnp.where(better, value, state.cost),
            jnp.where(better, g, state.g),
            radius,
            state.steps + 1,
        )

    end = jax.lax.while_loop(
        going_on,
        step,
        _Downhill(flat, *start, jnp.full_like(first, RADIUS), jnp.zeros((), jnp.int32)),
    )
    return Polished(unravel(end.w), end.cost, jnp.linalg.norm(end.g), end.steps)


def nearest_critical_point(
    cost: Callable,
    params: PyTree,
    data: PyTree = None,
    *,
    steps: int = 100,
    tolerance: ScalarLike = 1e-6,
) -> Polished:
    """To a critical point near by, be it minimum, maximum or saddle, for small problems.

        (H^2 + damping I) p = -H g,   which makes |g| fall

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: where to start, at most 512 parameters.
        data: a pytree of arrays with a leading sample axis, or None.
        steps: at most so many.
        tolerance: norm of the gradient at which it ends.

    Returns:
        The point; its gradient's norm stays above the tolerance where |g| has a minimum that is
        not zero.

    Raises:
        InputError: more parameters than that.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[0] * w[1] ** 3
        >>> found = nearest_critical_point(saddle, jnp.array([0.1, -0.1]))
        >>> bool(jnp.max(jnp.abs(found.params)) < 1e-5)
        True

    Source: Levenberg 1944, Marquardt 1963, for the equations g(w) = 0.
    """
    flat, unravel = raveled(params)
    if flat.size > DENSE:
        raise InputError(
            f"nearest_critical_point: {flat.size} parameters, expected at most {DENSE}; `polish` "
            f"goes downhill from any number of them"
        )
    at = _flat_gradient(cost, unravel, data)
    eps = jnp.finfo(flat.dtype).eps

    def going_on(state):
        _, _, g, damping, count = state
        size = jnp.linalg.norm(g)
        return (size > tolerance) & (count < steps) & jnp.isfinite(size) & (damping < 1 / eps)

    def step(state):
        w, value, g, damping, count = state
        with jax.default_matmul_precision("highest"):
            values, vectors = jnp.linalg.eigh(dense(flat_product(cost, unravel(w), data), w))
            bend = values**2 + damping * jnp.max(values**2)
            p = -vectors @ (values / jnp.where(bend > 0, bend, 1) * (vectors.T @ g))
        value_next, g_next = at(w + p)
        better = jnp.linalg.norm(g_next) < jnp.linalg.norm(g)
        return (
            jnp.where(better, w + p, w),
            jnp.where(better, value_next, value),
            jnp.where(better, g_next, g),
            damping * jnp.where(better, 0.1, 10),
            count + 1,
        )

    value, g = at(flat)
    w, value, g, _, count = jax.lax.while_loop(
        going_on, step, (flat, value, g, jnp.full_like(value, 1e-3), jnp.zeros((), jnp.int32))
    )
    return Polished(unravel(w), value, jnp.linalg.norm(g), count)


def _flat_gradient(cost, unravel, data):
    """Cost and gradient as functions of a vector."""

    def at(w):
        value, gradient = value_and_gradient(cost, unravel(w), data=data)
        return value.astype(w.dtype), ravel_pytree(gradient)[0]

    return at


def _steihaug(product, g, radius, precise):
    """H p = -g by conjugate gradients, to |H p + g| <= precise or the edge; p and H p."""
    most = min(INNER, 2 * g.size + 10)

    def going_on(state):
        _, _, _, _, done, count = state
        return ~done & (count < most)

    def step(state):
        p, bent, r, d, _, count = state
        image = product(d)
        curvature = d @ image
        length = r @ r / jnp.where(curvature > 0, curvature, 1)
        over = (curvature <= 0) | (jnp.linalg.norm(p + length * d) >= radius)
        # |p + length d| = radius; p is shorter than that.
        a, b, c = d @ d, p @ d, radius**2 - p @ p
        edge = c / (b + jnp.sqrt(jnp.maximum(b**2 + a * c, 0)))
        length = jnp.where(over, edge, length)
        r_next = r + length * image
        d_next = -r_next + (r_next @ r_next) / (r @ r) * d
        done = over | (jnp.linalg.norm(r_next) <= precise)
        return p + length * d, bent + length * image, r_next, d_next, done, count + 1

    zero = jnp.zeros_like(g)
    begin = (zero, zero, g, -g, jnp.array(False), jnp.zeros((), jnp.int32))
    p, bent, *_ = jax.lax.while_loop(going_on, step, begin)
    return p, bent
