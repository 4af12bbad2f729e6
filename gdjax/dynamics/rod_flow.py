"""Rod flow, a model of descent as an oscillation around a center.

    w_t = c + x u or c - x u in alternation,   |u| = 1

    dc/dt = -(1 + eta/2 Hm) m,   du/dt = eta/2 s (v - s u),   d(log x)/dt = eta/4 s^2 - 1/eta
    m = (a + b) / 2,   v = (a - b) / (2 x),   s = u^T v,   Hm = (H(c + x u) + H(c - x u)) / 2

The flow consists of differential equations for the center c, the direction u and the amplitude x of
the oscillation, and needs no eigenvectors. It differs from the central flow in that the amplitude
has its own equation: it grows where the curvature s along u exceeds 2 / eta, and decays where |s|
is below 2 / eta. Here a and b are the gradients of the cost C at c + x u and c - x u, and H is the
Hessian of C.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from gdjax.base.arguments import check_limits
from gdjax.base.limits import Count, NotNegative
from gdjax.base.reprs import fields_with
from gdjax.curvature.directional_derivatives import DirectionalDerivatives, directional_derivatives
from gdjax.dynamics.gradient_flow import (
    MAX_STEPS,
    FlowStatus,
    check_positive,
    solve_ode,
    tolerances,
)
from gdjax.problems.checks import ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem


class OscillatingFlow(NamedTuple):
    """A center and its oscillation at equally spaced times, including 0 and the final time.

    At times that were not reached, `params` and `amplitude` are infinite, and `direction` and
    `curvature` are NaN.

    Args:
        time: time since the start, eta times the number of descent steps.
        params: the center c, a pytree like the starting point whose leading axis indexes the times.
        direction: direction u of the oscillation, with norm 1; a pytree like `params`.
        amplitude: amplitude x of the oscillation.
        curvature: curvature s along u. The amplitude grows where the curvature exceeds 2 / eta.
        cost: cost C at the center.
        mean_cost: (C(c + x u) + C(c - x u)) / 2, the cost of descent averaged over two steps.
        num_steps: number of steps of the solver, including rejected ones.
        status: a `FlowStatus`.
    """

    time: Float[Array, " times"]
    params: PyTree
    direction: PyTree
    amplitude: Float[Array, " times"]
    curvature: Float[Array, " times"]
    cost: Float[Array, " times"]
    mean_cost: Float[Array, " times"]
    num_steps: Int[Array, ""]
    status: Int[Array, ""]

    __repr__, _repr_html_ = fields_with(status=FlowStatus)


class _Velocity(NamedTuple):
    """Time derivatives of the center, direction and log amplitude, and the curvature."""

    center: Float[Array, " n"]
    direction: Float[Array, " n"]
    growth: Float[Array, ""]
    curvature: Float[Array, ""]


def rod_flow(
    problem: Problem | Callable,
    params: PyTree,
    learning_rate: ArrayLike,
    time: ArrayLike,
    *,
    intervals: int = 100,
    noise: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = MAX_STEPS,
) -> OscillatingFlow:
    """Solve the rod flow, with the mean curvature between the oscillation's ends.

        dc/dt = -grad_c [K + eta/4 |grad_c K|^2],   K = (C(c + x u) + C(c - x u)) / 2
        dS/dt = eta/8 D D^T - 2/eta S,   S = x^2 u u^T,   D = a - b

    For descent, c = (w_t + w_{t+1}) / 2 and d = (w_t - w_{t+1}) / 2 obey exactly

        c' - c = -eta m,   d' d'^T - d d^T = eta^2/4 (a a^T + b b^T) - 2 d d^T,

    where c' and d' belong to the next step, and a and b are the gradients at c + d and c - d. Since
    a a^T + b b^T = 2 m m^T + D D^T / 2, one part of d d^T comes from the drift of the center, and
    is eta^2/4 m m^T in equilibrium. It does not oscillate and is omitted here. The rate of change
    of the other part is dS/dt. The solved equations of x and u are its projection onto the tangent
    space of the matrices of rank one: the best approximation of dS/dt by a derivative of x^2 u u^T.
    The term with eta/4 makes the error of the center second order in eta away from the edge.

    On a quadratic cost dS/dt = eta/2 H S H - 2/eta S, so S grows along an eigenvector if and only
    if the absolute value of its eigenvalue exceeds 2 / eta. On the quartic cost
    p w^2 / 2 - q w^4 / 4 with p > 2 / eta and q > 0, the amplitude becomes that of the exact cycle
    of descent around 0, x^2 = (p - 2/eta) / q.

    The start is w_0 = c + x u, where x u is the alternating part of the first steps,
    (w_0 - 2 w_1 + w_2) / 4 = eta/4 (grad C(w_0) - grad C(w_1)), plus a random vector whose entries
    have the standard deviation `noise`.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: starting point w_0, any pytree of real arrays.
        learning_rate: learning rate eta of descent, > 0; may be traced.
        time: final time (eta times the number of descent steps), > 0; may be traced.
        intervals: number of intervals between the times at which the flow is returned.
        noise: standard deviation e of the random error of one step along u, which adds e^2 / eta
            to d(x^2)/dt; None means an estimate of the rounding error, the machine epsilon times
            the root mean square of w_0. If it is 0, the amplitude approaches 0 while the absolute
            value of the curvature stays below 2 / eta.
        rtol, atol: tolerances of the solver, as for `gradient_flow`.
        max_steps: maximum number of steps of the solver.

    Examples:
        Descent on this valley becomes a cycle with the amplitude sqrt(3 - 2 / 0.8):

        >>> valley = lambda w: 3 * w**2 / 2 - w**4 / 4
        >>> flow = rod_flow(valley, jnp.array(0.1), 0.8, 40.0)
        >>> abs(float(flow.params[-1])) < 1e-3, round(float(flow.amplitude[-1]), 3)
        (True, 0.707)

    References: Regis and Chewi 2026, *Rod Flow*, arXiv 2602.01480; Koch and Lubich 2007, *Dynamical
    low-rank approximation*.
    """
    flat, unravel = ravel_params(params)
    check_positive("rod_flow", learning_rate=learning_rate, time=time)
    check_limits("rod_flow: intervals", intervals, Count)
    check_limits("rod_flow: max_steps", max_steps, Count)
    if noise is not None:
        check_limits("rod_flow: noise", noise, NotNegative)
    problem, dtype = problem_at(problem, params), cost_type(params)
    flat, rate = flat.astype(dtype), jnp.asarray(learning_rate, dtype)
    times = jnp.asarray(time, dtype) / intervals * jnp.arange(intervals + 1, dtype=dtype)
    rtol, atol = tolerances("rod_flow", dtype, rtol, atol)
    eps = jnp.finfo(dtype).eps
    error = eps * _root_mean_square(flat) if noise is None else jnp.asarray(noise, dtype)
    derivatives = directional_derivatives(problem, unravel)

    def velocity_at(c, u, log_x):
        return _velocity(derivatives, rate, c, u / jnp.linalg.norm(u), jnp.exp(log_x))

    def velocity(_time, state, log_error):
        now, log_x = velocity_at(*state), state[2]
        growth = now.growth + jnp.exp(2 * (log_error - log_x)) / (2 * rate)
        return now.center, now.direction, growth

    def record(state):
        c, u, log_x = state
        u, x = u / jnp.linalg.norm(u), jnp.exp(log_x)
        values, _ = jax.vmap(derivatives.gradient)(jnp.stack([c, c + x * u, c - x * u]))
        return values[0], jnp.mean(values[1:]), velocity_at(*state).curvature

    start = _start(derivatives, rate, flat, error)
    first, log_error = jnp.minimum(times[1], rate), jnp.log(error)
    solution = solve_ode(
        velocity, start, log_error, times, rtol=rtol, atol=atol, max_steps=max_steps, first=first
    )
    c, u, log_x = solution.ys
    cost, mean_cost, curvature = jax.lax.map(record, solution.ys)
    return OscillatingFlow(
        time=times,
        params=jax.vmap(unravel)(c),
        direction=jax.vmap(unravel)(u / jnp.linalg.norm(u, axis=1, keepdims=True)),
        amplitude=jnp.exp(log_x),
        curvature=curvature,
        cost=cost,
        mean_cost=mean_cost,
        num_steps=solution.num_steps,
        status=solution.status,
    )


def _velocity(derivatives: DirectionalDerivatives, rate, c, u, x) -> _Velocity:
    """Return the velocity of the rod flow."""
    # The difference of the gradients would have too large a rounding error for smaller amplitudes.
    x = jnp.maximum(x, jnp.sqrt(jnp.finfo(c.dtype).eps) * _root_mean_square(c))
    ends = jnp.stack([c + x * u, c - x * u])
    _, (a, b) = jax.vmap(derivatives.gradient)(ends)
    m, v = (a + b) / 2, (a - b) / (2 * x)
    curvature = u @ v
    change = jnp.mean(jax.vmap(derivatives.product, (0, None))(ends, m), axis=0)
    return _Velocity(
        center=-m - rate / 2 * change,
        direction=rate / 2 * curvature * (v - curvature * u),
        growth=rate / 4 * curvature**2 - 1 / rate,
        curvature=curvature,
    )


def _start(derivatives, rate, w, error):
    """Return c, u and log x with c + x u = w.

    The vector x u is the alternating part of two steps, plus a small random vector.
    """
    _, g = derivatives.gradient(w)
    _, g_next = derivatives.gradient(w - rate * g)
    alternating = rate / 4 * (g - g_next)
    # Where the gradients are equal, the random vector alone gives the direction, so its square must
    # not underflow.
    info = jnp.finfo(w.dtype)
    tiny = jnp.maximum(error, jnp.sqrt(info.tiny / info.eps))
    u = alternating + tiny * jax.random.normal(jax.random.key(0), w.shape, w.dtype)
    length = jnp.linalg.norm(u)
    return w - u, u / length, jnp.log(length)


def _root_mean_square(w):
    return jnp.sqrt(jnp.mean(w**2))
