"""Critical sharpness: curvature along the step of an optimizer.

    eta_c = min {eta > 0 : C(w - eta D) > C(w)},   lambda_c = 2 / eta_c

Here D is the direction of the optimizer's step w - eta D. On a quadratic cost with D . g > 0 and
D^T H D > 0,

    eta_c = 2 D . g / D^T H D,   lambda_c = D^T H D / D . g

On such a cost, lambda_c of gradient descent is at most the sharpness. The definition of lambda_c
contains only costs, and no second derivatives.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Share
from gdjax.base.reprs import fields_with
from gdjax.base.slabs import RecentlyUsed
from gdjax.base.status import Status
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.checks import at_least_float32, check_like, check_params
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type, optimizer_at_rate_one, update
from gdjax.problems.problem import Problem

LONGEST_STEP = 1e6  # length of the longest step, relative to max(1, |w|)
FIRST_STEP = 1e-2  # length of the first step without a guess, in the same units
ROUNDING = 8  # rises below this multiple of eps |C| count as rounding
MAX_EVALUATIONS = 40
GROWTH = 4.0  # largest factor of the rate while the cost does not rise
SHRINKAGE = 1 / 8  # factor of the rate at a bisection while the cost rises at all rates


class CriticalSharpnessStatus(Status):
    """Status of a critical sharpness.

    FOUND: eta_c is known within the tolerance. NO_CROSSING: the cost does not rise up to the rate
    `low`, so that lambda_c is 0. NOT_A_DESCENT_DIRECTION: D . g <= 0, for example at a minimum.
    NOT_FINITE: cost, gradient or direction is not finite. NOT_RESOLVED: after the last evaluation
    the interval from `low` to `high` was still wider than the tolerance.
    """

    FOUND = 0
    NO_CROSSING = 1
    NOT_A_DESCENT_DIRECTION = 2
    NOT_FINITE = 3
    NOT_RESOLVED = 4


class CriticalSharpness(NamedTuple):
    """Critical sharpness along a direction, with an interval around the crossing.

    Args:
        learning_rate: eta_c; infinite if there is no crossing, NaN if it is unknown.
        sharpness: lambda_c = 2 / eta_c, 0 if there is no crossing.
        low: largest rate below `high` that was evaluated and at which the cost has not risen; 0 if
            there is none.
        high: smallest rate that was evaluated at which the cost has risen or is not finite;
            infinite if there is none.
        slope: D . g.
        curvature: D^T H D.
        quadratic_minimizer: D . g / D^T H D, the minimizer of the quadratic model along the
            direction; infinite if the curvature is not positive.
        line_minimizer: first rate found at which the slope of the cost along the direction changes
            its sign; infinite if it does not, NaN if unknown.
        num_evaluations: number of costs evaluated for eta_c.
        status: a `CriticalSharpnessStatus`.
    """

    learning_rate: Float[Array, "*runs"]
    sharpness: Float[Array, "*runs"]
    low: Float[Array, "*runs"]
    high: Float[Array, "*runs"]
    slope: Float[Array, "*runs"]
    curvature: Float[Array, "*runs"]
    quadratic_minimizer: Float[Array, "*runs"]
    line_minimizer: Float[Array, "*runs"]
    num_evaluations: Int[Array, "*runs"]
    status: Int[Array, "*runs"]

    __repr__, _repr_html_ = fields_with(status=CriticalSharpnessStatus)


def update_direction(
    make_optimizer: Callable[..., optax.GradientTransformation],
    problem: Problem | Callable,
    params: PyTree,
    *,
    opt_state: PyTree = None,
) -> PyTree:
    """Return the direction D of an optimizer's next step w - eta D.

    It is minus the update at a learning rate of 1, with the gradient over all data:

        D = -u(g, opt_state; learning_rate = 1)

    This is the gradient for gradient descent, and its signs for the first step of Adam or Lion.

    Args:
        make_optimizer: factory that accepts a `learning_rate`, such as `optax.adam`.
        problem: a Problem or a cost, whose deterministic cost is used.
        params: parameters w before the step.
        opt_state: state of the optimizer before the step; None for its initial state. A learning
            rate that is stored in it, as by `optax.inject_hyperparams`, must be 1.

    Examples:
        >>> update_direction(optax.lion, lambda w: jnp.sum(w**2), jnp.array([3.0, -1.0])).tolist()
        [1.0, -1.0]
    """
    check_params(params)
    problem = problem_at(problem, params)
    optimizer = optimizer_at_rate_one("update_direction", make_optimizer)
    first = optimizer.init(params)
    if opt_state is None:
        opt_state = first
    elif jax.tree.structure(opt_state) != jax.tree.structure(first):
        raise InputError(
            f"update_direction: opt_state does not have the structure of a state of "
            f"{make_optimizer!r:.80}; pass the factory of the optimizer that created it"
        )
    value, gradient = averaged(problem, jax.value_and_grad, params)
    updates, _ = update(
        optimizer,
        gradient,
        opt_state,
        params,
        value=value,
        value_fn=lambda w: averaged(problem, lambda cost: cost, w),
        grad_fn=lambda w: averaged(problem, jax.grad, w),
    )
    return jax.tree.map(jnp.negative, updates)


def critical_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    direction: PyTree | None = None,
    *,
    guess: float | None = None,
    rtol: float = 1e-2,
    max_steps: int = MAX_EVALUATIONS,
) -> CriticalSharpness:
    """Return the learning rate above which a step along a direction raises the cost.

        eta_c = min {eta > 0 : C(w - eta D) > C(w)},   lambda_c = 2 / eta_c

    Starting at the guess, the rate is increased or decreased until the crossing lies between two
    rates. The interval is then shortened by secants of (C(w - eta D) - C(w)) / eta, which is linear
    in eta on a quadratic, and by bisection. This finds *a* crossing, not provably the first: the
    cost may rise and fall again between two rates that were evaluated. The longest step that is
    evaluated is 1e6 max(1, |w|), and a rise of at most 8 eps |C(w)| counts as rounding.

    The relative critical sharpness, for the step of one problem and the cost of another, is
    obtained by passing the other problem with the direction of the first one.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used.
        params: parameters w before the step.
        direction: direction D of the step w - eta D, a pytree like the parameters, such as
            `update_direction(make_optimizer, problem, params)`; None for the gradient, the
            direction of gradient descent.
        guess: first rate to evaluate, > 0; None for twice the quadratic minimizer, or if the
            curvature is not positive, for a step of length max(1, |w|) / 100.
        rtol: maximum width of the final interval, relative to its upper end.
        max_steps: maximum number of costs to evaluate for eta_c, and of slopes for the line
            minimizer.

    Returns:
        The critical sharpness with a status. The function can be jitted, and vmapped over `params`
        and `direction`, which gives the results a leading axis.

    Examples:
        The step of gradient descent along a steep direction:

        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> result = critical_sharpness(bowl, jnp.array([0.0, 1.0]))
        >>> round(float(result.learning_rate), 4), round(float(result.sharpness), 3)
        (0.2, 10.0)

        The relative critical sharpness, for the step of one cost and the rise of another:

        >>> w, direction = jnp.array(1.0), jnp.array(2.0)  # the gradient of w^2
        >>> round(float(critical_sharpness(lambda w: w**2, w, direction).sharpness), 3)
        2.0
        >>> round(float(critical_sharpness(lambda w: (w + 1) ** 2, w, direction).sharpness), 3)
        1.0

    References: Kalra et al. 2026, *A Scalable Measure of Loss Landscape Curvature for Analyzing the
    Training Dynamics of LLMs*, arXiv 2601.16979.
    """
    check_limits("critical_sharpness: rtol", rtol, Share)
    check_limits("critical_sharpness: max_steps", max_steps, Count)
    if guess is not None:
        check_limits("critical_sharpness: guess", guess, Positive)
    params = at_least_float32(params)
    problem = problem_at(problem, params)
    if direction is None:
        direction = averaged(problem, jax.grad, params)
    check_like("critical_sharpness: direction", direction, params)
    rtol, max_steps = float(rtol), int(max_steps)
    return _compiled(problem, params, direction, guess, rtol=rtol, max_steps=max_steps)


def _critical_sharpness(problem, params, direction, guess, rtol, max_steps):
    rise, slope, unit = _ray(problem, params, direction)
    image = HessianOperator(problem, params).mv(direction)
    curvature = _dot(direction, image)
    is_convex = curvature > 0
    minimizer = jnp.where(is_convex, slope / jnp.where(is_convex, curvature, 1), jnp.inf)
    if guess is None:
        guess = jnp.where(is_convex & jnp.isfinite(minimizer), 2 * minimizer, FIRST_STEP * unit)

    def slope_at(eta):
        gradient = averaged(problem, jax.grad, _move(params, direction, eta))
        return -_dot(direction, gradient)

    crossing, status, rate = _crossing(rise, guess, slope, unit, rtol, max_steps)
    _, _, line_minimizer = _crossing(slope_at, guess / 2, slope, unit, rtol, max_steps)
    is_known = status <= CriticalSharpnessStatus.NO_CROSSING
    is_descent = jnp.isfinite(slope) & (slope > 0)
    return CriticalSharpness(
        learning_rate=rate,
        sharpness=jnp.where(is_known, 2 / rate, jnp.nan),
        low=jnp.where(is_descent, crossing.low, jnp.nan),
        high=jnp.where(is_descent, crossing.high, jnp.nan),
        slope=slope,
        curvature=curvature,
        quadratic_minimizer=jnp.where(is_descent, minimizer, jnp.nan),
        line_minimizer=line_minimizer,
        num_evaluations=crossing.num_evaluations,
        status=status,
    )


_compiled = RecentlyUsed(_critical_sharpness, static_argnames=("rtol", "max_steps"))


def _ray(problem, params, direction):
    """Return `eta -> (C(w - eta D) - C(w)) / eta`, the slope D . g, and the rate of unit length.

    The function is 0 if the cost rises within rounding.
    """
    dtype = cost_type(params)
    value, gradient = averaged(problem, jax.value_and_grad, params)
    value = value.astype(dtype)
    rounding = ROUNDING * jnp.finfo(dtype).eps * jnp.abs(value)

    def rise(eta):
        stepped = averaged(problem, lambda cost: cost, _move(params, direction, eta)).astype(dtype)
        is_rounding = (stepped > value) & (stepped <= value + rounding)
        return jnp.where(is_rounding, 0, (stepped - value) / eta)

    length = optax.tree.norm(direction).astype(dtype)
    scale = jnp.maximum(optax.tree.norm(params).astype(dtype), 1)
    # If the norm of a direction with finite entries overflows, the slope is not valid either.
    finite = jnp.isfinite(value) & jnp.isfinite(length)
    slope = _dot(direction, gradient)
    return rise, jnp.where(finite, slope, jnp.nan), scale / jnp.where(length > 0, length, 1)


class _Bracket(NamedTuple):
    """Rates on both sides of a sign change of a function of the rate.

    `low` is the largest rate below `high` at which the function is not positive, `before` is the
    previous `low`, and `high` is the smallest rate at which it is positive or NaN, infinite if
    there is none. `num_bisections` counts evaluations since the interval became bounded.
    """

    low: Float[Array, ""]
    at_low: Float[Array, ""]
    high: Float[Array, ""]
    at_high: Float[Array, ""]
    before: Float[Array, ""]
    at_before: Float[Array, ""]
    num_evaluations: Int[Array, ""]
    num_bisections: Int[Array, ""]


def _crossing(function, guess, slope, unit, rtol, max_steps):
    """Return a bracket of a sign change from - to +, with its status and rate.

    The function is -slope at the rate 0. While it is not positive, the rate is increased, to at
    most LONGEST_STEP units; afterwards the interval is shortened by secants and by bisection in
    alternation.
    """
    largest = LONGEST_STEP * unit

    def unfinished(b):
        is_unbounded = (b.high == jnp.inf) & (b.low < largest)
        is_wide = (b.high < jnp.inf) & (b.high - b.low > rtol * b.high)
        return (b.num_evaluations < max_steps) & (-slope < 0) & (is_unbounded | is_wide)

    def evaluate(b):
        eta = jnp.where(b.num_evaluations == 0, guess, _next_rate(b, rtol))
        eta = jnp.minimum(eta, largest).astype(b.low.dtype)
        value = function(eta)
        is_above = ~(value <= 0)
        value = jnp.where(is_above & ~jnp.isfinite(value), jnp.inf, value)
        return _Bracket(
            low=jnp.where(is_above, b.low, eta),
            at_low=jnp.where(is_above, b.at_low, value),
            high=jnp.where(is_above, eta, b.high),
            at_high=jnp.where(is_above, value, b.at_high),
            before=jnp.where(is_above, b.before, b.low),
            at_before=jnp.where(is_above, b.at_before, b.at_low),
            num_evaluations=b.num_evaluations + 1,
            num_bisections=b.num_bisections + (b.high < jnp.inf),
        )

    zero, count = jnp.zeros_like(slope), jnp.zeros((), jnp.int32)
    infinite = jnp.full_like(slope, jnp.inf)
    first = _Bracket(zero, -slope, infinite, infinite, zero, -slope, count, count)
    last = jax.lax.while_loop(unfinished, evaluate, first)
    codes = CriticalSharpnessStatus
    is_narrow = last.high - last.low <= rtol * last.high
    status = jnp.where(is_narrow, codes.FOUND, codes.NOT_RESOLVED)
    status = jnp.where(last.high == jnp.inf, codes.NO_CROSSING, status)
    status = jnp.where(slope > 0, status, codes.NOT_A_DESCENT_DIRECTION)
    status = jnp.where(jnp.isfinite(slope), status, codes.NOT_FINITE)
    rate = jnp.where(status == codes.NO_CROSSING, jnp.inf, jnp.nan)
    rate = jnp.where(status == codes.FOUND, _secant_root(last), rate)
    return last, status.astype(jnp.int32), rate.astype(slope.dtype)


def _next_rate(b, rtol):
    """Return the next rate: above `low`, and within the interval if it is bounded."""
    # A step slightly beyond the estimated root encloses it if the estimate is accurate.
    margin = rtol / 3
    gradient = (b.at_low - b.at_before) / jnp.where(b.low > b.before, b.low - b.before, 1)
    zero = b.low - b.at_low / jnp.where(gradient > 0, gradient, 1)
    extrapolated = jnp.where(gradient > 0, (1 + margin) * zero, jnp.inf)
    extrapolated = jnp.clip(extrapolated, (1 + margin) * b.low, GROWTH * b.low)
    secant = jnp.clip(_secant_root(b), b.low + margin * b.high, (1 - margin) * b.high)
    is_narrow = b.high < 4 * b.low
    middle = jnp.where(is_narrow, b.low / 2 + b.high / 2, jnp.sqrt(b.low) * jnp.sqrt(b.high))
    middle = jnp.where(b.low > 0, middle, SHRINKAGE * b.high)
    bisects = (b.num_bisections % 2 == 1) | (b.at_high == jnp.inf)
    return jnp.where(b.high == jnp.inf, extrapolated, jnp.where(bisects, middle, secant))


def _secant_root(b):
    """Return the secant's root, or the interval's middle if `at_high` is infinite."""
    drop = b.at_high - b.at_low
    share = jnp.where(b.at_high < jnp.inf, -b.at_low / jnp.where(drop > 0, drop, 1), 0.5)
    return b.low + jnp.clip(share, 0, 1) * (b.high - b.low)


def _dot(a, b):
    return jnp.asarray(optax.tree.vdot(a, b), cost_type(a))


def _move(params, direction, eta):
    return jax.tree.map(lambda w, d: w - (eta * d).astype(w.dtype), params, direction)
