"""Means over the whole training set, evaluated in microbatches to bound memory.

    C = sum_c (n_c / n) C_c,   C_c the mean over microbatch c

This equation is valid for every cost that is a mean over samples, which
`gdjax.problems.validation.check` tests once. Microbatches of about a thousand samples also keep a
network's activations in the processor's cache.

>>> value = in_microbatches(lambda w, x: jnp.mean(w * x), microbatch=4)
>>> float(value(jnp.array(2.0), jnp.arange(10.0)))
9.0
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from gdjax.problems.problem import Problem

MICROBATCH_SIZE = 1000
ACCELERATOR_MICROBATCH_SIZE = 8192  # the limit of an accelerator is its memory


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


def over_batches(function: Callable, rows: Int[Array, "batches batch"]) -> Callable:
    """Return a function that averages another over fixed batches of samples.

        C = 1/m sum_k C(batch k),   m batches

    The average differs from the cost of all samples if the cost couples the samples of a batch.

    Examples:
        >>> spread = over_batches(lambda w, x: jnp.var(w * x), jnp.array([[0, 1], [2, 3]]))
        >>> float(spread(jnp.array(2.0), jnp.array([0.0, 2.0, 0.0, 4.0])))
        10.0
    """

    def mean(params: PyTree, data: PyTree) -> PyTree:
        def add(total, samples):
            batch = jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), data)
            return _add(total, function(params, batch)), None

        batch = jax.tree.map(lambda a: a[: rows.shape[1]], data)
        shapes = jax.eval_shape(function, params, batch)
        total, _ = jax.lax.scan(add, jax.tree.map(_zeros, shapes), rows)
        return jax.tree.map(lambda a, s: _as_mean(a / rows.shape[0], s), total, shapes)

    return mean


def in_microbatches(function: Callable, microbatch: int | None = MICROBATCH_SIZE) -> Callable:
    """Return a function that evaluates a mean over samples in microbatches.

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

        def add(total, number):
            part = jax.tree.map(
                lambda a: jax.lax.dynamic_slice_in_dim(a, number * length, length), data
            )
            return _add(total, function(params, part)), None

        shapes = jax.eval_shape(function, params, jax.tree.map(lambda a: a[:length], data))
        total, _ = jax.lax.scan(add, jax.tree.map(_zeros, shapes), jnp.arange(count))
        total = jax.tree.map(lambda a: a * (length / samples), total)
        rest = samples - count * length
        if rest:
            last = function(params, jax.tree.map(lambda a: a[-rest:], data))
            total = jax.tree.map(
                lambda a, b: a + jnp.asarray(b, a.dtype) * (rest / samples), total, last
            )
        return jax.tree.map(_as_mean, total, shapes)

    return mean


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


def cost_microbatch(problem: Problem, platform: str | None = None) -> int | None:
    """Return the microbatch size of the cost; None for no microbatches.

    A cost that couples samples, draws random numbers or has a model state is not split into
    microbatches.
    """
    if problem.couples_samples or problem.random or problem.stateful:
        return None
    return largest_microbatch(platform)


def largest_microbatch(platform: str | None = None) -> int:
    """Return the maximum number of samples that are evaluated together on a kind of devices."""
    on_cpu = (platform or jax.default_backend()) == "cpu"
    return MICROBATCH_SIZE if on_cpu else ACCELERATOR_MICROBATCH_SIZE
