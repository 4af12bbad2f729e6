"""Updates of Optax's optimizers, of one signature for all of them.

    u, next state = update(optimizer, gradient, state, params, value=..., value_fn=..., grad_fn=...)

Line searches and sharpness-aware optimizers take further arguments, such as the cost as a function.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, PyTree

from gdjax.base.errors import InputError, explained
from gdjax.problems.checks import check_like

EXTRA_ARGUMENTS = ("value", "grad", "value_fn", "grad_fn", "obj_fn")  # of Optax's updates
# States of optimizers of Optax that take these extra arguments alone.
STRICT_STATES = {
    "SAMState": ("grad_fn",),
    "ScaleByZoomLinesearchState": ("value", "grad", "value_fn"),
    "ScaleByBacktrackingLinesearchState": ("value", "grad", "value_fn"),
}


def _extra_arguments(update_fn, opt_state):
    """Return the names of the extra arguments that an update takes, from its signature.

    The signature of a chain with SAM or a line search accepts any argument, but these two raise an
    error for arguments that they do not know.
    """
    for state, names in STRICT_STATES.items():
        if optax.tree.get_all_with_path(opt_state, state):
            return names
    parameters = inspect.signature(update_fn).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return EXTRA_ARGUMENTS
    return tuple(name for name in EXTRA_ARGUMENTS if name in parameters)


def update(
    optimizer: optax.GradientTransformation,
    gradient: PyTree,
    opt_state: PyTree,
    params: PyTree,
    *,
    value: Array,
    value_fn: Callable[[PyTree], Array],
    grad_fn: Callable[[PyTree], PyTree],
) -> tuple[PyTree, PyTree]:
    """Return an optimizer's updates and next state.

    The update function is called with the extra arguments that its signature declares.

    Examples:
        >>> w, sgd = jnp.ones(3), optax.sgd(0.5)
        >>> bowl = {"value": w @ w / 2, "value_fn": lambda w: w @ w / 2, "grad_fn": lambda w: w}
        >>> update(sgd, w, sgd.init(w), w, **bowl)[0].tolist()  # takes none of them
        [-0.5, -0.5, -0.5]
        >>> sam = optax.contrib.sam(sgd, sgd, opaque_mode=True)  # takes grad_fn: uphill first
        >>> update(sam, w, sam.init(w), w, **bowl)[0].tolist()
        [-0.75, -0.75, -0.75]
    """
    extras = {
        "value": value,
        "grad": gradient,
        "value_fn": value_fn,
        # SAM also passes the number of its inner step; all inner steps use the same batch.
        "grad_fn": lambda params, *_: grad_fn(params),
        "obj_fn": value_fn,
    }
    update_fn = optimizer.update
    remedy = f"expected an update(gradient, state, params), with or without {', '.join(extras)}"
    with explained("optimizer: its update failed", remedy, update_fn, unchanged=()):
        supplied = {name: extras[name] for name in _extra_arguments(update_fn, opt_state)}
        updates, ahead = update_fn(gradient, opt_state, params, **supplied)
    remedy = (
        "; optimizers that need a gradient per sample, or pairs of parameters, are not supported"
    )
    check_like("optimizer: its update", updates, params, remedy=remedy)
    check_like("optimizer: its next state", ahead, opt_state, "the state before", remedy)
    return updates, ahead


def default_eval_params_fn(
    opt_state: PyTree, params: PyTree
) -> Callable[[PyTree, PyTree], PyTree] | None:
    """Return the function that computes evaluation parameters; None if not needed.

    Schedule-free optimizers compute gradients at y and are evaluated at x (Defazio et al. 2024):

        x = (y - (1 - b1) z) / b1,   z and b1 from the optimizer's state
    """
    states = _schedule_free_states(opt_state)
    if not states:
        return None
    if len(states) > 1:
        problem = f"has {len(states)} ScheduleFreeStates"
    elif jax.tree.structure(states[0].z) != jax.tree.structure(params):
        problem = "has a ScheduleFreeState for a part of the parameters only"
    else:
        return schedule_free_params
    raise InputError(
        f"optimizer: its state {problem}, so that the parameters for evaluation are ambiguous; "
        f"pass eval_params_fn, a function of (opt_state, params), such as lambda opt_state, "
        f"params: params for the parameters of the run"
    )


def schedule_free_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """Return the evaluation parameters of the only `ScheduleFreeState`."""
    (state,) = _schedule_free_states(opt_state)
    return optax.contrib.schedule_free_eval_params(state, params)


def _schedule_free_states(opt_state):
    return [state for _, state in optax.tree.get_all_with_path(opt_state, "ScheduleFreeState")]


def cost_type(params: PyTree) -> jnp.dtype:
    """Return the type of costs: that of the parameters, but at least float32."""
    return jnp.result_type(jnp.float32, *jax.tree.leaves(params))


def check_optimizer(optimizer: Any) -> None:
    """Check that an optimizer is an Optax transformation, not a factory."""
    made = not isinstance(optimizer, type) and all(
        callable(getattr(optimizer, name, None)) for name in ("init", "update")
    )
    if not made:
        name = getattr(optimizer, "__name__", None)
        value = f"the function {name}" if name else repr(optimizer)
        remedy = f"; call it: {name}(learning_rate)" if name else ", such as optax.sgd(0.1)"
        raise InputError(f"optimizer = {value}, expected an Optax transformation{remedy}")


def optimizer_at_rate_one(
    caller: str, make_optimizer: Callable[..., optax.GradientTransformation]
) -> optax.GradientTransformation:
    """Return the optimizer of a factory at the learning rate 1."""
    try:
        return make_optimizer(learning_rate=1.0)
    except TypeError as error:
        raise InputError(
            f"{caller}: make_optimizer = {make_optimizer!r:.80} takes no learning_rate, expected a "
            f"factory such as optax.adam, not optax.adam(0.1)"
        ) from error


def one_update(
    make_optimizer: Callable, params: PyTree, /, **settings: Any
) -> tuple[PyTree, PyTree]:
    """Return the updates and the next state of the first step of an optimizer."""
    made = make_optimizer(**settings)
    if not all(callable(getattr(made, name, None)) for name in ("init", "update")):
        raise InputError(
            f"make_optimizer: {name_of(make_optimizer)} returned {made!r:.80}, expected an Optax "
            f"transformation, such as optax.sgd(0.1)"
        )
    value = jnp.zeros((), cost_type(params))
    return update(
        made,
        params,
        made.init(params),
        params,
        value=value,
        value_fn=lambda p: value + optax.tree.norm(p, squared=True),
        grad_fn=lambda p: p,
    )


def name_of(function: Callable) -> str:
    """Return the name of a function, or of the one that a partial function calls."""
    inner = inspect.unwrap(function)
    inner = getattr(inner, "func", inner)
    return getattr(inner, "__name__", repr(inner))
