"""Noise of the gradient of mini-batches, as measurements.

    g = 1/n sum_i g_i,   noise = sum_i |g_i - g|^2 / (n - 1),   E |g_B - g|^2 = noise/B (1 - B/n)

g_i is the gradient of one sample's cost, and g_B the mean over B samples drawn without replacement.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from gdjax.base import arrays
from gdjax.base.arguments import check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.reprs import fields
from gdjax.problems.checks import require_unweighted
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.microbatches import in_microbatches
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem, require_problem

ARRAYS = {
    "trace": arrays.Array("trace of the gradient's covariance"),
    "scale": arrays.Array("simple noise scale", (), "samples"),
}
"""What a `Metric` stores of the noise."""


class GradientNoise(NamedTuple):
    """Noise of the gradient of mini-batches.

    Args:
        trace: trace of the covariance of per-sample gradients.
        scale: simple noise scale, in samples.
    """

    trace: Float[Array, ""]
    scale: Float[Array, ""]

    __repr__, _repr_html_ = fields
    arrays = ARRAYS


def gradient_noise(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    batch_size: int = 32,
    batches: int = 16,
) -> GradientNoise:
    """Return the trace of the covariance of per-sample gradients, and the noise scale.

        trace = B/(K - 1) sum_k |g_k - mean_j g_j|^2
        scale = trace / |g|^2,   E |g_B - g|^2 / |g|^2 = scale / B   (B << n)

    The estimate of the trace uses K disjoint mini-batches of B samples, and is unbiased for all B
    and K. Its relative error is about sqrt(2 / ((K - 1) r)), where r is the effective number of
    directions of the noise. Along a descent each record draws other mini-batches; with
    `functools.partial(gradient_noise, key=key)` all records have the same.

    In the scale, g is the gradient over the whole training set. At a batch size equal to the scale,
    the noise is as large as the gradient. The gradient of a much smaller batch is mostly noise, and
    batches that are much larger hardly make a step more accurate.

    Args:
        problem: a problem with data.
        params: parameters at which to evaluate.
        key: random key of the mini-batches.
        batch_size: B, number of samples per mini-batch, >= 1.
        batches: K, number of mini-batches, >= 2; the problem needs at least K B samples.

    Examples:
        Gradients of 1 and 3 have the variance 2 and the mean 2:

        >>> slope = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.array([1.0, 3.0]))
        >>> w, key = jnp.zeros(()), jax.random.key(0)
        >>> noise = gradient_noise(slope, w, key=key, batch_size=1, batches=2)
        >>> float(noise.trace), float(noise.scale)
        (2.0, 0.5)

    Source: McCandlish et al. 2018, arXiv 1812.06162, equation 2.9.
    """
    samples = _mini_batches(problem, key, batch_size, batches)
    cost = deterministic_cost(problem)
    gradient = in_microbatches(jax.grad(cost))(params, problem.data)
    trace = _noise(cost, params, samples)
    return GradientNoise(trace, trace / optax.tree.norm(gradient, squared=True))


def _noise(cost: Any, params: PyTree, samples: PyTree) -> Float[Array, ""]:
    """Return B/(K - 1) times the sum of squared deviations (Welford 1962)."""
    count, size = jax.tree.leaves(samples)[0].shape[:2]

    def add(carry, numbered):
        mean, squares = carry
        number, batch = numbered
        gradient = jax.grad(cost)(params, batch)
        before = jax.tree.map(jnp.subtract, gradient, mean)
        mean = jax.tree.map(lambda m, d: m + d / number, mean, before)
        after = jax.tree.map(jnp.subtract, gradient, mean)
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), before, after)
        return (mean, squares + sum(jax.tree.leaves(products))), None

    dtype = cost_type(params)
    start = jax.tree.map(lambda a: jnp.zeros(a.shape, dtype), params), jnp.zeros((), dtype)
    (_, squares), _ = jax.lax.scan(add, start, (jnp.arange(1, count + 1, dtype=dtype), samples))
    return squares * (size / (count - 1))


def _mini_batches(problem, key, batch_size, batches):
    """Return a random subset of the samples, with leading axes [batches, batch_size]."""
    require_problem(problem)
    require_unweighted("gradient_noise", problem)
    check_key(key)
    if problem.data is None:
        raise InputError("gradient_noise: problem has no data, so its gradient has no noise")
    check_whole("gradient_noise: batch_size", batch_size, 1, problem.samples // 2)
    check_whole("gradient_noise: batches", batches, 2, problem.samples // batch_size)
    chosen = jax.random.permutation(key, problem.samples)[: batches * batch_size]
    return jax.tree.map(
        lambda a: jnp.asarray(a)[chosen].reshape(batches, batch_size, *a.shape[1:]), problem.data
    )
