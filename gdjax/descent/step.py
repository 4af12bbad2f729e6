"""One step of gradient descent, as a pure function.

    v_t, g_t = value and gradient of C at w_t on batch t,   w_{t+1} = w_t + u(g_t)

A step evaluates at its beginning, then moves: the cost at t is what step t computes anyway, and
what a cost carries beside the parameters sees each batch once. `State` is what the next step needs,
`Info` what we look at. Plain descent is u(g) = -learning_rate * g; the simplest instance halves the
distance to the bottom of a bowl:

>>> import optax
>>> bowl = lambda w: 0.5 * jnp.sum(w**2)
>>> state = init(optax.sgd(0.5), jnp.array([4.0]))
>>> state, info = step(bowl, optax.sgd(0.5), state)
>>> state.params.tolist(), float(info.cost)
([2.0], 8.0)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, ScalarLike

from gdjax.descent.updates import update
from gdjax.problems.chunks import in_chunks
from gdjax.problems.problem import given_to
from gdjax.summaries import fields


class State(NamedTuple):
    """What the next step needs: a point, the optimiser's memory, and what the cost carries."""

    params: PyTree
    memory: PyTree
    state: PyTree
    diverged_at: Int[Array, ""]

    __repr__ = fields


class Info(NamedTuple):
    """What we look at: cost and gradient at the step's beginning, and whether it moved."""

    cost: Float[Array, ""]
    gradient: PyTree
    moved: Bool[Array, ""]

    __repr__ = fields


class Objective(NamedTuple):
    """The cost of one step as a function of the parameters alone.

    Args:
        value: `params -> scalar`.
        gradient: `params -> gradient`.
        evaluate: `params -> (scalar, gradient, state)`, the state after the batch was seen.
    """

    value: Callable
    gradient: Callable
    evaluate: Callable


def cost_type(params: PyTree) -> jnp.dtype:
    """The type that costs are kept in: that of the parameters, at least float32."""
    return jnp.result_type(jnp.float32, *jax.tree.leaves(params))


def init(optimizer: optax.GradientTransformation, params: PyTree, state: PyTree = None) -> State:
    """The state at a starting point.

    Args:
        optimizer: any Optax transformation.
        params: where.
        state: what the cost carries at first, where it carries anything.
    """
    return State(params, optimizer.init(params), state, jnp.array(-1, jnp.int32))


def objective(
    cost: Callable,
    batch: PyTree,
    *,
    key: Key[Array, ""] | None = None,
    step: int | Int[Array, ""] = 0,
    state: PyTree = None,
    chunk: int | None = None,
) -> Objective:
    """What a step minimises: a cost on its batch, with its key, its number and its state.

    Args:
        cost: `cost(params, batch)`, or `cost(params)` where the batch is None; of `key`, `step`
            and `state` it is given what it declares.
        batch: samples.
        key: for random numbers.
        step: the step's number.
        state: what the cost carries.
        chunk: samples at a time, for a cost that is a mean over samples; None for all.
    """
    needs = given_to(cost)
    every = {"key": key, "step": jnp.asarray(step, jnp.int32), "state": state}
    given = {name: every[name] for name in needs}
    carries = "state" in needs

    def whole(params, batch):
        return cost(params, **given) if batch is None else cost(params, batch, **given)

    def value(params, batch):
        return whole(params, batch)[0] if carries else whole(params, batch)

    def evaluate(params):
        if not carries:
            return *in_chunks(jax.value_and_grad(value), chunk)(params, batch), state
        (found, carried), gradient = jax.value_and_grad(whole, has_aux=True)(params, batch)
        return found, gradient, carried

    return Objective(
        value=lambda params: in_chunks(value, chunk)(params, batch),
        gradient=lambda params: in_chunks(jax.grad(value), chunk)(params, batch),
        evaluate=evaluate,
    )


def finite(value: Float[Array, ""], gradient: PyTree, bound: ScalarLike) -> Bool[Array, ""]:
    """Whether a descent can go on: cost a number within the bound, gradient free of NaN and inf."""
    # A sum is infinite or NaN as soon as one entry is: one pass, no comparison an entry. Half
    # precision would overflow at a sum of 65,504, and with it most bounds.
    value = value.astype(cost_type(value))
    total = sum(jnp.sum(g, dtype=cost_type(g)) for g in jax.tree.leaves(gradient))
    return (value <= bound) & jnp.isfinite(value) & jnp.isfinite(total)


def evaluate(
    minimised: Objective, state: State, *, at: int | Int[Array, ""], bound: ScalarLike
) -> tuple[State, Info, PyTree]:
    """The first half of a step: cost and gradient where it stands.

    Returns:
        The state, with the step noted at which it diverged; cost and gradient; what the cost would
        carry after this batch.
    """
    value, gradient, carried = minimised.evaluate(state.params)
    diverges = (state.diverged_at < 0) & ~finite(value, gradient, bound)
    state = state._replace(diverged_at=jnp.where(diverges, jnp.int32(at), state.diverged_at))
    info = Info(value.astype(cost_type(state.params)), gradient, state.diverged_at < 0)
    return state, info, carried


def move(
    optimizer: optax.GradientTransformation,
    minimised: Objective,
    state: State,
    info: Info,
    carried: PyTree,
    *,
    go: Bool[Array, ""],
) -> State:
    """The second half of a step: the update, where `go`; otherwise all stays as it is."""
    updates, memory = update(
        optimizer,
        info.gradient,
        state.memory,
        state.params,
        value=info.cost,
        value_fn=minimised.value,
        grad_fn=minimised.gradient,
    )
    ahead = (optax.apply_updates(state.params, updates), memory, carried)
    params, memory, carried = jax.tree.map(
        lambda new, old: jnp.where(go, new, old), ahead, (state.params, state.memory, state.state)
    )
    return State(params, memory, carried, state.diverged_at)


def step(
    cost: Callable,
    optimizer: optax.GradientTransformation,
    state: State,
    batch: PyTree = None,
    *,
    key: Key[Array, ""] | None = None,
    at: int | Int[Array, ""] = 0,
    bound: ScalarLike = 1e12,
    chunk: int | None = None,
) -> tuple[State, Info]:
    """Evaluate where the state stands, then move once along the gradient.

    Args:
        cost: `cost(params, batch)`, or `cost(params)` where the batch is None. Of the keywords
            `key`, `step` and `state` it is given what it declares; one with `state` returns
            `(scalar, state)`.
        optimizer: any Optax transformation, line searches included: what they ask again is
            answered for the same batch, key and state.
        state: from `init` or an earlier step.
        batch: samples of this step.
        key: for a random cost.
        at: the step's number, noted if it diverges.
        bound: a cost above it, NaN or infinity freezes the run from here on.
        chunk: as for `objective`.
    """
    minimised = objective(cost, batch, key=key, step=at, state=state.state, chunk=chunk)
    state, info, carried = evaluate(minimised, state, at=at, bound=bound)
    return move(optimizer, minimised, state, info, carried, go=info.moved), info
