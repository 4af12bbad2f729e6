"""Polishing of an end point to a nearby critical point, usually a minimum.

    H p = -g within |p| <= radius,   w <- w + p if C falls by over 1e-4 of the predicted decrease

Near its end, a descent reduces the gradient slowly, whereas Newton's method reduces it to the
level of rounding error. In float32 the final gradient norm is about 1e-4, which is often too large
for a classification, so pass float64 parameters if the kind of the point matters.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from gdjax.base.arguments import check_limits, is_traced
from gdjax.base.limits import NotNegative, Whole
from gdjax.base.reprs import fields_with
from gdjax.base.slabs import RecentlyUsed
from gdjax.base.status import Status
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.problems.checks import check_params, in_own_precision, ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

FIRST_RADIUS = 0.1  # radius of the first step, small so that the nearest critical point is reached
MAX_CG_STEPS = 200  # maximum number of products per step
ATOL = {jnp.dtype("float64"): 1e-10}  # gradient norm at which polishing ends, by type
ATOL_OTHERWISE = 1e-6


class PolishStatus(Status):
    """Reason why polishing ended.

    - CONVERGED: the gradient norm is at most `atol`.
    - MAX_STEPS_REACHED: the gradient norm is above `atol` after `max_steps` steps. If parameters
      keep growing with more steps, the minimum lies at infinity, and weight decay makes it finite.
    - LIMITED_BY_ROUNDING: rounding hides the direction in which the cost falls. Pass float64
      parameters (or scale the cost), or raise `atol`; at a kink of the cost no gradient is small.
    - NOT_FINITE: the gradient is not finite at the starting point: the descent diverged.
    """

    CONVERGED = 0
    MAX_STEPS_REACHED = 1
    LIMITED_BY_ROUNDING = 2
    NOT_FINITE = 3


class Polished(NamedTuple):
    """Result of polishing.

    Args:
        params: parameters of the polished point.
        cost: cost at the point.
        gradient_norm: gradient norm at the point; above `atol` if polishing did not converge.
        num_steps: number of steps tried.
        status: a `PolishStatus`.
    """

    params: PyTree
    cost: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_steps: Int[Array, ""]
    status: Int[Array, ""]

    __repr__, _repr_html_ = fields_with(status=PolishStatus)


class _State(NamedTuple):
    w: Float[Array, " n"]
    cost: Float[Array, ""]
    g: Float[Array, " n"]
    radius: Float[Array, ""]
    num_steps: Int[Array, ""]


def polish(
    problem: Problem | Callable,
    params: PyTree,
    *,
    max_steps: int = 100,
    atol: ScalarLike | None = None,
) -> Polished:
    """Polish an end point to a nearby critical point by a trust-region method.

    Each step solves H p = -g by conjugate gradients, which stop at the boundary of the trust region
    and follow a direction of negative curvature up to it. The iteration therefore leaves saddles,
    unless it starts on one. The length of the first step is at most 0.1. If rounding hides the
    decrease of the cost, it is computed from the gradients at both ends, -(g + g') p / 2.

    The function can be jitted and mapped. Parameters in float64 are evaluated in float64 even if
    x64 mode is disabled in JAX. The result then contains NumPy values.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: parameters at which the descent stopped.
        max_steps: maximum number of steps, each with up to 200 Hessian-vector products.
        atol: gradient norm at or below which polishing ends; None for 1e-10 in float64, 1e-6
            otherwise.

    Returns:
        The polished point, in the types of `params`.

    Examples:
        >>> import numpy as np
        >>> valley = lambda w: w[0] ** 2 + 100 * w[1] ** 2
        >>> polished = polish(valley, np.array([0.05, 0.001]))
        >>> bool(polished.gradient_norm <= 1e-10), int(polished.num_steps)
        (True, 1)
        >>> PolishStatus(int(polished.status)).name
        'CONVERGED'

        SciPy finds critical points of any kind, such as the saddle of this cost:

        >>> from scipy import optimize
        >>> cost = lambda w: w[0] ** 2 - w[1] ** 2 + w[0] * w[1] ** 3
        >>> start, hessian = np.array([0.1, -0.1]), jax.hessian(cost)
        >>> saddle = optimize.root(jax.grad(cost), start, jac=hessian, method="lm")
        >>> bool(np.max(np.abs(saddle.x)) < 1e-5)
        True

    References: Steihaug 1983; Nocedal and Wright, *Numerical Optimization* (2006), algorithm 7.2;
    for rounding, Hager and Zhang 2005.
    """
    problem = problem_at(problem, params)
    check_limits("polish: max_steps", max_steps, Whole)
    if atol is not None:
        check_limits("polish: atol", atol, NotNegative)
        atol = float(atol) if isinstance(atol, int) else atol  # JAX's integers have 32 bits
    check_params(params)
    options = {"max_steps": max_steps, "atol": atol}
    if any(map(is_traced, jax.tree.leaves((params, problem.data, atol)))):
        return _polish(problem, params, **options)
    return in_own_precision(params, partial(_compiled, problem, params, **options))


def _polish(problem, params, *, max_steps, atol):
    flat, unravel = ravel_params(params)
    atol = ATOL.get(flat.dtype, ATOL_OTHERWISE) if atol is None else atol
    eps = jnp.finfo(flat.dtype).eps
    at = directional_derivatives(problem, unravel)
    cost, g = at.gradient(flat)
    first = jnp.linalg.norm(g)

    def cond_fun(state):
        size = jnp.linalg.norm(state.g)
        moving = state.radius > eps * jnp.linalg.norm(state.w)
        return (size > atol) & (state.num_steps < max_steps) & moving & jnp.isfinite(size)

    def body_fun(state):
        size = jnp.linalg.norm(state.g)
        product = partial(at.product, state.w)
        precision = size * jnp.minimum(0.1, jnp.sqrt(size / first))
        p, image = _steihaug(product, state.g, state.radius, jnp.maximum(precision, atol / 10))
        predicted = -(state.g @ p + p @ image / 2)
        cost, g = at.gradient(state.w + p)
        decrease = jnp.where(
            predicted > 100 * eps * jnp.abs(state.cost),
            state.cost - cost,
            -(state.g + g) @ p / 2,
        )
        ratio = jnp.where(predicted > 0, decrease / predicted, -1.0)
        better = (ratio > 1e-4) & jnp.all(jnp.isfinite(g)) & jnp.isfinite(cost)
        length = jnp.linalg.norm(p)
        radius = jnp.where(
            better & (ratio > 0.75) & (length > 0.9 * state.radius),
            2 * state.radius,
            jnp.where(better & (ratio > 0.25), state.radius, length / 4),
        )
        after_step = _State(state.w + p, cost, g, radius, state.num_steps)
        next_state = jax.tree.map(partial(jnp.where, better), after_step, state)
        return next_state._replace(radius=radius, num_steps=state.num_steps + 1)

    radius, zero = jnp.full_like(first, FIRST_RADIUS), jnp.zeros((), jnp.int32)
    start = _State(flat, cost, g, radius, zero)
    w, cost, g, _, num_steps = jax.lax.while_loop(cond_fun, body_fun, start)
    size = jnp.linalg.norm(g)
    holds = [~jnp.isfinite(size), size <= atol, num_steps >= max_steps]
    reasons = PolishStatus.NOT_FINITE, PolishStatus.CONVERGED, PolishStatus.MAX_STEPS_REACHED
    status = jnp.select(
        holds, [jnp.int32(reason) for reason in reasons], int(PolishStatus.LIMITED_BY_ROUNDING)
    )
    return Polished(unravel(w), cost, size, num_steps, status.astype(jnp.int32))


_compiled = RecentlyUsed(_polish, static_argnames=("max_steps",))


def _steihaug(product, g, radius, precision):
    """Solve H p = -g by conjugate gradients within a trust region.

    The result is p and H p, with |H p + g| <= precision, |p| = radius or the number of steps at its
    maximum.
    """
    max_steps = min(MAX_CG_STEPS, 2 * g.size + 10)

    def cond_fun(state):
        *_, done, count = state
        return ~done & (count < max_steps)

    def body_fun(state):
        p, p_image, r, d, _, count = state
        image = product(d)
        curvature = d @ image
        length = r @ r / jnp.where(curvature > 0, curvature, 1)
        over = (curvature <= 0) | (jnp.linalg.norm(p + length * d) >= radius)
        # Solve |p + length d| = radius for the length; p is shorter than the radius.
        a, b, c = d @ d, p @ d, radius**2 - p @ p
        to_boundary = c / (b + jnp.sqrt(jnp.maximum(b**2 + a * c, 0)))
        length = jnp.where(over, to_boundary, length)
        r_next = r + length * image
        d_next = -r_next + (r_next @ r_next) / (r @ r) * d
        done = over | (jnp.linalg.norm(r_next) <= precision)
        return p + length * d, p_image + length * image, r_next, d_next, done, count + 1

    zero = jnp.zeros_like(g)
    first = (zero, zero, g, -g, jnp.array(False), jnp.zeros((), jnp.int32))
    p, image, *_ = jax.lax.while_loop(cond_fun, body_fun, first)
    return p, image
