"""Which samples a step sees: the whole set, or shuffled mini-batches from an endless stream.

    stream = permutation_0 ++ permutation_1 ++ ...,   batch_t = stream[t b : (t + 1) b]

Every pass shows each sample once. Where the batch size does not divide the number of samples, the
rest of a pass opens the first batch of the next one: nothing is dropped, and a batch is never
smaller than asked.

>>> order = Order((jax.random.key(0),), samples=5, batch_size=2)
>>> sorted(order.rows(0, 5).ravel().tolist())  # five batches of 2 are two passes over 5
[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from gdjax.errors import InputError


@jax.jit(static_argnums=2)
def _permutations(keys, passed, samples):
    """One permutation a key: the samples in the order of random 32-bit numbers.

    One sort where `jax.random.permutation` sorts twice against ties; a tie (probability 0.4 for
    60,000 samples) leaves two neighbours in their old order.
    """
    bits = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, passed), (samples,)))(keys)
    return jnp.argsort(bits, axis=-1).astype(jnp.int32)


class Order:
    """The order of mini-batches of one or several streams, drawn once a pass.

    Args:
        keys: one key a stream, in a list or an array.
        samples: size of the training set, >= 1.
        batch_size: samples a batch, 1 to `samples`.

    Raises:
        InputError: a batch size outside 1..samples.
    """

    def __init__(
        self,
        keys: Sequence[Key[Array, ""]] | Key[Array, " streams"],
        samples: int,
        batch_size: int,
    ):
        if not 1 <= batch_size <= samples:
            raise InputError(
                f"batch_size = {batch_size}, expected 1 to {samples}, the number of samples; "
                f"None takes the whole set at every step"
            )
        keys = keys if isinstance(keys, jax.Array) else jnp.stack(list(keys))
        # A single descent runs on the first device; where there are several, it is not disturbed.
        self.keys = jax.device_put(keys, jax.local_devices()[-1])
        self.samples, self.batch_size = samples, batch_size
        self._passes: dict[int, Any] = {}

    def _pass(self, number):
        # Rows are asked for in order: only the pass before can still be needed. The next one is
        # drawn meanwhile, since JAX does not wait for a result that nobody has looked at.
        self._passes = {n: p for n, p in self._passes.items() if number - 1 <= n <= number + 1}
        for wanted in (number, number + 1):
            if wanted not in self._passes:
                self._passes[wanted] = _permutations(self.keys, wanted, self.samples)
        self._passes[number] = np.asarray(self._passes[number])
        return self._passes[number]

    def rows(self, first: int, count: int) -> Int[np.ndarray, "streams count batch"]:
        """Sample numbers of batches `first` to `first + count - 1` of each stream."""
        start, stop = first * self.batch_size, (first + count) * self.batch_size
        passes = range(start // self.samples, -(-stop // self.samples))
        stream = np.concatenate([self._pass(number) for number in passes], axis=1)
        offset = passes.start * self.samples
        flat = stream[:, start - offset : stop - offset]
        return flat.reshape(len(self.keys), count, self.batch_size)


def steps_for(epochs: int, samples: int, batch_size: int | None) -> int:
    """Steps in so many epochs: epochs * ceil(samples / batch), one step an epoch for the whole set.

    Examples:
        >>> steps_for(10, 60_000, 32)
        18750
    """
    return epochs * (1 if batch_size is None else -(-samples // batch_size))
