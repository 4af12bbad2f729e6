"""Critical sharpness: curvature along the step of an optimizer.

    eta_c = min {eta > 0 : C(w - eta D) > C(w)},   lambda_c = 2 / eta_c

Here D is the direction of the optimizer's step w - eta D. On a quadratic cost with D . g > 0 and
D^T H D > 0,

    eta_c = 2 D . g / D^T H D,   lambda_c = D^T H D / D . g

On such a cost, lambda_c of gradient descent is at most the sharpness. The definition of lambda_c
contains only costs, and no second derivatives.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from gdjax.arguments import check_callable, check_number, check_whole
from gdjax.curvature.crossing import bracket, root
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.operators import HessianOperator
from gdjax.curvature.problem_metric import problem_metric
from gdjax.curvature.update_direction import update_direction
from gdjax.descent.step import cost_type, default_eval_params_fn
from gdjax.errors import InputError
from gdjax.flags import Status
from gdjax.problems.problem import Metric, Problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import at_least_float32, check_like
from gdjax.summaries import fields, fields_with

LONGEST_STEP = 1e6  # length of the longest step, relative to max(1, |w|)
FIRST_STEP = 1e-2  # length of the first step without a guess, in the same units
ROUNDING = 8  # rises below this multiple of eps |C| count as rounding
FIRST_EVALUATIONS = 40  # maximum number of evaluations without an earlier estimate


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

    __repr__ = fields_with(status=CriticalSharpnessStatus)


class CriticalSharpnessState(NamedTuple):
    """State of the metric, from which the next estimate starts.

    Args:
        learning_rate: last eta_c, the first guess of the next one; 0 if unknown.
        num_evaluations: number of costs evaluated in all estimates so far.
    """

    learning_rate: Float[Array, ""]
    num_evaluations: Int[Array, ""]

    __repr__ = fields


def critical_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    direction: PyTree,
    *,
    guess: float | None = None,
    rtol: float = 1e-2,
    max_steps: int = FIRST_EVALUATIONS,
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
        direction: direction D of the step w - eta D, a pytree like the parameters: the gradient for
            gradient descent, and `update_direction(make_optimizer, problem, params)` in general.
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
        >>> result = critical_sharpness(bowl, jnp.array([0.0, 1.0]), jnp.array([0.0, 10.0]))
        >>> round(float(result.learning_rate), 4), round(float(result.sharpness), 3)
        (0.2, 10.0)

        The step of one cost, and the rise of another cost:

        >>> w, direction = jnp.array(1.0), jnp.array(2.0)  # the gradient of w^2
        >>> round(float(critical_sharpness(lambda w: w**2, w, direction).sharpness), 3)
        2.0
        >>> round(float(critical_sharpness(lambda w: (w + 1) ** 2, w, direction).sharpness), 3)
        1.0

    References: Kalra et al. 2026, *A Scalable Measure of Loss Landscape Curvature for Analyzing the
    Training Dynamics of LLMs*, arXiv 2601.16979.
    """
    check_number("critical_sharpness: rtol", rtol, above=0, below=1)
    check_whole("critical_sharpness: max_steps", max_steps, 1)
    if guess is not None:
        check_number("critical_sharpness: guess", guess, above=0)
    params = at_least_float32(params)
    check_like("critical_sharpness: direction", direction, params)
    problem = problem_at(problem, params)
    return _critical_sharpness(problem, params, direction, guess, float(rtol), int(max_steps))


@partial(jax.jit, static_argnums=(4, 5))
def _critical_sharpness(problem, params, direction, guess, rtol, max_steps):
    dtype = cost_type(params)
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

    search = partial(bracket, largest=LONGEST_STEP * unit, rtol=rtol, max_steps=max_steps)
    crossing = search(rise, guess, -slope)
    turn = search(slope_at, guess / 2, -slope)
    status, rate = _status(slope, crossing, rtol)
    _, line_minimizer = _status(slope, turn, rtol)
    is_known = status <= CriticalSharpnessStatus.NO_CROSSING
    nan = jnp.asarray(jnp.nan, dtype)
    is_descent = jnp.isfinite(slope) & (slope > 0)
    return CriticalSharpness(
        learning_rate=rate,
        sharpness=jnp.where(is_known, 2 / rate, nan),
        low=jnp.where(is_descent, crossing.low, nan),
        high=jnp.where(is_descent, crossing.high, nan),
        slope=slope,
        curvature=curvature,
        quadratic_minimizer=jnp.where(is_descent, minimizer, nan),
        line_minimizer=line_minimizer,
        num_evaluations=crossing.num_evaluations,
        status=status,
    )


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


