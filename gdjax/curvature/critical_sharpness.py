"""Critical sharpness: curvature along the step of an optimizer.

    eta_c = min {eta > 0 : C(w - eta D) > C(w)},   lambda_c = 2 / eta_c

Here D is the direction of the optimizer's step w - eta D. On a quadratic cost with D . g > 0 and
D^T H D > 0,

    eta_c = 2 D . g / D^T H D,   lambda_c = D^T H D / D . g

On such a cost, lambda_c of gradient descent is at most the sharpness. The definition of lambda_c
contains only costs, and no second derivatives.

References: Kalra et al. 2026, *A Scalable Measure of Loss Landscape Curvature for Analyzing the
Training Dynamics of LLMs*, arXiv 2601.16979.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, Int, PyTree

from gdjax.arguments import check_callable, check_number, check_whole
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.operators import HessianOperator
from gdjax.curvature.sharpness import signature
from gdjax.descent.step import cost_type, update
from gdjax.errors import InputError
from gdjax.problems.evaluation import frozen, with_data, without_data
from gdjax.problems.problem import Metric, Problem, as_problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import at_least_float32, check_like, check_params
from gdjax.summaries import fields, fields_with

LONGEST_STEP = 1e6  # length of the longest step, relative to max(1, |w|)
FIRST_STEP = 1e-2  # length of the first step without a guess, in the same units
GROWTH = 4.0  # largest factor of the rate while the cost has not risen
SHRINKAGE = 1 / 8  # factor of the rate at a bisection while the cost has risen at all rates
ROUNDING = 8  # rises below this multiple of eps |C| count as rounding
FIRST_EVALUATIONS = 40  # maximum number of evaluations without an earlier estimate


class CriticalSharpnessStatus(IntEnum):
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


def update_direction(
    make_optimizer: Callable[..., optax.GradientTransformation],
    problem: Problem | Callable,
    params: PyTree,
    *,
    opt_state: PyTree = None,
    data: PyTree = None,
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
        data: data used instead of the problem's data.

    Examples:
        >>> update_direction(optax.lion, lambda w: jnp.sum(w**2), jnp.array([3.0, -1.0])).tolist()
        [1.0, -1.0]
    """
    check_callable(
        "update_direction: make_optimizer",
        make_optimizer,
        "a factory, such as optax.adam, not optax.adam(0.1)",
    )
    check_params(params)
    problem = problem_at(problem, params, data)
    return _update_direction("update_direction", make_optimizer, problem, params, opt_state)


