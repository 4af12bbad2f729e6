"""A mean over the whole training set, taken block by block, so that memory does not grow with it.

    C = sum_b (n_b / n) C_b,   C_b the mean over block b

holds for every cost that is a mean over samples; `gdjax.problems.check` makes sure of it once.
A block of about a thousand samples also keeps a network's activations in a processor's cache.

>>> value = over_blocks(lambda w, x: jnp.mean(w * x), block=4)
>>> float(value(jnp.array(2.0), jnp.arange(10.0)))
9.0
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

BLOCK = 1000


def block_length(samples: int, block: int = BLOCK) -> int:
    """Samples a block: a divisor of `samples` in (block / 2, block] if there is one, else `block`.

    Examples:
        >>> block_length(60_000), block_length(4_096), block_length(2_003), block_length(300)
        (1000, 512, 1000, 300)
    """
    if samples <= block:
        return samples
    return next((b for b in range(block, block // 2, -1) if samples % b == 0), block)


def over_blocks(function: Callable, block: int = BLOCK) -> Callable:
    """`function(params, data) -> pytree`, a mean over samples, computed in blocks of samples.

    Args:
        function: a mean over the leading axis of `data`, such as a cost or its gradient.
        block: samples at a time.

    Returns:
        `(params, data) -> pytree`, equal to `function` up to rounding. Data of None, or not longer
        than a block, go to `function` as they are.
    """

    def mean(params: PyTree, data: PyTree) -> PyTree:
        leaves = jax.tree.leaves(data)
        samples = leaves[0].shape[0] if leaves else 0
        length = block_length(samples, block)
        if length == samples:
            return function(params, data)
        count = samples // length

        def add(total, number):
            part = jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, number * length, length), data
            )
            return jax.tree.map(jnp.add, total, function(params, part)), None

        shapes = jax.eval_shape(function, params, jax.tree.map(lambda a: a[:length], data))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, jnp.arange(count))
        total = jax.tree.map(lambda a: a * (length / samples), total)
        rest = samples - count * length
        if rest:
            last = function(params, jax.tree.map(lambda a: a[-rest:], data))
            total = jax.tree.map(lambda a, b: a + b * (rest / samples), total, last)
        return total

    return mean