def _dot(a, b):
    return jnp.asarray(optax.tree.vdot(a, b), cost_type(a))


def _move(params, direction, eta):
    return jax.tree.map(lambda w, d: w - (eta * d).astype(w.dtype), params, direction)


def _status(slope, interval, rtol):
    """Return the status of a crossing, and its rate."""
    codes = CriticalSharpnessStatus
    is_narrow = interval.high - interval.low <= rtol * interval.high
    status = jnp.where(is_narrow, codes.FOUND, codes.NOT_RESOLVED)
    status = jnp.where(interval.high == jnp.inf, codes.NO_CROSSING, status)
    status = jnp.where(slope > 0, status, codes.NOT_A_DESCENT_DIRECTION)
    status = jnp.where(jnp.isfinite(slope), status, codes.NOT_FINITE)
    rate = jnp.where(status == codes.NO_CROSSING, jnp.inf, jnp.nan)
    rate = jnp.where(status == codes.FOUND, root(interval), rate)
    return status.astype(jnp.int32), rate.astype(interval.low.dtype)


def critical_sharpness_metric(
    problem: Problem | Callable,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    *,
    every: int = 1,
    rtol: float = 5e-2,
    max_steps: int = 9,
) -> Metric:
    """Return the critical sharpness of the optimizer's steps as a metric.

        lambda_c = 2 / eta_c,   eta_c = min {eta > 0 : C(w - eta D) > C(w)}

    -eta D is the step that the optimizer would take with the gradient over all data and the
    learning rate eta. Each estimate starts at the last eta_c, so it takes few evaluations of the
    cost. As in `critical_sharpness`, the crossing that is found is not provably the first.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used.
        make_optimizer: factory of the optimizer of the descent, which accepts a `learning_rate`.
        every: interval between estimates, in records.
        rtol: maximum width of the final interval, relative to its upper end.
        max_steps: maximum number of costs to evaluate per estimate; replaced by 40 if the
            last estimate found no eta_c.

    Returns:
        A metric whose value is lambda_c: 0 if the cost does not rise along the step, NaN if the
        step is not in a descent direction, a value is not finite, or the crossing was not resolved.

    Examples:
        >>> import gdjax as gd
        >>> bowl = gd.problems.bowl([1.0, 3.0])
        >>> metric = {"critical": critical_sharpness_metric(bowl)}
        >>> runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1]), 60, metrics=metric)
        >>> float(runs.critical.isel(learning_rate=0, step=-1).round(2))
        1.0
    """
    name = "critical_sharpness_metric"
    check_callable(f"{name}: make_optimizer", make_optimizer, "a factory such as optax.adam")
    check_number(f"{name}: rtol", rtol, above=0, below=1)
    check_whole(f"{name}: max_steps", max_steps, 1)
    return problem_metric(
        problem,
        _along_step,
        _initial_state,
        options={
            "make_optimizer": make_optimizer,
            "rtol": float(rtol),
            "max_steps": int(max_steps),
        },
        supplied=("opt_state",),
        every=every,
        long_name="critical sharpness: 2 / (learning rate above which the step raises the cost)",
    )


def _initial_state(_problem, params, **_options):
    return CriticalSharpnessState(jnp.zeros((), cost_type(params)), jnp.zeros((), jnp.int32))


def _along_step(problem, params, state, *, make_optimizer, rtol, max_steps, opt_state):
    if default_eval_params_fn(opt_state, params) is not None:
        raise InputError(
            "critical_sharpness_metric: the optimizer is schedule-free, so its records are at "
            "averaged parameters, from which it takes no step; use critical_sharpness at the "
            "parameters of the run"
        )
    direction = update_direction(make_optimizer, problem, params, opt_state=opt_state)
    rise, slope, unit = _ray(problem, params, direction)
    is_known = state.learning_rate > 0
    interval = bracket(
        rise,
        jnp.where(is_known, state.learning_rate, FIRST_STEP * unit),
        -slope,
        largest=LONGEST_STEP * unit,
        rtol=rtol,
        max_steps=jnp.where(is_known, max_steps, FIRST_EVALUATIONS),
    )
    status, rate = _status(slope, interval, rtol)
    count = state.num_evaluations + interval.num_evaluations
    guess = jnp.where(status == CriticalSharpnessStatus.FOUND, rate, 0)
    return 2 / rate, CriticalSharpnessState(guess, count)