def _update_direction(caller, make_optimizer, problem, params, opt_state):
    """Return the result of `update_direction`; error messages name the caller."""
    try:
        optimizer = make_optimizer(learning_rate=1.0)
    except TypeError as error:
        raise InputError(
            f"{caller}: make_optimizer = {make_optimizer!r:.80} takes no learning_rate, "
            f"expected a factory such as optax.adam"
        ) from error
    first = optimizer.init(params)
    if opt_state is None:
        opt_state = first
    elif jax.tree.structure(opt_state) != jax.tree.structure(first):
        raise InputError(
            f"{caller}: opt_state does not have the structure of a state of "
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
    direction: PyTree,
    *,
    data: PyTree = None,
    guess: float | None = None,
    rtol: float = 1e-2,
    max_evaluations: int = FIRST_EVALUATIONS,
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
        data: data used instead of the problem's data.
        guess: first rate to evaluate, > 0; None for twice the quadratic minimizer, or if the
            curvature is not positive, for a step of length max(1, |w|) / 100.
        rtol: maximum width of the final interval, relative to its upper end.
        max_evaluations: maximum number of costs to evaluate for eta_c, and of slopes for the line
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

    References: Kalra et al. 2026, arXiv 2601.16979.
    """
    check_number("critical_sharpness: rtol", rtol, above=0, below=1)
    check_whole("critical_sharpness: max_evaluations", max_evaluations, 1)
    if guess is not None:
        check_number("critical_sharpness: guess", guess, above=0)
    params = at_least_float32(params)
    check_like("critical_sharpness: direction", direction, params)
    return _critical_sharpness(
        problem_at(problem, params, data),
        params,
        direction,
        guess,
        float(rtol),
        int(max_evaluations),
    )


@partial(jax.jit, static_argnums=(4, 5))
def _critical_sharpness(problem, params, direction, guess, rtol, max_evaluations):
    dtype = cost_type(params)
    ray = _ray(problem, params, direction)
    image = HessianOperator(problem, params).mv(direction)
    curvature = _dot(direction, image)
    is_convex = curvature > 0
    minimizer = jnp.where(is_convex, ray.slope / jnp.where(is_convex, curvature, 1), jnp.inf)
    if guess is None:
        guess = jnp.where(is_convex & jnp.isfinite(minimizer), 2 * minimizer, ray.shortest)

    def slope_at(eta):
        gradient = averaged(problem, jax.grad, _move(params, direction, eta))
        return -_dot(direction, gradient)

    search = partial(_bracket, rtol=rtol, max_evaluations=max_evaluations)
    crossing = search(ray.rise, guess, -ray.slope, largest=ray.longest)
    turn = search(slope_at, guess / 2, -ray.slope, largest=ray.longest)
    status, rate = _status(ray, crossing, rtol)
    _, line_minimizer = _status(ray, turn, rtol)
    known = status <= CriticalSharpnessStatus.NO_CROSSING
    nan = jnp.asarray(jnp.nan, dtype)
    searched = (status != CriticalSharpnessStatus.NOT_A_DESCENT_DIRECTION) & (
        status != CriticalSharpnessStatus.NOT_FINITE
    )
    return CriticalSharpness(
        learning_rate=rate,
        sharpness=jnp.where(known, 2 / rate, nan),
        low=jnp.where(searched, crossing.low, nan),
        high=jnp.where(searched, crossing.high, nan),
        slope=ray.slope,
        curvature=curvature,
        quadratic_minimizer=jnp.where(searched, minimizer, nan),
        line_minimizer=line_minimizer,
        num_evaluations=crossing.num_evaluations,
        status=status,
    )


class _Ray(NamedTuple):
    """The cost along w - eta D.

    Args:
        rise: function `eta -> (C(w - eta D) - C(w)) / eta`; 0 if the cost rises within rounding.
        slope: D . g.
        shortest: rate of the first step without a guess.
        longest: rate of the longest step.
    """

    rise: Callable
    slope: Float[Array, ""]
    shortest: Float[Array, ""]
    longest: Float[Array, ""]


def _ray(problem, params, direction):
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
    unit = scale / jnp.where(length > 0, length, 1)
    return _Ray(rise, jnp.where(finite, slope, jnp.nan), FIRST_STEP * unit, LONGEST_STEP * unit)


def _dot(a, b):
    return jnp.asarray(optax.tree.vdot(a, b), cost_type(a))


def _move(params, direction, eta):
    return jax.tree.map(lambda w, d: w - (eta * d).astype(w.dtype), params, direction)


class _Bracket(NamedTuple):
    """Rates on both sides of a sign change of a function of the rate.

    Args:
        low: largest rate below `high` at which the function is not positive.
        at_low: value of the function at `low`.
        high: smallest rate at which the function is positive or NaN; infinite if none.
        at_high: value of the function at `high`.
        before: the previous `low`.
        at_before: value of the function at `before`.
        num_evaluations: number of evaluations.
        num_bisections: number of evaluations since the interval became bounded.
    """

    low: Float[Array, ""]
    at_low: Float[Array, ""]
    high: Float[Array, ""]
    at_high: Float[Array, ""]
    before: Float[Array, ""]
    at_before: Float[Array, ""]
    num_evaluations: Int[Array, ""]
    num_bisections: Int[Array, ""]


def _bracket(function, guess, at_zero, *, largest, rtol, max_evaluations):
    """Return an interval of rates in which a function changes its sign from - to +.

    Args:
        function: function of the rate, negative near 0.
        guess: first rate to evaluate.
        at_zero: value of the function at 0. Unless it is negative, nothing is evaluated.
        largest: largest rate to evaluate.
        rtol: width at which to stop, relative to the rate.
        max_evaluations: maximum number of evaluations.
    """

    def unfinished(b):
        is_unbounded = (b.high == jnp.inf) & (b.low < largest)
        is_wide = (b.high < jnp.inf) & (b.high - b.low > rtol * b.high)
        return (b.num_evaluations < max_evaluations) & (at_zero < 0) & (is_unbounded | is_wide)

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

    zero, count = jnp.zeros_like(at_zero), jnp.zeros((), jnp.int32)
    infinite = jnp.full_like(at_zero, jnp.inf)
    first = _Bracket(zero, at_zero, infinite, infinite, zero, at_zero, count, count)
    return jax.lax.while_loop(unfinished, evaluate, first)


def _next_rate(b, rtol):
    """Return the next rate: above `low`, and within the interval if it is bounded."""
    # A step slightly beyond the estimated root encloses it if the estimate is accurate.
    margin = rtol / 3
    gradient = (b.at_low - b.at_before) / jnp.where(b.low > b.before, b.low - b.before, 1)
    root = b.low - b.at_low / jnp.where(gradient > 0, gradient, 1)
    extrapolated = jnp.where(gradient > 0, (1 + margin) * root, jnp.inf)
    extrapolated = jnp.clip(extrapolated, (1 + margin) * b.low, GROWTH * b.low)
    secant = jnp.clip(_root(b), b.low + margin * b.high, (1 - margin) * b.high)
    is_narrow = b.high < 4 * b.low
    middle = jnp.where(is_narrow, b.low / 2 + b.high / 2, jnp.sqrt(b.low) * jnp.sqrt(b.high))
    middle = jnp.where(b.low > 0, middle, SHRINKAGE * b.high)
    bisects = (b.num_bisections % 2 == 1) | (b.at_high == jnp.inf)
    return jnp.where(b.high == jnp.inf, extrapolated, jnp.where(bisects, middle, secant))


def _root(b):
    """Return the secant's root, or the interval's middle if `at_high` is infinite."""
    drop = b.at_high - b.at_low
    share = jnp.where(b.at_high < jnp.inf, -b.at_low / jnp.where(drop > 0, drop, 1), 0.5)
    return b.low + jnp.clip(share, 0, 1) * (b.high - b.low)


def _status(ray, bracket, rtol):
    """Return the status of a crossing, and its rate."""
    Status = CriticalSharpnessStatus
    is_found = bracket.high - bracket.low <= rtol * bracket.high
    status = jnp.where(is_found, Status.FOUND, Status.NOT_RESOLVED)
    status = jnp.where(bracket.high == jnp.inf, Status.NO_CROSSING, status)
    status = jnp.where(ray.slope > 0, status, Status.NOT_A_DESCENT_DIRECTION)
    status = jnp.where(jnp.isfinite(ray.slope), status, Status.NOT_FINITE)
    rate = jnp.where(status == Status.NO_CROSSING, jnp.inf, jnp.nan)
    rate = jnp.where(status == Status.FOUND, _root(bracket), rate)
    return status.astype(jnp.int32), rate.astype(bracket.low.dtype)


def critical_sharpness_metric(
    problem: Problem | Callable,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    *,
    other: Problem | Callable | None = None,
    data: PyTree = None,
    every: int = 1,
    rtol: float = 5e-2,
    max_evaluations: int = 9,
) -> Metric:
    """Return the critical sharpness of the optimizer's steps as a metric.

        lambda_c = 2 / eta_c,   eta_c = min {eta > 0 : C(w - eta D) > C(w)}

    -eta D is the step that the optimizer would take with the gradient over all data and the
    learning rate eta. Each estimate starts at the last eta_c, so it takes few evaluations of the
    cost. As in `critical_sharpness`, the crossing that is found is not provably the first.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used.
        make_optimizer: factory of the optimizer of the descent, which accepts a `learning_rate`.
        other: problem of the cost C, for the relative critical sharpness; None for `problem`.
        data: data used instead of the problem's data.
        every: interval between estimates, in records.
        rtol: maximum width of the final interval, relative to its upper end.
        max_evaluations: maximum number of costs to evaluate per estimate; replaced by 40 if the
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

    References: Kalra et al. 2026, arXiv 2601.16979.
    """
    name = "critical_sharpness_metric"
    check_callable(f"{name}: make_optimizer", make_optimizer, "a factory such as optax.adam")
    check_number(f"{name}: rtol", rtol, above=0, below=1)
    check_whole(f"{name}: max_evaluations", max_evaluations, 1)
    problem = as_problem(problem, data)
    other_problem = None if other is None else as_problem(other)
    return Metric(
        _Along(
            without_data(problem),
            None if other_problem is None else without_data(other_problem),
            make_optimizer,
            float(rtol),
            int(max_evaluations),
        ),
        data=(problem.data, None if other_problem is None else other_problem.data),
        every=every,
        init=_initial_state,
        long_name="critical sharpness: 2 / (learning rate above which the step raises the cost)",
    )


def _initial_state(params, data):
    return CriticalSharpnessState(jnp.zeros((), cost_type(params)), jnp.zeros((), jnp.int32))


@dataclass(frozen=True)
class _Along:
    """Metric `(params, data, state, *, opt_state, **settings) -> (lambda_c, state)`."""

    without_data: Any
    other_without_data: Any
    make_optimizer: Callable
    rtol: float
    max_evaluations: int

    def __call__(self, params, data, metric_state, *, opt_state=None, **settings):
        problem_data, other_data = data
        problem = frozen(with_data(self.without_data, problem_data), **settings)
        if _is_schedule_free(opt_state):
            raise InputError(
                "critical_sharpness_metric: the optimizer is schedule-free, so its records are at "
                "averaged parameters, from which it takes no step; use critical_sharpness at the "
                "parameters of the run"
            )
        direction = _update_direction(
            "critical_sharpness_metric", self.make_optimizer, problem, params, opt_state
        )
        if self.other_without_data is not None:
            problem = frozen(with_data(self.other_without_data, other_data))
        ray = _ray(problem, params, direction)
        last = metric_state.learning_rate
        bracket = _bracket(
            ray.rise,
            jnp.where(last > 0, last, ray.shortest),
            -ray.slope,
            largest=ray.longest,
            rtol=self.rtol,
            max_evaluations=jnp.where(last > 0, self.max_evaluations, FIRST_EVALUATIONS),
        )
        status, rate = _status(ray, bracket, self.rtol)
        count = metric_state.num_evaluations + bracket.num_evaluations
        guess = jnp.where(status == CriticalSharpnessStatus.FOUND, rate, 0)
        return 2 / rate, CriticalSharpnessState(guess, count)

    @property
    def __signature__(self):
        return signature(self.without_data, ("params", "data", "metric_state"), ("opt_state",))


def _is_schedule_free(opt_state):
    def is_state(node):
        return isinstance(node, optax.contrib.ScheduleFreeState)

    return any(map(is_state, jax.tree.leaves(opt_state, is_leaf=is_state)))
