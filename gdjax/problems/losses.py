"""Per-sample losses; the cost is their mean over samples.

    C = 1/n sum_i c(a_i, y_i)

The default loss is the sum over outputs of (output - target)^2, *without* a factor 1/2. A custom
loss is any function of `(outputs, targets)` that returns one number per sample. It is passed as
`digits(..., loss=loss)`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Num, Shaped

from gdjax.base.errors import InputError


def targets_for(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, "samples outputs"]:
    """Return target vectors: labels one-hot encoded, vectors unchanged."""
    _check_shape("targets", targets, outputs)
    if targets.ndim == outputs.ndim:
        return targets.astype(outputs.dtype)
    return jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)


def check_labels(targets: Any, outputs: int, argument: str) -> None:
    """Check that every label has an output; one-hot encoding ignores other labels."""
    targets = np.asarray(targets)
    if targets.ndim > 1:
        if targets.shape[1:] != (outputs,):
            raise InputError(
                f"{argument}: targets of shape {targets.shape}, expected {outputs} numbers per "
                f"sample, one for each output"
            )
        return
    numbers = targets.dtype.kind in "iuf"
    wrong = (targets < 0) | (targets >= outputs) | (targets % 1 != 0) if numbers else None
    if wrong is None or wrong.any():
        sample = 0 if wrong is None else int(wrong.argmax())
        raise InputError(
            f"{argument}: the label of sample {sample} is {targets[sample]!s:.40}, expected whole "
            f"numbers from 0 to {outputs - 1}, one for each output"
        )


def quadratic(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, " samples"]:
    """Return the sum over outputs of (output - target)^2 for each sample.

    Args:
        outputs: outputs of the network.
        targets: one label or one target vector per sample.

    Examples:
        >>> float(quadratic(jnp.full((1, 10), 0.5), jnp.array([3]))[0])
        2.5

    Source: 3Blue1Brown, *Gradient descent, how neural networks learn*; twice Nielsen's cost.
    """
    return jnp.sum((outputs - targets_for(outputs, targets)) ** 2, axis=-1)


def cross_entropy(
    outputs: Float[Array, "samples outputs"], targets: Num[Array, " samples *outputs"]
) -> Float[Array, " samples"]:
    """Return -sum_k y_k log softmax(outputs)_k in nats for each sample.

    Args:
        outputs: logits, so the network's output activation is "identity".
        targets: one label or one vector of probabilities per sample.

    Examples:
        >>> float(cross_entropy(jnp.zeros((1, 10)), jnp.array([3]))[0])
        2.302585
    """
    return optax.softmax_cross_entropy(outputs, targets_for(outputs, targets))


def accuracy(
    outputs: Float[Array, "*samples outputs"], labels: Num[Array, "*samples"]
) -> Float[Array, ""]:
    """Return the fraction of samples whose label is the first argmax of the outputs.

    Args:
        outputs: outputs of the network.
        labels: one label per sample.

    Examples:
        >>> float(accuracy(jnp.array([[0.1, 0.9], [0.8, 0.3]]), jnp.array([1, 1])))
        0.5
    """
    _check_shape("labels", labels, outputs)
    return jnp.mean(jnp.argmax(outputs, axis=-1) == labels, dtype=outputs.dtype)


def _check_shape(name, targets, outputs):
    """Check that labels, or targets, have the shape of the outputs."""
    if not getattr(outputs, "ndim", 0):
        raise InputError(f"outputs = {outputs!r:.80}, expected an array [samples, outputs]")
    shapes = [outputs.shape[:-1], outputs.shape][: 1 + (name == "targets")]
    shape = getattr(targets, "shape", f"= {targets!r:.80}")
    if shape not in shapes:
        valid = " or ".join(map(str, shapes))
        raise InputError(f"{name}: shape {shape}, expected {valid}, to match the outputs")


LOSSES: Mapping[str, Callable[..., Shaped[Array, " samples"]]] = MappingProxyType(
    {"quadratic": quadratic, "cross_entropy": cross_entropy}
)
