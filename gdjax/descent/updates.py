"""What an optimiser's update is handed, and what it has to give back.

    updates, memory = update(gradient, memory, params, value=, grad=, value_fn=, grad_fn=, obj_fn=)

Optax's optimisers ask for different ones of the five, some refuse what they do not know, and their
signatures do not tell: `chain(clip, sam)` shows `**extra_args` and raises on `value`. So the
largest set is searched for with which the update can be made.

>>> import optax
>>> w, sgd = jnp.ones(3), optax.sgd(0.5)
>>> bowl = {"value": w @ w / 2, "value_fn": lambda w: w @ w / 2, "grad_fn": lambda w: w}
>>> update(sgd, w, sgd.init(w), w, **bowl)[0].tolist()  # takes none of them
[-0.5, -0.5, -0.5]
>>> sam = optax.contrib.sam(sgd, sgd, opaque_mode=True)  # takes grad_fn: uphill first
>>> update(sam, w, sam.init(w), w, **bowl)[0].tolist()
[-0.75, -0.75, -0.75]
"""

from collections.abc import Callable
from itertools import combinations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from gdjax.errors import InputError


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
        InputError: the update can be called with no set of them (the message says what it said), or
            what it returns has other shapes than what it was given.
    """
    extras = {
        "value": value,
        "grad": gradient,
        "value_fn": value_fn,
        # SAM tells its inner steps apart, which all see the step's batch.
        "grad_fn": lambda params, *_: grad_fn(params),
        "obj_fn": value_fn,
    }
    update_fn = optax.with_extra_args_support(optimizer).update
    refusal: Exception | None = None
    for count in range(len(extras), -1, -1):
        for names in combinations(extras, count):
            given = {name: extras[name] for name in names}
            try:
                updates, ahead = update_fn(gradient, memory, params, **given)
            except Exception as error:  # whatever an optimiser makes of arguments it does not know
                refusal = error
            else:
                _check_shapes("updates", updates, "params", params)
                _check_shapes("state", ahead, "state before", memory)
                return updates, ahead
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
