"""Samples of a step, and samples of a record.

    stream = permutation_0 ++ permutation_1 ++ ...,   batch_t = stream[t b : (t + 1) b]

A step uses the whole training set or a mini-batch of b samples. By default, every pass contains
each sample once. If b does not divide the number of samples, the first batch of a pass begins with
the remaining samples of the previous pass, so no sample is dropped and every batch has b samples.
With replacement, a pass consists of independent, uniformly drawn samples, as many as the training
set has, instead of a permutation, so that batches are independent.

>>> order = Order((jax.random.key(0),), samples=5, batch_size=2)
>>> sorted(order.rows(0, 5).ravel().tolist())  # five batches of 2 are two passes over 5
[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]

A record is the cost over a fixed set S of samples:

    cost_t = mean of c(w_t, x_i) over i in S

With mini-batches a record costs as much as many steps, so S may be a subset of the training set.
The value of a cost that couples the samples of a batch (a contrastive loss) depends on the number
of samples, and so do the random numbers that a cost draws. With mini-batches the record of such a
cost is the mean over fixed batches of b samples, so that records and costs of steps can be
compared, and a record needs no more memory than a step.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32, Key, PyTree, UInt

from gdjax.base.arguments import check_flag, check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Whole
from gdjax.problems.evaluation import evaluation_microbatch
from gdjax.problems.problem import Problem


@jax.jit(static_argnums=2)
def _random_numbers(keys, passed, samples):
    """Return a random integer per key and sample."""
    return jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, passed), (samples,)))(keys)


@jax.jit(static_argnums=2)
def _permutations(keys, passed, samples):
    """Return one permutation per key, by an argsort of random integers.

    This function sorts once, whereas `jax.random.permutation` sorts twice to break ties. A tie
    (probability 0.34 for 60,000 samples) only leaves two samples in their original order.
    """
    return jnp.argsort(_random_numbers(keys, passed, samples), axis=-1).astype(jnp.int32)


def argsort_on_host(
    numbers: UInt[np.ndarray, "streams samples"],
) -> Int32[np.ndarray, "streams samples"]:
    """Return the stable argsort of each row of unsigned integers, as `jnp.argsort` does.

    On a CPU this takes a tenth of the time of XLA's sort, which took most of the time of sweeps of
    small networks with separate orders.
    """
    positions = np.arange(numbers.shape[1], dtype=np.uint64)
    result = np.empty(numbers.shape, np.int32)
    for order, row in zip(result, numbers, strict=True):
        if row.dtype == np.uint64:  # under `jax.enable_x64`
            order[:] = np.argsort(row, kind="stable")
        else:
            # `np.sort` is faster than `np.argsort`, so numbers are sorted with their positions.
            packed = row.astype(np.uint64) << np.uint64(32) | positions
            order[:] = np.sort(packed) & np.uint64(0xFFFFFFFF)
    return result


@jax.jit(static_argnums=2)
def _independent_samples(keys, passed, samples):
    """Return as many independent, uniform sample indices per key as there are samples."""

    def one(key):
        return jax.random.randint(jax.random.fold_in(key, passed), (samples,), 0, samples, np.int32)

    return jax.vmap(one)(keys)


class Order:
    """The order of mini-batches of one or several streams, drawn once per pass."""

    def __init__(
        self,
        keys: Sequence[Key[Array, ""]] | Key[Array, " streams"],
        samples: int,
        batch_size: int,
        *,
        replacement: bool = False,
    ):
        remedy = ", the number of samples; None uses all samples in every step"
        check_whole("batch_size", batch_size, 1, samples, remedy=remedy)
        keys = keys if isinstance(keys, jax.Array) else jnp.stack(list(keys))
        # A single descent runs on the first device, so orders of mini-batches are drawn on the last
        # one.
        device = jax.local_devices()[-1]
        self.keys = jax.device_put(keys, device)
        self.samples, self.batch_size = samples, batch_size
        self._draw, self._indices = _independent_samples, np.asarray
        if not replacement:
            on_host = device.platform == "cpu"
            self._draw = _random_numbers if on_host else _permutations
            self._indices = argsort_on_host if on_host else np.asarray
        self._passes: dict[int, Any] = {}

    def _pass(self, number):
        # Rows are requested in order, so of the earlier passes only the previous one may still be
        # needed. The random numbers of the next pass are drawn asynchronously.
        self._passes = {n: p for n, p in self._passes.items() if number - 1 <= n <= number + 1}
        for needed in (number, number + 1):
            if needed not in self._passes:
                self._passes[needed] = self._draw(self.keys, needed, self.samples)
        if isinstance(self._passes[number], jax.Array):
            self._passes[number] = self._indices(np.asarray(self._passes[number]))
        return self._passes[number]

    def rows(self, first: int, count: int) -> Int[np.ndarray, "streams count batch"]:
        """Return the sample indices of `count` batches per stream, from batch `first` on."""
        start, stop = first * self.batch_size, (first + count) * self.batch_size
        passes = range(start // self.samples, -(-stop // self.samples))
        stream = np.concatenate([self._pass(number) for number in passes], axis=1)
        offset = passes.start * self.samples
        flat = stream[:, start - offset : stop - offset]
        return flat.reshape(len(self.keys), count, self.batch_size)


def check_replacement(replacement: Any, has_batches: bool) -> None:
    """Check the option of sampling with replacement."""
    check_flag("replacement", replacement)
    if replacement and not has_batches:
        raise InputError(
            "replacement = True sets how mini-batches are drawn, but batch_size is None; pass a "
            "batch size or leave replacement out"
        )


def steps_for(epochs: int, samples: int, batch_size: int | None) -> int:
    """Return the number of steps in `epochs` epochs.

        epochs * ceil(samples / batch_size)

    If the batch size is None, an epoch is one step.

    Examples:
        >>> steps_for(10, 60_000, 32)
        18750
    """
    check_limits("steps_for: epochs", epochs, Whole)
    check_whole("steps_for: samples", samples, 0 if batch_size is None else 1)
    if batch_size is not None:
        check_limits("steps_for: batch_size", batch_size, Count)
    return epochs * (1 if batch_size is None else -(-samples // batch_size))


def records_batches(problem: Problem, batch_size: int | None) -> bool:
    """Return whether a record averages over fixed batches instead of single samples."""
    return batch_size is not None and evaluation_microbatch(problem) is None


def recorded_rows(
    problem: Problem, record_samples: int | None, batch_size: int | None
) -> Int[np.ndarray, "batches batch"] | None:
    """Return sample indices of a record's batches; None if it averages over samples.

    The batches are drawn once from a fixed seed. All have the batch size, so samples that do not
    fill a batch are not recorded.
    """
    if not records_batches(problem, batch_size):
        return None
    assert batch_size is not None
    rows = np.random.default_rng(0).permutation(problem.samples)[:record_samples]
    count = len(rows) // batch_size
    return rows[: count * batch_size].reshape(count, batch_size).astype(np.int32)


def recorded_samples(problem: Problem, record_samples: int | None) -> PyTree:
    """Return the samples of a record: all, or a random subset from a fixed seed."""
    if record_samples is None or problem.data is None:
        return problem.data
    rows = np.random.default_rng(0).choice(problem.samples, record_samples, replace=False)
    return jax.tree.map(lambda a: a[np.sort(rows)], problem.data)
