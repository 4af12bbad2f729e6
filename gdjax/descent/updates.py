"""What an optimiser's update is handed, and what it has to give back.

    updates, memory = update(gradient, memory, params, value=, grad=, value_fn=, grad_fn=, obj_fn=)

Optax's optimisers ask for different ones of the five, some refuse what they do not know, and their
signatures do not tell: `chain(clip, sam)` shows `**extra_args` and raises on `value`. So the
largest set is searched for with which the update can be traced.

>>> import optax
>>> w = jnp.ones(3)
>>> extras = {"value": 1.0, "grad_fn": lambda w, step: w}
>>> sam = optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.01), opaque_mode=True)
>>> accepted(sam, w, sam.init(w), w, extras)
('grad_fn',)
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from gdjax.errors import InputError


def accepted(
    optimizer: optax.GradientTransformation,
    gradient: PyTree,
    memory: PyTree,
    params: PyTree,
    extras: Mapping[str, Any],
) -> tuple[str, ...]:
    """Names of the largest set of extra arguments with which an update can be traced.

    Raises:
        InputError: there is none (the message says what the update said), or what it returns has
            other shapes than what it was given.
    """
    update_fn = optax.with_extra_args_support(optimizer).update
    refusal: Exception | None = None
    for count in range(len(extras), -1, -1):
        for names in combinations(extras, count):
            given = {name: extras[name] for name in names}
            try:
                updates, ahead = jax.eval_shape(
                    lambda g, m, p, given=given: update_fn(g, m, p, **given),
                    gradient,
                    memory,
                    params,
                )
            except Exception as error:  # whatever an optimiser makes of arguments it does not know
                refusal = error
            else:
                _check_shapes("updates", updates, "params", params)
                _check_shapes("state", ahead, "state before", memory)
                return names
    raise InputError(
        f"optimizer: its update cannot be called with a gradient, a state and parameters, nor "
        f"with any of {', '.join(extras)} besides: {str(refusal).splitlines()[0]:.200}"
    ) from refusal


def _check_shapes(what, made, like_what, like):
    before, after = (
        (jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (like, made)
    )
    if before != after:
        raise InputError(
            f"optimizer: its update returned {what} of shapes {after[1]}, expected {before[1]}, "
            f"those of the {like_what}; an optimiser that wants one gradient a sample, or pairs of "
            f"parameters, cannot be used here"
        )


def update(
    optimizer: optax.GradientTransformation,
    gradient: PyTree,
    memory: PyTree,
    params: PyTree,
    *,
    value: Array,
    value_fn: Callable[[PyTree], Array],
    grad_fn: Callable[[PyTree], PyTree],
) -> tuple[PyTree, PyTree]:
    """An optimiser's updates and its next memory, given what it accepts of the step's cost.

    Args:
        optimizer: any Optax transformation.
        gradient: at `params`.
        memory: of the optimiser.
        params: where the step stands.
        value: of the cost there.
        value_fn: the step's cost, as a function of the parameters alone.
        grad_fn: its gradient.

    Raises:
        InputError: as for `accepted`.
    """
    extras = {
        "value": value,
        "grad": gradient,
        "value_fn": value_fn,
        # SAM tells its inner steps apart, which all see the step's batch.
        "grad_fn": lambda params, *_: grad_fn(params),
        "obj_fn": value_fn,
    }
    names = accepted(optimizer, gradient, memory, params, extras)
    given = {name: extras[name] for name in names}
    return optax.with_extra_args_support(optimizer).update(gradient, memory, params, **given)
