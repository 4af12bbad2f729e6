"""How sharp a cost may be for an optimiser's step.

    w_{t+1} = w_t - eta P^-1 m_t,   stable on a quadratic while lambda_max(P^-1 H) is below a limit

P is what the optimiser divides by, 1 for plain descent; it is held while the limit is asked for.
On a bowl of curvature 4 a rate of 0.49 is just below the limit and one of 0.51 above it:

>>> float(stability_threshold(0.5))
4.0

An adaptive optimiser that is not held stays bounded on a quadratic at any rate: its P grows with
the gradient.

Source: Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge of
Stability*, arXiv 2103.00065; Cohen et al. 2022, *Adaptive Gradient Methods at the Edge of
Stability*, arXiv 2207.14484.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from gdjax.errors import InputError

# Factories that divide by the root of an average of squared gradients; the others divide by 1.
ADAPTIVE = (optax.rmsprop, optax.adam, optax.adamw)
KNOWN: Mapping[str, Callable] = MappingProxyType(
    {"sgd": optax.sgd, "rmsprop": optax.rmsprop, "adam": optax.adam, "adamw": optax.adamw}
)


def stability_threshold(
    learning_rate: ArrayLike, optimizer: Callable = optax.sgd, **settings: Any
) -> Float[Array, "..."]:
    """The largest eigenvalue of P^-1 H above which a descent is unstable on a quadratic cost.

        plain, RMSProp 2 / eta;   heavy ball (2 + 2 b) / eta;   Nesterov that over 1 + 2 b;
        Adam (2 + 2 b1) / ((1 - b1) eta);   AdamW (2 - d eta) (1 + b1) / ((1 - b1) eta)

    as Optax steps: heavy ball sums, v <- b v + g, Adam averages, m <- b1 m + (1 - b1) g; AdamW's
    decay d has a P of 1. For plain descent and momentum P is 1, too, and the limit is one of the
    sharpness itself.

    Args:
        learning_rate: eta, > 0; any shape.
        optimizer: factory, as for `sweep`: Optax's `sgd`, `rmsprop`, `adam`, `adamw`, or a
            `functools.partial` of one (`optax.nadam` and `optax.nadamw` are).
        settings: keywords of the factory that are not its defaults, such as `momentum`,
            `nesterov`, `b1`, `weight_decay`.

    Raises:
        InputError: an optimizer whose limit is not known, or settings that it does not take.

    Examples:
        >>> import optax
        >>> float(stability_threshold(0.1, momentum=0.9))
        38.0
        >>> float(stability_threshold(0.1, momentum=0.5, nesterov=True))
        15.0
        >>> float(stability_threshold(0.1, optax.adam))
        380.0

    Source: Cohen et al. 2021, arXiv 2103.00065; Cohen et al. 2022, arXiv 2207.14484.
    """
    factory, taken = known(optimizer, **settings)
    rate = jnp.asarray(learning_rate, float)
    averaged = factory in (optax.adam, optax.adamw)
    held = taken["b1" if averaged else "momentum"]
    b = jnp.asarray(0.0 if held is None else held, float)
    decay = jnp.asarray(taken.get("weight_decay", 0.0), float)
    limit = (2 - decay * rate) * (1 + b) / rate
    if averaged:
        limit = limit / (1 - b)
    return limit / (1 + 2 * b) if taken["nesterov"] else limit


def known(optimizer: Callable, **settings: Any) -> tuple[Callable, Mapping[str, Any]]:
    """Which of `KNOWN` a factory is, and with which settings, defaults included.

    Raises:
        InputError: it is none of them, or does not take a setting.
    """
    factory = optimizer
    while isinstance(factory, partial):
        factory = factory.func
    names = [name for name, each in KNOWN.items() if each is factory]
    if not names:
        raise InputError(
            f"optimizer = {optimizer!r:.80}, whose limit of stability is not known; expected one "
            f"of optax's {', '.join(KNOWN)}, or functools.partial of one"
        )
    parameters = inspect.signature(optimizer).parameters
    unknown = sorted(settings.keys() - parameters.keys())
    if unknown:
        raise InputError(
            f"{names[0]} takes no {', '.join(unknown)}; its keywords are {', '.join(parameters)}"
        )
    return factory, {name: p.default for name, p in parameters.items()} | settings
