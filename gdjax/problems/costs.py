"""How bad one answer is, and the mean of that over samples.

    C = 1/n sum_i c(a_i, y_i)

The seed's cost of one sample is the sum over outputs of (output - target)^2, *without* a half:

>>> import jax.numpy as jnp
>>> float(quadratic(jnp.full((1, 10), 0.5), jnp.array([3]))[0])
2.5

A user's own per-sample cost is any function of `(outputs, targets)` that returns one number a
sample; `digits(..., cost=that)` takes it like the two here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num, Shaped

from gdjax.errors import InputError


def targets_for(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, "samples outputs"]:
    """Integer labels as 0/1 target vectors; targets that are vectors already stay as they are."""
    if targets.ndim == outputs.ndim:
        return targets.astype(outputs.dtype)
    return jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)


def check_labels(targets: Any, outputs: int, what: str) -> None:
    """Make sure that every label has an output: one that has none would cost nothing at all.

    Args:
        targets: a label a sample, or a target vector a sample.
        outputs: how many outputs there are.
        what: what the targets were given as, for the error.

    Raises:
        InputError: a label that is no whole number from 0 to `outputs` - 1, or vectors of another
            length.
    """
    targets = np.asarray(targets)
    if targets.ndim > 1:
        if targets.shape[1:] != (outputs,):
            raise InputError(
                f"{what}: targets of shape {targets.shape}, expected {outputs} numbers a sample, "
                f"one an output"
            )
        return
    numbers = targets.dtype.kind in "iuf"
    wrong = (targets < 0) | (targets >= outputs) | (targets % 1 != 0) if numbers else None
    if wrong is None or wrong.any():
        at = 0 if wrong is None else int(wrong.argmax())
        raise InputError(
            f"{what}: the label of sample {at} is {targets[at]!s:.40}, expected whole numbers from "
            f"0 to {outputs - 1}, one for each output"
        )


def quadratic(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, " samples"]:
    """Sum over outputs of (output - target)^2, for each sample.

    Args:
        outputs: what the network says.
        targets: a label a sample, or a target vector a sample.

    Source: 3Blue1Brown, *Gradient descent, how neural networks learn*; twice Nielsen's.
    """
    return jnp.sum((outputs - targets_for(outputs, targets)) ** 2, axis=-1)


def cross_entropy(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, " samples"]:
    """-sum_k y_k log softmax(outputs)_k in nats, for each sample; outputs are logits.

    Args:
        outputs: logits, so the network's output activation is "identity".
        targets: a label a sample, or a vector of probabilities a sample.

    Examples:
        >>> float(cross_entropy(jnp.zeros((1, 10)), jnp.array([3]))[0])
        2.302585
    """
    return optax.softmax_cross_entropy(outputs, targets_for(outputs, targets))


def accuracy(
    outputs: Float[Array, "*samples outputs"], labels: Num[Array, "*samples"]
) -> Float[Array, ""]:
    """Share of samples whose largest output is at their label; the first wins a tie."""
    return jnp.mean(jnp.argmax(outputs, axis=-1) == labels, dtype=outputs.dtype)


COSTS: Mapping[str, Callable[..., Shaped[Array, " samples"]]] = MappingProxyType(
    {"quadratic": quadratic, "cross_entropy": cross_entropy}
)
