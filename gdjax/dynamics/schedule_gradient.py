"""Gradient of the cost at the end of a descent with respect to its learning rates.

    w_{t+1} = w_t + u_t(grad C(w_t); eta_t),   h_t = d E(w_T) / d eta_t

E is the cost over all data, or that of a validation problem.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree

from gdjax.base.arguments import check_flag, check_limits, check_numbers
from gdjax.base.errors import InputError
from gdjax.base.keys import Streams
from gdjax.base.limits import Count
from gdjax.base.reprs import fields_with
from gdjax.base.slabs import RecentlyUsed
from gdjax.base.status import Status
from gdjax.descent.arguments import descent_keys, initial_model_state
from gdjax.descent.batches import Order, check_replacement
from gdjax.descent.block import strip_weak_types
from gdjax.descent.step import objective
from gdjax.dynamics.tangents import with_tangent
from gdjax.problems.checks import check_params
from gdjax.problems.evaluation import deterministic_cost, evaluation_microbatch
from gdjax.problems.facts import facts_of, problem_at
from gdjax.problems.microbatches import cost_microbatch, in_microbatches
from gdjax.problems.optimizers import cost_type, optimizer_at_rate_one, update
from gdjax.problems.problem import Problem, as_problem

MAX_KNOTS = 16
FORWARD_KNOTS = 4  # up to this number of knots, forward mode needs less time and memory


class HypergradientStatus(Status):
    """Whether the gradient says how the cost changes.

    - RELIABLE: the checks of `hypergradient` that apply passed.
    - CHAOTIC: rounding errors grow so much, or the cost is so rough, that the gradient does not
      predict the change of the cost.
    - NOT_FINITE: the cost or a derivative is not finite, for example since the descent diverged.
    - UNCHECKED: the gradient is finite, and the checks were not made.
    """

    RELIABLE = 0
    CHAOTIC = 1
    NOT_FINITE = 2
    UNCHECKED = 3


class Hypergradient(NamedTuple):
    """Gradient of the final cost with respect to a schedule.

    Args:
        cost: cost at the end of the descent.
        gradient: derivative with respect to each entry of the schedule.
        status: a `HypergradientStatus`.
        growth: largest growth of one random displacement between two steps; NaN if unchecked.
        rounding_change: relative change of the gradient if the start moves by a few units in the
            last place; NaN if unchecked.
        predicted_ratio: change of the cost for a change of the schedule by 1 % along the gradient,
            relative to the change that the gradient predicts; NaN if unchecked.
    """

    cost: Float[Array, ""]
    gradient: Float[Array, " entries"]
    status: Int[Array, ""]
    growth: Float[Array, ""]
    rounding_change: Float[Array, ""]
    predicted_ratio: Float[Array, ""]

    __repr__, _repr_html_ = fields_with(status=HypergradientStatus)


def hypergradient(
    problem: Problem | Callable,
    make_optimizer: Callable[..., optax.GradientTransformation],
    params: PyTree,
    schedule: Sequence | ArrayLike,
    num_steps: int,
    *,
    key: Key[Array, ""] | Streams,
    knots: bool = False,
    validation: Problem | Callable | None = None,
    model_state: PyTree = None,
    batch_size: int | None = None,
    replacement: bool = False,
    check: bool = True,
) -> Hypergradient:
    """Return the gradient of a descent's final cost with respect to its learning rates.

        h = d E(w_T) / d schedule

    Reverse mode keeps the states at the ends of sqrt(T) segments and, within one segment, of each
    step: 2 sqrt(T) states. It takes the time of about four descents, and the checks take that of
    eight more. Up to four knots are differentiated in forward mode. The function can be mapped
    over starting points with `jax.vmap`; these runs share the order of mini-batches.

    The status is RELIABLE if the largest growth of a random displacement, times the rounding unit,
    is at most 0.01; if gradients from starts that differ by a few units in the last place differ by
    at most 10 %; and if a change of the schedule by 1 % along the gradient, to both sides, changes
    the cost by between half of and twice what the gradient predicts. Only the first is required
    where the predicted change is lost in the rounding of the cost. Otherwise the status is CHAOTIC.
    A positive Lyapunov exponent alone is no reason: a chaotic transient can end in convergence.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        make_optimizer: factory that accepts a `learning_rate`, such as `optax.sgd`. Its update must
            be differentiable: Adam without an `eps_root` above 0, and optimizers that use signs,
            are refused.
        params: starting point.
        schedule: learning rate of each step; with `knots`, logarithms of rates at equal distances
            from the first step to the last, between which they are interpolated linearly.
        num_steps: number of steps T.
        key: random key of the mini-batches and of a random cost, as for `gd.descend`.
        knots: whether the schedule consists of 2 to 16 knots.
        validation: problem whose cost at the end is differentiated; None means `problem`.
        model_state: initial model state, for a cost that has one.
        batch_size: number of samples per step; None uses the whole training set.
        replacement: whether mini-batches are drawn with replacement.
        check: whether the three checks are made.

    Returns:
        Cost, gradient, status, and the values of the three checks.

    Examples:
        For the cost sum lambda w^2 / 2, h_t = -sum lambda^2 w_T^2 / (1 - eta_t lambda):

        >>> rates, key = jnp.array([0.5, 0.2]), jax.random.key(0)
        >>> result = hypergradient(lambda w: w**2 / 2, optax.sgd, jnp.ones(()), rates, 2, key=key)
        >>> status = HypergradientStatus(int(result.status))
        >>> [round(float(h), 4) for h in result.gradient], status.name
        ([-0.32, -0.2], 'RELIABLE')

    References: Maclaurin et al. 2015, arXiv 1502.03492; Metz et al. 2021, arXiv 2111.05803
    (gradients of chaotic programs); Wu et al. 2018, arXiv 1803.02021 (short-horizon bias).
    """
    check_params(params)
    check_limits("hypergradient: num_steps", num_steps, Count)
    check_numbers("hypergradient: schedule", schedule)
    check_flag("hypergradient: knots", knots)
    check_flag("hypergradient: check", check)
    params = strip_weak_types(params)
    schedule = jnp.asarray(schedule, cost_type(params))
    low, high = (2, MAX_KNOTS) if knots else (num_steps, num_steps)
    if schedule.ndim != 1 or not low <= len(schedule) <= high:
        expected = f"{low} to {high} knots" if knots else f"num_steps = {num_steps} rates"
        raise InputError(f"hypergradient: schedule has shape {schedule.shape}, expected {expected}")
    _check_differentiable(make_optimizer, params)
    check_replacement(replacement, batch_size is not None)
    problem = as_problem(problem)
    model_state = initial_model_state(problem, model_state)
    order_key, noise, _ = descent_keys(key, random=problem.random, probing=False)
    facts = facts_of(
        problem,
        {"optimizer": {"learning_rate": schedule[0]}},
        make_optimizer=make_optimizer,
        params=params,
        model_state=model_state,
        batch_size=batch_size,
    )
    problem = facts.problem
    rows = None
    if batch_size is not None:
        order = Order((order_key,), problem.samples, batch_size, replacement=replacement)
        rows = jnp.asarray(order.rows(0, num_steps)[0])
    return _compiled(
        problem,
        problem if validation is None else problem_at(validation, params),
        params,
        model_state,
        schedule,
        rows,
        noise,
        make_optimizer=facts.make_optimizer,
        num_steps=num_steps,
        knots=knots,
        check=check,
    )


def _hypergradient(
    problem,
    validation,
    params,
    model_state,
    schedule,
    rows,
    noise,
    *,
    make_optimizer,
    num_steps,
    knots,
    check,
):
    numbers = jnp.arange(num_steps)

    def rates_of(schedule):
        if not knots:
            return schedule
        places = jnp.linspace(0, num_steps - 1, len(schedule), dtype=schedule.dtype)
        return jnp.exp(jnp.interp(numbers.astype(schedule.dtype), places, schedule))

    def final_cost(params, schedule):
        step = partial(_step, problem, make_optimizer, noise)
        rates = rates_of(schedule)
        start = (params, make_optimizer(learning_rate=rates[0]).init(params), model_state)
        w, _, final_state = _checkpointed(step, start, (rates, numbers, rows))
        cost = deterministic_cost(validation, model_state=final_state, step=num_steps)
        mean = in_microbatches(cost, evaluation_microbatch(validation), validation.weight)
        return mean(w, validation.data)

    def gradient_at(params):
        if not knots or len(schedule) > FORWARD_KNOTS:
            return jax.value_and_grad(final_cost, 1)(params, schedule)

        def twice(schedule):
            value = final_cost(params, schedule)
            return value, value

        gradient, value = jax.jacfwd(twice, has_aux=True)(schedule)
        return value, gradient

    cost, gradient = gradient_at(params)
    codes = HypergradientStatus
    growth = rounding_change = ratio = jnp.full((), jnp.nan, schedule.dtype)
    status = codes.UNCHECKED
    if check:
        make_watched = with_tangent(make_optimizer, key=jax.random.key(0))
        growth = _largest_growth(
            partial(_step, problem, make_watched, noise),
            (params, make_watched(learning_rate=rates_of(schedule)[0]).init(params), model_state),
            (rates_of(schedule), numbers, rows),
        )
        perturbed = _perturbed_by_rounding(params)
        length = jnp.linalg.norm(gradient)
        rounding_change = jnp.linalg.norm(gradient_at(perturbed)[1] - gradient) / length
        reach = math.sqrt(len(schedule)) if knots else jnp.linalg.norm(schedule)
        change = 0.01 * reach * gradient / length
        above = final_cost(params, schedule + change)
        below = final_cost(params, schedule - change)
        predicted = 0.01 * reach * length
        ratio = (above - below) / 2 / predicted
        eps = jnp.finfo(schedule.dtype).eps
        # The predicted change is lost in the rounding of the cost.
        is_flat = predicted <= 100 * eps * jnp.abs(cost)
        reliable = (growth * eps <= 0.01) & (
            is_flat | ((rounding_change <= 0.1) & (ratio >= 0.5) & (ratio <= 2))
        )
        status = jnp.where(reliable, codes.RELIABLE, codes.CHAOTIC)
    finite = jnp.isfinite(cost) & jnp.isfinite(gradient).all()
    status = jnp.where(finite, status, codes.NOT_FINITE).astype(jnp.int32)
    ratio = ratio.astype(schedule.dtype)
    return Hypergradient(cost, gradient, status, growth, rounding_change, ratio)


STATIC = ("make_optimizer", "num_steps", "knots", "check")
_compiled = RecentlyUsed(_hypergradient, static_argnames=STATIC)


def _step(problem, make_optimizer, noise, state, inputs):
    """Return parameters, optimizer state and model state after one step."""
    params, opt_state, model_state = state
    rate, number, rows = inputs
    minimized = objective(
        problem.cost,
        problem.data if rows is None else jax.tree.map(lambda a: a[rows], problem.data),
        key=None if noise is None else jax.random.fold_in(noise, number),
        step=number,
        model_state=model_state,
        microbatch=cost_microbatch(problem) if rows is None else None,
        weight=problem.weight,
    )
    value, gradient, model_state = minimized.evaluate(params)
    updates, opt_state = update(
        make_optimizer(learning_rate=rate),
        gradient,
        opt_state,
        params,
        value=value,
        value_fn=minimized.value,
        grad_fn=minimized.gradient,
    )
    return optax.apply_updates(params, updates), opt_state, model_state


def _checkpointed(step, start, inputs):
    """Return the state after all steps, with two levels of checkpoints for reverse mode."""
    num_steps = len(inputs[0])
    length = math.isqrt(num_steps - 1) + 1
    count = -(-num_steps // length)

    def in_segments(a):
        padding = [(0, count * length - num_steps)] + [(0, 0)] * (a.ndim - 1)
        return jnp.pad(a, padding, mode="edge").reshape(count, length, *a.shape[1:])

    is_step = jnp.arange(count * length).reshape(count, length) < num_steps

    @jax.checkpoint
    def one(state, inputs):
        inputs, is_step = inputs
        return jax.tree.map(partial(jnp.where, is_step), step(state, inputs), state), None

    @jax.checkpoint
    def segment(state, inputs):
        return jax.lax.scan(one, state, inputs)

    return jax.lax.scan(segment, start, (jax.tree.map(in_segments, inputs), is_step))[0]


def _largest_growth(step, start, inputs):
    """Return the largest growth of one random displacement from one step to a later one."""

    def logarithm(state, inputs):
        state = step(state, inputs)
        return state, state[1].log_growth

    logs = jax.lax.scan(logarithm, start, inputs)[1]
    lowest = jax.lax.cummin(jnp.concatenate([jnp.zeros(1, logs.dtype), logs]))
    return jnp.exp(jnp.max(logs - lowest[:-1]))


def _perturbed_by_rounding(params):
    """Return a start that differs in the last places; one unit alone may be lost in a step."""
    noise = optax.tree.random_like(jax.random.key(1), params)
    return jax.tree.map(lambda a, z: a * (1 + 4 * jnp.finfo(a.dtype).eps * z), params, noise)


def _check_differentiable(make_optimizer, params):
    """Check that the first update has a derivative that is a number, and not 0 everywhere."""
    name = f"make_optimizer = {make_optimizer!r:.80}"
    shapes = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), params)
    with jax.ensure_compile_time_eval():
        optimizer = optimizer_at_rate_one("hypergradient", make_optimizer)

        def first(gradient):
            nothing = jnp.zeros((), cost_type(shapes))
            return update(
                optimizer,
                gradient,
                optimizer.init(shapes),
                shapes,
                value=nothing,
                value_fn=lambda w: nothing,
                grad_fn=lambda w: gradient,
            )[0]

        # All entries of the gradient differ, and the last is 0, as that of a dead coordinate.
        gradient = jax.tree.map(
            lambda a: jnp.linspace(1, 0, max(a.size, 2), dtype=a.dtype)[-a.size :].reshape(a.shape),
            shapes,
        )
        ones = jax.tree.map(jnp.ones_like, shapes)
        derivative = jax.tree.leaves(jax.jvp(first, (gradient,), (ones,))[1])
        has_nan = any(bool(jnp.isnan(a).any()) for a in derivative)
        is_zero = all(bool((a == 0).all()) for a in derivative)
    if has_nan:
        raise InputError(
            f"hypergradient: {name} has no derivative where an entry of the gradient is 0; for "
            f"Adam, pass an eps_root above 0: lambda learning_rate: optax.adam(learning_rate, "
            f"eps_root=1e-8)"
        )
    if is_zero:
        raise InputError(
            f"hypergradient: {name} moves by the sign of the gradient, whose derivative is 0, so "
            f"that the rates of earlier steps would have no effect; pass an optimizer with a "
            f"differentiable update, such as optax.sgd"
        )
