"""One step of gradient descent, as a pure function.

    w_{t+1} = w_t + u(grad C(w_t)),   plain descent: u(g) = -learning_rate * g

`State` is what the next step needs, with the gradient at the present point already in it: so a
record of the cost costs nothing when the step sees the whole training set. `Info` is what we look
at. The simplest instance halves the distance to the bottom of a bowl:

>>> import optax
>>> bowl = lambda w, batch: 0.5 * jnp.sum(w**2)
>>> state = init(bowl, optax.sgd(0.5), jnp.array([4.0]), None)
>>> state, info = step(bowl, optax.sgd(0.5), state, None, None)
>>> state.params.tolist(), float(info.cost)
([2.0], 8.0)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree, ScalarLike


class State(NamedTuple):
    """What the next step needs: a point, the optimiser's memory, and the gradient at the point."""

    params: PyTree
    optimizer: PyTree
    cost: Float[Array, ""]
    gradient: PyTree
    diverged_at: Int[Array, ""]


class Info(NamedTuple):
    """What we look at: the cost at the point that the step left, and whether it moved."""

    cost: Float[Array, ""]
    moved: Bool[Array, ""]


def cost_type(params: PyTree) -> jnp.dtype:
    """The type that costs are kept in: that of the parameters, at least float32."""
    return jnp.result_type(jnp.float32, *jax.tree.leaves(params))


def blank(optimizer: optax.GradientTransformation, params: PyTree) -> State:
    """The state before the first evaluation; a step with `active` False evaluates it."""
    return State(
        params=params,
        optimizer=optimizer.init(params),
        cost=jnp.array(jnp.nan, cost_type(params)),
        gradient=jax.tree.map(jnp.zeros_like, params),
        diverged_at=jnp.array(-1, jnp.int32),
    )


def init(
    cost: Callable, optimizer: optax.GradientTransformation, params: PyTree, batch: PyTree
) -> State:
    """The state at a starting point, its cost and gradient evaluated on `batch`."""
    state = blank(optimizer, params)
    state, _ = step(cost, optimizer, state, batch, batch, active=False, at=0)
    return state


def finite(value: Float[Array, ""], gradient: PyTree, bound: ScalarLike) -> Bool[Array, ""]:
    """Whether a descent can go on: cost a number within the bound, gradient free of NaN and inf."""
    # A sum is infinite or NaN as soon as one entry is: one pass, no comparison an entry. Half
    # precision would overflow at a sum of 65,504, and with it most bounds.
    value = value.astype(cost_type(value))
    total = sum(jnp.sum(g, dtype=cost_type(g)) for g in jax.tree.leaves(gradient))
    return (value <= bound) & jnp.isfinite(value) & jnp.isfinite(total)


def step(
    cost: Callable,
    optimizer: optax.GradientTransformation,
    state: State,
    batch: PyTree,
    next_batch: PyTree,
    *,
    active: bool | Bool[Array, ""] = True,
    at: int | Int[Array, ""] = 0,
    bound: ScalarLike = 1e12,
    evaluate: Callable = jax.value_and_grad,
) -> tuple[State, Info]:
    """Move once along the gradient in `state`, then evaluate the next one.

    Args:
        cost: `cost(params, batch) -> scalar`.
        optimizer: any Optax transformation, line searches included.
        state: from `init` or an earlier step.
        batch: what the gradient in `state` was evaluated on (a line search asks again).
        next_batch: what the next gradient is evaluated on; the same object for the whole set.
        active: False evaluates without moving.
        at: number of the step that arrives, noted if it diverges.
        bound: a cost above it, NaN or infinity freezes the run from here on.
        evaluate: turns `cost` into `(params, batch) -> (value, gradient)`.
    """
    go = (state.diverged_at < 0) & active
    updates, optimizer_next = optax.with_extra_args_support(optimizer).update(
        state.gradient,
        state.optimizer,
        state.params,
        value=state.cost,
        grad=state.gradient,
        value_fn=lambda params: cost(params, batch),
    )
    params, memory = jax.tree.map(
        lambda new, old: jnp.where(go, new, old),
        (optax.apply_updates(state.params, updates), optimizer_next),
        (state.params, state.optimizer),
    )
    value, gradient = evaluate(cost)(params, next_batch)
    diverges = (state.diverged_at < 0) & ~finite(value, gradient, bound)
    state_next = State(
        params=params,
        optimizer=memory,
        cost=value.astype(state.cost.dtype),
        gradient=gradient,
        diverged_at=jnp.where(diverges, jnp.int32(at), state.diverged_at),
    )
    return state_next, Info(cost=state.cost, moved=go)
