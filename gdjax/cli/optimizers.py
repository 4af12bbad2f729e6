"""The optimisers that the commands know by name."""

from collections.abc import Callable, Iterable
from functools import partial

import optax

MOMENTUM = 0.9


def factory(name: str, axes: Iterable[str] = ()) -> Callable[..., optax.GradientTransformation]:
    """The Optax factory of a name; momentum is fixed unless it is an axis."""
    if name == "momentum" and "momentum" not in axes:
        return partial(optax.sgd, momentum=MOMENTUM)
    return optax.adam if name == "adam" else optax.sgd
