"""A step of gradient descent as a pure function.

    v_t, g_t = value and gradient of C at w_t on batch t,   w_{t+1} = w_t + u(g_t)

A step evaluates the cost before it updates the parameters, so that the cost at step t needs no
extra evaluation, and each batch updates the model state once. `State` is the input of the next
step, and `Info` contains diagnostics. Gradient descent is u(g) = -learning_rate * g.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, ScalarLike

from gdjax.base.arguments import check_callable, check_type
from gdjax.base.errors import explained
from gdjax.base.reprs import fields
from gdjax.problems.checks import check_params
from gdjax.problems.keywords import given_to
from gdjax.problems.microbatches import in_microbatches
from gdjax.problems.optimizers import check_optimizer, cost_type, update


class State(NamedTuple):
    """Parameters, optimizer state, model state, and step of divergence or -1."""

    params: PyTree
    opt_state: PyTree
    model_state: PyTree
    diverged_at: Int[Array, ""]

    __repr__, _repr_html_ = fields


class Info(NamedTuple):
    """Cost, gradient and its norm before an update, and whether the update is made."""

    cost: Float[Array, ""]
    gradient: PyTree
    gradient_norm: Float[Array, ""]
    is_active: Bool[Array, ""]

    __repr__, _repr_html_ = fields


class Objective(NamedTuple):
    """The cost of one step as a function of the parameters alone.

    `evaluate(params)` returns the scalar, the gradient, and the model state after the batch.
    """

    value: Callable
    gradient: Callable
    evaluate: Callable


def init(
    optimizer: optax.GradientTransformation, params: PyTree, model_state: PyTree = None
) -> State:
    """Return the state at a starting point.

    Args:
        optimizer: any Optax transformation.
        params: starting point.
        model_state: initial model state, for a cost that has one.

    Examples:
        >>> init(optax.sgd(0.5), jnp.array([4.0])).params.tolist()
        [4.0]
    """
    check_optimizer(optimizer)
    check_params(params)
    return State(params, optimizer.init(params), model_state, jnp.array(-1, jnp.int32))


def objective(
    cost: Callable,
    batch: PyTree,
    *,
    key: Key[Array, ""] | None = None,
    step: ScalarLike = 0,
    model_state: PyTree = None,
    microbatch: int | None = None,
    weight: Callable[[PyTree], Array] | None = None,
) -> Objective:
    """Return the objective of a step: a cost with fixed batch and keywords."""
    needs = given_to(cost)
    every = {"key": key, "step": jnp.asarray(step, jnp.int32), "model_state": model_state}
    supplied = {name: every[name] for name in needs}
    stateful = "model_state" in needs

    def whole(params, batch):
        return cost(params, **supplied) if batch is None else cost(params, batch, **supplied)

    value = (lambda params, batch: whole(params, batch)[0]) if stateful else whole

    def mean(function):
        return in_microbatches(function, microbatch, weight)

    def evaluate(params):
        remedy = (
            "expected a cost with a gradient, which a function with "
            "jax.custom_batching.custom_vmap has only inside a jax.custom_vjp"
        )
        with explained("cost: could not be differentiated", remedy, cost):
            if not stateful:
                return *mean(jax.value_and_grad(value))(params, batch), model_state
            (cost_value, state), gradient = jax.value_and_grad(whole, has_aux=True)(params, batch)
            return cost_value, gradient, state

    return Objective(
        value=lambda params: mean(value)(params, batch),
        gradient=lambda params: mean(jax.grad(value))(params, batch),
        evaluate=evaluate,
    )


def norm(tree: PyTree) -> Float[Array, ""]:
    """Return the Euclidean norm of all entries of a pytree, in `cost_type`.

    It is not finite if one entry is not finite, or if its square overflows.
    """
    dtype = cost_type(tree)

    def by_leaf(*leaves):
        return sum(jnp.sum(jnp.square(a.astype(dtype))) for a in leaves)

    def at_once(*leaves):
        # On a GPU every sum is a kernel, and the compiler fuses this concatenation with its sum. On
        # a CPU it would be slow, and on a TPU it would need copies.
        return by_leaf(jnp.concatenate([a.astype(dtype).ravel() for a in leaves]))

    leaves = jax.tree.leaves(tree)
    return jnp.sqrt(jax.lax.platform_dependent(*leaves, cpu=by_leaf, tpu=by_leaf, default=at_once))


def is_within_limits(
    value: Float[Array, ""], norm: Float[Array, ""], divergence_threshold: ScalarLike
) -> Bool[Array, ""]:
    """Return whether a cost and a norm are finite and the cost is at most the threshold."""
    # In half precision, most thresholds would overflow.
    value = value.astype(cost_type(value))
    return (value <= divergence_threshold) & jnp.isfinite(value) & jnp.isfinite(norm)


def evaluate(
    minimized: Objective,
    state: State,
    *,
    step: int | Int[Array, ""],
    divergence_threshold: ScalarLike,
) -> tuple[State, Info, PyTree]:
    """Compute cost, gradient and model state at the parameters, the first half of a step."""
    value, gradient, model_state = minimized.evaluate(state.params)
    gradient_norm = norm(gradient)
    diverges = (state.diverged_at < 0) & ~is_within_limits(
        value, gradient_norm, divergence_threshold
    )
    state = state._replace(diverged_at=jnp.where(diverges, jnp.int32(step), state.diverged_at))
    cost = value.astype(cost_type(state.params))
    return state, Info(cost, gradient, gradient_norm, state.diverged_at < 0), model_state


def move(
    optimizer: optax.GradientTransformation,
    minimized: Objective,
    state: State,
    info: Info,
    model_state: PyTree,
    *,
    moves: Bool[Array, ""],
) -> State:
    """Return the state after the update, the second half of a step."""
    updates, opt_state = update(
        optimizer,
        info.gradient,
        state.opt_state,
        state.params,
        value=info.cost,
        value_fn=minimized.value,
        grad_fn=minimized.gradient,
    )
    # Adding -0 changes no bit of a number, and takes one pass over the parameters less than a
    # choice between old and new ones.
    updates = jax.tree.map(lambda u: jnp.where(moves, u, jnp.asarray(-0.0, u.dtype)), updates)
    params = optax.apply_updates(state.params, updates)
    ahead, before = (opt_state, model_state), (state.opt_state, state.model_state)
    moved = jax.tree.map(lambda new, old: jnp.where(moves, new, old), ahead, before)
    return State(params, *moved, state.diverged_at)


def step(
    cost: Callable,
    optimizer: optax.GradientTransformation,
    state: State,
    batch: PyTree = None,
    *,
    key: Key[Array, ""] | None = None,
    step: int | Int[Array, ""] = 0,
    divergence_threshold: ScalarLike = 1e12,
) -> tuple[State, Info]:
    """Evaluate the cost at the current parameters, then update them once.

    Args:
        cost: function `cost(params, batch)`, or `cost(params)` if the batch is None. Of the
            keywords `key`, `step` and `model_state`, it receives those that it declares. With
            `model_state`, it returns `(scalar, model_state)`.
        optimizer: any Optax transformation. All evaluations of a line search use the same batch,
            key and model state.
        state: state from `init` or an earlier step.
        batch: samples of this step.
        key: random key, for a random cost.
        step: number of the step, which is stored in `diverged_at` if the step diverges.
        divergence_threshold: cost above which a run counts as diverged, as it does if its cost or
            gradient is not finite. A diverged run is not updated again.

    Returns:
        The state after the step, and cost and gradient before its update.

    Examples:
        On C = w^2 / 2 a learning rate of 0.5 halves the distance to the minimum:

        >>> bowl = lambda w: 0.5 * jnp.sum(w**2)
        >>> state = init(optax.sgd(0.5), jnp.array([4.0]))
        >>> state, info = step(bowl, optax.sgd(0.5), state)
        >>> state.params.tolist(), float(info.cost)
        ([2.0], 8.0)
    """
    check_callable("step: cost", cost)
    check_optimizer(optimizer)
    check_type("step: state", state, State, "that of gd.descent.init")
    minimized = objective(cost, batch, key=key, step=step, model_state=state.model_state)
    state, info, model_state = evaluate(
        minimized, state, step=step, divergence_threshold=divergence_threshold
    )
    return move(optimizer, minimized, state, info, model_state, moves=info.is_active), info
