"""Gradient flow, the limit of descent with small steps, and distances from it.

    dw/dt = -grad C(w),   w(0) = w_0;   descent with rate eta after t / eta steps is w(t) + O(eta)

The flow has no learning rate and depends only on the cost. If descent behaves differently, for
example by oscillation, divergence or convergence to flatter regions, the reason is the finite size
of its steps.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from gdjax.base.arguments import check_limits, check_numbers, is_traced
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Share
from gdjax.base.reprs import fields, fields_with
from gdjax.base.status import Status
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.descent.block import strip_weak_types
from gdjax.problems.checks import check_params
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem

MAX_STEPS = 1_000_000


class FlowStatus(Status):
    """Status of the solution of a flow.

    - COMPLETED: the final time was reached within the tolerance.
    - NOT_COMPLETED: the number of steps exceeded its limit, or the steps became too small, since
      the flow diverges or the tolerance is too strict.
    - EIGENVECTORS_NOT_CONVERGED: an eigenvector of a central flow did not reach its tolerance.
    """

    COMPLETED = 0
    NOT_COMPLETED = 1
    EIGENVECTORS_NOT_CONVERGED = 2


class Flow(NamedTuple):
    """The gradient flow at given times.

    Args:
        params: a pytree like the starting point, whose leading axis indexes the times; infinite at
            times that were not reached.
        cost: cost C at each time.
        num_steps: number of steps of the solver, including rejected ones.
        status: a `FlowStatus`.
        time: time since the start; for descent, learning rate times number of steps.
    """

    params: PyTree
    cost: Float[Array, " times"]
    num_steps: Int[Array, ""]
    status: Int[Array, ""]
    time: Float[Array, " times"]

    __repr__, _repr_html_ = fields_with(status=FlowStatus)


class FlowDistance(NamedTuple):
    """Distance of descent from the flow, at equal times eta * steps.

    Args:
        learning_rate: learning rate of each descent.
        time: time since the start.
        distance: Euclidean distance between the parameters of descent and flow.
        cost: cost of descent.
        params: parameters of descent, a pytree like the starting point whose first two axes index
            the learning rates and the times.
        flow: the gradient flow.
    """

    learning_rate: Float[Array, " rates"]
    time: Float[Array, " times"]
    distance: Float[Array, "rates times"]
    cost: Float[Array, "rates times"]
    params: PyTree
    flow: Flow

    __repr__, _repr_html_ = fields


def gradient_flow(
    problem: Problem | Callable,
    params: PyTree,
    *,
    times: Sequence | ArrayLike,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = MAX_STEPS,
) -> Flow:
    """Solve the gradient flow by an ODE solver with error control.

        dw/dt = -grad C(w),   |error of a step| <= atol + rtol |w|, root mean square

    The solver is Tsitouras' method of order 5 from diffrax. Its steps cannot exceed about
    3.3 / sharpness for any tolerance, so a time T requires at least sharpness T / 3.3 steps of 6
    gradients.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: starting point w_0, any pytree of real arrays.
        times: times at which the flow is returned, ascending, >= 0.
        rtol: relative tolerance of one step; None means eps^(2/3), 2e-5 in float32 and 4e-11 in
            float64.
        atol: absolute tolerance of one step; None means `rtol`.
        max_steps: maximum number of steps of the solver.

    Returns:
        The flow at the given times.

    Examples:
        On the bowl w^2 / 2 with w_0 = 1, the flow is e^-t:

        >>> flow = gradient_flow(lambda w: w**2 / 2, jnp.array(1.0), times=jnp.array([0.0, 1.0]))
        >>> [round(float(w), 4) for w in flow.params]
        [1.0, 0.3679]

    References: Tsitouras 2011, *Runge-Kutta pairs of order 5(4)*; Kidger 2022, arXiv 2202.02435.
    """
    _check_times("gradient_flow", times)
    check_limits("gradient_flow: max_steps", max_steps, Count)
    check_params(params)
    problem, params = problem_at(problem, params), strip_weak_types(params)
    dtype = cost_type(params)
    times = jnp.asarray(times, dtype)
    rtol, atol = tolerances("gradient_flow", dtype, rtol, atol)

    def velocity(_time, w, problem):
        return jax.tree.map(jnp.negative, value_and_gradient(problem, w)[1])

    solution = solve_ode(
        velocity, params, problem, times, rtol=rtol, atol=atol, max_steps=max_steps
    )
    cost = jax.lax.map(lambda w: value_and_gradient(problem, w)[0], solution.ys)
    return Flow(solution.ys, cost, solution.num_steps, solution.status, times)


class Solution(NamedTuple):
    """Solution of an ODE: values at given times, number of steps, and a `FlowStatus`."""

    ys: PyTree
    num_steps: Int[Array, ""]
    status: Int[Array, ""]


def tolerances(
    caller: str, dtype: jnp.dtype, rtol: float | None, atol: float | None
) -> tuple[float, float]:
    """Check and return both tolerances; the default is eps^(2/3), such as 2e-5 in float32."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None:
            check_limits(f"{caller}: {name}", value, Share)
    rtol = float(jnp.finfo(dtype).eps) ** (2 / 3) if rtol is None else rtol
    return rtol, rtol if atol is None else atol


