"""Direction of an optimizer's next step.

w_{t+1} = w_t - eta D,   D = -u(g, opt_state; learning_rate = 1)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from gdjax.curvature.directional_derivatives import averaged
from gdjax.descent.step import update
from gdjax.descent.validation import optimizer_at_rate_one
from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import check_params


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
