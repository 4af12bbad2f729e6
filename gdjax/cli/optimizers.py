"""Optimizers that commands select by name."""

from collections.abc import Callable, Iterable
from functools import partial

import optax

MOMENTUM = 0.9


def factory(name: str, axes: Iterable[str] = ()) -> Callable[..., optax.GradientTransformation]:
    """Return the Optax factory for the name sgd, momentum or adam.

    For the name momentum, it is SGD with a momentum of 0.9 unless momentum is an axis.
    """
    if name == "momentum" and "momentum" not in axes:
        return partial(optax.sgd, momentum=MOMENTUM)
    return optax.adam if name == "adam" else optax.sgd
