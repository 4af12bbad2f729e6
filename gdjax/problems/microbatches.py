"""Means over the whole training set, evaluated in microbatches to bound memory.

    C = sum_c W_c C_c / sum_c W_c,   C_c the mean over microbatch c, of weight W_c

The weight of a microbatch is its number of samples, or `Problem.weight`. This equation is valid for
every cost that is a mean over samples with these weights, which
`gdjax.problems.mean_check` tests. Microbatches of about a thousand samples also keep a
network's activations in the processor's cache.

>>> value = in_microbatches(lambda w, x: jnp.mean(w * x), microbatch=4)
>>> float(value(jnp.array(2.0), jnp.arange(10.0)))
9.0
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from gdjax.problems.problem import Problem

MICROBATCH_SIZE = 1000
ACCELERATOR_MICROBATCH_SIZE = 8192  # the limit of an accelerator is its memory
# Sizes of the results of a cost for one run that are kept for its gradient: of a step with the
# whole training set, and of a record between steps with mini-batches, whose memory it shares.
MAX_STEP_NBYTES, MAX_RECORD_NBYTES = 2**24, 2**20


def microbatch_size(samples: int, microbatch: int = MICROBATCH_SIZE) -> int:
    """Return the number of samples per microbatch.

    It is `samples` if that is at most `microbatch`. Otherwise it is the largest divisor of
    `samples` in (microbatch / 2, microbatch], or `microbatch` if there is none.

    Examples:
        >>> [microbatch_size(n) for n in (60_000, 4_096, 2_003, 300)]
        [1000, 512, 1000, 300]
    """
    if samples <= microbatch:
        return samples
    return next(
        (size for size in range(microbatch, microbatch // 2, -1) if samples % size == 0), microbatch
    )


def part_sizes(
    samples: int, largest: Iterable[int] = (MICROBATCH_SIZE, ACCELERATOR_MICROBATCH_SIZE)
) -> set[int]:
    """Return the numbers of samples of microbatches, and of what remains, on any device.

    Examples:
        >>> sorted(part_sizes(60_000)), sorted(part_sizes(300)), sorted(part_sizes(2_003))
        ([1000, 7500], [300], [3, 1000, 2003])
    """
    lengths = {microbatch_size(samples, microbatch) for microbatch in largest}
    return (lengths | {samples % length for length in lengths}) - {0}


def over_batches(
    function: Callable,
    rows: Int[Array, "batches batch"],
    weight: Callable[[PyTree], Array] | None = None,
) -> Callable:
    """Return a function that averages another over fixed batches of samples.

        C = sum_k W_k C(batch k) / sum_k W_k,   W_k = weight(batch k), or 1

    The average differs from the cost of all samples if the cost couples the samples of a batch.

    Examples:
        >>> spread = over_batches(lambda w, x: jnp.var(w * x), jnp.array([[0, 1], [2, 3]]))
        >>> float(spread(jnp.array(2.0), jnp.array([0.0, 2.0, 0.0, 4.0])))
        10.0
    """

    def mean(params: PyTree, data: PyTree) -> PyTree:
        def at(samples):
            return jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), data)

        batch = jax.tree.map(lambda a: a[: rows.shape[1]], data)
        if weight is not None:
            return _weighted_mean(function, weight, params, at, rows, batch)

        def add(total, samples):
            return _add(total, function(params, at(samples))), None

        shapes = jax.eval_shape(function, params, batch)
        total, _ = jax.lax.scan(add, jax.tree.map(_zeros, shapes), rows)
        return jax.tree.map(lambda a, s: _as_mean(a / rows.shape[0], s), total, shapes)

    return mean


def in_microbatches(
    function: Callable,
    microbatch: int | None = MICROBATCH_SIZE,
    weight: Callable[[PyTree], Array] | None = None,
) -> Callable:
    """Return a function that evaluates a mean over samples in microbatches.

    Args:
        function: function `(params, data) -> pytree`.
        microbatch: number of samples per microbatch; None evaluates all samples together.
        weight: weight of a microbatch; None for its number of samples. A microbatch of weight 0 is
            left out, also if its values are NaN.

    Returns:
        A function `(params, data) -> pytree`, equal to `function` up to rounding. If data are None
        or no longer than a microbatch, it calls `function` directly. 16-bit floats are added in
        float32, and their mean is returned in their type.
    """
    if microbatch is None:
        return function

    def mean(params: PyTree, data: PyTree) -> PyTree:
        leaves = jax.tree.leaves(data)
        samples = leaves[0].shape[0] if leaves else 0
        length = microbatch_size(samples, microbatch)
        if length == samples:
            return function(params, data)
        count = samples // length

        def at(number):
            return jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, number * length, length), data
            )

        first = jax.tree.map(lambda a: a[:length], data)
        rest = samples - count * length
        last = jax.tree.map(lambda a: a[-rest:], data) if rest else None
        if weight is not None:
            return _weighted_mean(function, weight, params, at, jnp.arange(count), first, last)

        def add(total, number):
            return _add(total, function(params, at(number))), None

        shapes = jax.eval_shape(function, params, first)
        total, _ = jax.lax.scan(add, jax.tree.map(_zeros, shapes), jnp.arange(count))
        total = jax.tree.map(lambda a: a * (length / samples), total)
        if rest:
            last = function(params, last)
            total = jax.tree.map(
                lambda a, b: a + jnp.asarray(b, a.dtype) * (rest / samples), total, last
            )
        return jax.tree.map(_as_mean, total, shapes)

    return mean


def _weighted_mean(function, weight, params, at, numbers, example, last=None):
    """Return the weighted mean over the batches `at(number)`, and over the last one if given."""

    def add(total, batch):
        sums, weights = total
        W = jnp.asarray(weight(batch), weights.dtype)

        def with_term(a, b):
            return a + jnp.where(W != 0, W * jnp.asarray(b, a.dtype), 0)

        return jax.tree.map(with_term, sums, function(params, batch)), weights + W

    shapes, size = jax.eval_shape(lambda b: (function(params, b), weight(b)), example)
    start = jax.tree.map(_zeros, shapes), _zeros(size)
    total, _ = jax.lax.scan(lambda total, number: (add(total, at(number)), None), start, numbers)
    sums, weights = total if last is None else add(total, last)
    return jax.tree.map(lambda a, s: _as_mean(a / weights, s), sums, shapes)


def _zeros(shape):
    """Return an empty sum; 16-bit floats are added in float32, to limit rounding errors."""
    return jnp.zeros(shape.shape, jnp.promote_types(_mean_type(shape), jnp.float32))


def _add(total, terms):
    return jax.tree.map(lambda a, b: a + jnp.asarray(b, a.dtype), total, terms)


def _as_mean(array, shape):
    return array.astype(_mean_type(shape))


def _mean_type(shape):
    """Return the type of a mean: that of its terms, or a float type for integers."""
    return jnp.result_type(shape.dtype, 1.0)


def cost_microbatch(problem: Problem, largest: int | None = None) -> int | None:
    """Return the microbatch size of the cost, `largest` by default; None for no microbatches.

    A cost that couples samples, draws random numbers or has a model state is not split into
    microbatches.
    """
    if problem.couples_samples or problem.random or problem.stateful:
        return None
    return largest or largest_microbatch()


def largest_microbatch(
    platform: str | None = None, sample_nbytes: float = 0.0, batch_size: int | None = None
) -> int:
    """Return the maximum number of samples that are evaluated together on a kind of devices.

    Args:
        platform: kind of the devices, "cpu" or that of an accelerator; None for the default.
        sample_nbytes: size of the results of the cost for one sample, in bytes.
        batch_size: number of samples of a step, which a record may use too; None for all.

    Examples:
        >>> [largest_microbatch("cpu", size, 32) for size in (100.0, 5e3, 1e6)]
        [1000, 209, 32]
    """
    on_cpu = (platform or jax.default_backend()) == "cpu"
    most = MICROBATCH_SIZE if on_cpu else ACCELERATOR_MICROBATCH_SIZE
    nbytes = MAX_STEP_NBYTES if batch_size is None else MAX_RECORD_NBYTES
    return min(most, max(batch_size or 1, int(nbytes / max(sample_nbytes, 1))))