def solve_ode(
    velocity: Callable,
    start: PyTree,
    args: PyTree,
    times: Float[Array, " times"],
    *,
    rtol: float,
    atol: float,
    max_steps: int = MAX_STEPS,
    first: ArrayLike | None = None,
) -> Solution:
    """Solve dy/dt = velocity(time, y, args) from time 0 to ascending times.

    The tolerances are those of one step (see `gradient_flow`). The length of the first step is
    derived from the velocity unless it is given.
    """
    import diffrax  # takes two seconds to import

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=first,
        y0=start,
        args=args,
        saveat=diffrax.SaveAt(ts=times),
        # Steps end at the times, since the error of interpolation would not be controlled.
        stepsize_controller=diffrax.ClipStepSizeController(
            # A minimum step size ends diverging flows, whose steps would otherwise shrink
            # indefinitely.
            diffrax.PIDController(
                rtol=rtol,
                atol=atol,
                dtmin=jnp.finfo(times.dtype).eps * times[-1],
                force_dtmin=False,
            ),
            step_ts=times,
        ),
        max_steps=max_steps,
        throw=False,
    )
    completed = solution.result == diffrax.RESULTS.successful
    status = jnp.where(completed, FlowStatus.COMPLETED, FlowStatus.NOT_COMPLETED)
    return Solution(solution.ys, solution.stats["num_steps"], status.astype(jnp.int32))


def distance_from_flow(
    problem: Problem | Callable,
    params: PyTree,
    *,
    learning_rates: Sequence | ArrayLike,
    times: Sequence | ArrayLike,
    rtol: float | None = None,
    atol: float | None = None,
) -> FlowDistance:
    """Return the distance of descent from the flow at several learning rates.

        |w_k - w(k eta)|,   w_{k+1} = w_k - eta grad C(w_k)

    The distance is proportional to eta if eta is small.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: starting point of descent and flow.
        learning_rates: learning rate eta of each descent, > 0.
        times: times of the comparison, ascending; integer multiples of every learning rate.
        rtol, atol: tolerances of the flow, as for `gradient_flow`.

    Examples:
        On the bowl w^2 / 2 with w_0 = 1, ten steps of 0.1 end at 0.9^10 instead of e^-1:

        >>> bowl = lambda w: w**2 / 2
        >>> result = distance_from_flow(bowl, jnp.array(1.0), learning_rates=[0.1], times=[1.0])
        >>> round(float(result.distance[0, 0]), 3)
        0.019
    """
    counts = _counts(learning_rates, times)
    times = np.asarray(times, float)
    flow = gradient_flow(problem, params, times=times, rtol=rtol, atol=atol)
    problem, params = problem_at(problem, params), strip_weak_types(params)
    dtype = cost_type(params)
    rates = jnp.asarray(learning_rates, dtype)

    def descend(rate, counts):
        def step(_number, w):
            g = value_and_gradient(problem, w)[1]
            return jax.tree.map(lambda w, g: (w - rate * g).astype(w.dtype), w, g)

        def record(w, interval):
            count, on_flow = interval
            w = jax.lax.fori_loop(0, count, step, w)
            squares = jax.tree.map(lambda a, b: jnp.sum((a - b).astype(dtype) ** 2), w, on_flow)
            value = value_and_gradient(problem, w)[0]
            return w, (jnp.sqrt(sum(jax.tree.leaves(squares))), value, w)

        return jax.lax.scan(record, params, (counts, flow.params))[1]

    distances, costs, points = jax.lax.map(lambda one: descend(*one), (rates, jnp.asarray(counts)))
    return FlowDistance(rates, jnp.asarray(times, dtype), distances, costs, points, flow)


def _check_times(caller, times):
    """Check that times are ascending and >= 0; traced times are not validated."""
    check_numbers(f"{caller}: times", times, ndim=1)
    lengths = 0 if is_traced(times) else np.diff(times, prepend=0)
    if not np.all((lengths >= 0) & np.isfinite(lengths)):
        raise InputError(
            f"{caller}: times = {times!r:.80}, expected an ascending list of numbers from 0 on"
        )


def check_positive(caller: str, **numbers: ArrayLike) -> None:
    """Check that each argument is one finite number above 0; traced values are not validated."""
    remedy = "; map the function (jax.vmap) over several"
    for name, value in numbers.items():
        check_limits(f"{caller}: {name}", value, Positive, remedy=remedy)


def _counts(learning_rates, times):
    """Return the numbers of steps between successive times, [rates, times]."""
    _check_times("distance_from_flow", times)
    check_numbers("distance_from_flow: learning_rates", learning_rates, Positive, ndim=1)
    rates, end_times = np.asarray(learning_rates, float), np.asarray(times, float)
    steps = end_times / rates[:, None]
    rounded = np.round(steps)
    fractional = np.argwhere(np.abs(steps - rounded) > 1e-6 * np.maximum(rounded, 1))
    if len(fractional):
        i, j = fractional[0]
        raise InputError(
            f"distance_from_flow: times has {end_times[j]:g}, which is {steps[i, j]:g} steps of "
            f"learning rate {rates[i]:g}, expected a whole number; choose times that are multiples "
            f"of the largest rate, and rates that differ by factors of 2"
        )
    return np.diff(rounded, prepend=0, axis=1).astype(np.int32)
