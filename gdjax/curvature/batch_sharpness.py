"""Batch sharpness: curvature of mini-batch costs along their own gradients.

    batch sharpness = E[g^T H_B g] / E|g|^2,   g and H_B gradient and Hessian of a mini-batch's cost

Stochastic gradient descent settles where the batch sharpness is near 2 / eta and the largest
Hessian eigenvalue of the full cost is smaller. With one sample there is one batch, and the batch
sharpness is the curvature along the gradient:

>>> line = Problem(
...     init=lambda key: jnp.ones(2),
...     cost=lambda w, x: jnp.mean(w[0] ** 2 + 0 * x),
...     data=jnp.ones(1),
... )
>>> found = batch_sharpness(line, jnp.ones(2), key=jax.random.key(0), batch_size=1, batches=2)
>>> float(found.value), float(found.mean_of_ratios)
(2.0, 2.0)

References: Andreyev and Beneventano 2024, *Edge of Stochastic Stability*, arXiv 2412.20553.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from gdjax.curvature import student_t
from gdjax.curvature.operators import along
from gdjax.curvature.sharpness import signature
from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.problems.evaluation import evaluation_of, frozen, with_data, without_data
from gdjax.problems.problem import Metric, Problem, as_problem
from gdjax.summaries import fields

TAIL = 0.025  # probability outside each end of the interval


class BatchSharpness(NamedTuple):
    """Batch sharpness in both conventions, with standard errors and an interval.

    Args:
        value: mean of g^T H_B g divided by the mean of |g|^2, as defined in the paper.
        error: jackknife standard error of `value`. With few samples per batch, `value` is far from
            normally distributed: use `low` and `high`.
        mean_of_ratios: mean of g^T H_B g / |g|^2, as computed by the paper's code.
        ratios_error: standard error of `mean_of_ratios`.
        low: lower end of a 95 % confidence interval of `value`.
        high: upper end of this interval.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    mean_of_ratios: Float[Array, ""]
    ratios_error: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]

    __repr__ = fields


def batch_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    batch_size: int,
    batches: int = 32,
    data: PyTree = None,
) -> BatchSharpness:
    """Return the curvature of mini-batch costs along their own gradients.

        value = mean_B g^T H_B g / mean_B |g|^2,   mean_of_ratios = mean_B (g^T H_B g / |g|^2)

    The two differ because batches with a large gradient have more weight in `value`. If v_i is the
    value without batch i and d_i = v_i - mean v, then

        error^2 = (K - 1)/K sum d_i^2,   low, high = value -+ t error

    Here t is the 97.5 % quantile of Student's t distribution with (sum d_i^2)^2 / sum d_i^4 - 1
    degrees of freedom (at least 1). They are few if a few batches dominate the value.

    Args:
        problem: a Problem with data, or a cost `cost(params, batch)`. Its deterministic cost is
            used.
        params: parameters w at which to evaluate.
        key: key that selects the samples, without replacement within a batch and independently
            between batches.
        batch_size: number of samples per batch.
        batches: number K of batches, at least 2.
        data: data that replaces the problem's own.

    Raises:
        InputError: if there is no data, or `batch_size` or `batches` is out of range.

    References: Andreyev and Beneventano 2024, arXiv 2412.20553.
    """
    problem = as_problem(problem, data)
    if problem.data is None:
        raise InputError("batch_sharpness: the problem has no data, so it has no mini-batches")
    if not 1 <= batch_size <= problem.samples or batches < 2:
        raise InputError(
            f"batch_sharpness: batches = {batches} of batch_size = {batch_size}, expected at "
            f"least 2 of 1 to {problem.samples} samples"
        )
    cost, dtype = evaluation_of(problem), cost_type(params)

    def of_batch(key):
        chosen = jax.random.choice(key, problem.samples, (batch_size,), replace=False)
        batch = jax.tree.map(lambda a: jnp.asarray(a)[chosen], problem.data)
        gradient = jax.grad(lambda w: cost(w, batch))
        g = gradient(params)
        bent = along(gradient, params, g)
        dot = optax.tree.vdot(g, bent), optax.tree.vdot(g, g)
        return jax.tree.map(lambda a: a.astype(dtype), dot)

    # Use full precision: the default on a GPU makes second derivatives inaccurate.
    with jax.default_matmul_precision("highest"):
        bend, square = jax.lax.map(of_batch, jax.random.split(key, batches))
    value = jnp.mean(bend) / jnp.mean(square)
    ratios = bend / square
    error, low, high = _jackknife(bend, square)
    ratios_error = jnp.std(ratios, ddof=1) / jnp.sqrt(jnp.asarray(batches, dtype))
    return BatchSharpness(value, error, jnp.mean(ratios), ratios_error, low, high)


def _jackknife(numerators, denominators):
    """Return the standard error and a 95 % interval of a ratio of sums."""
    count = numerators.size
    top, bottom = jnp.sum(numerators), jnp.sum(denominators)
    value = top / bottom
    without = (top - numerators) / (bottom - denominators)
    deviations = without - jnp.mean(without)
    error = jnp.sqrt((count - 1) / count * jnp.sum(deviations**2))
    t = student_t.quantile(TAIL, student_t.effective_freedom(deviations))
    return error, value - t * error, value + t * error


def batch_sharpness_metric(
    problem: Problem | Callable,
    *,
    batch_size: int,
    batches: int = 32,
    data: PyTree = None,
    every: int = 1,
) -> Metric:
    """Return batch sharpness as a metric, with new mini-batches at each estimate.

    Args:
        problem: a Problem with data or a cost, as for `batch_sharpness`.
        batch_size: number of samples per batch.
        batches: number of batches per estimate, at least 2.
        data: data that replaces the problem's own.
        every: interval between estimates, in records.

    Returns:
        A metric whose value is an array with the dimension `estimate`. Its entries are value,
        error, mean_of_ratios, ratios_error, low and high, in the order of `BatchSharpness`.

    Raises:
        InputError: at the first estimate, if `batch_sharpness` raises it.
    """
    problem = as_problem(problem, data)
    return Metric(
        _Along(without_data(problem), int(batch_size), int(batches)),
        data=problem.data,
        every=every,
        long_name="batch sharpness, its error, mean of ratios, its error, interval",
        dims=("estimate",),
    )


@dataclass(frozen=True)
class _Along:
    """Metric `(params, data, *, key, **settings) -> six numbers`.

    The settings are the keywords of the cost.
    """

    without_data: Any
    batch_size: int
    batches: int

    def __call__(self, params, data, *, key, **settings):
        problem = frozen(with_data(self.without_data, data), **settings)
        size = {"batch_size": self.batch_size, "batches": self.batches}
        return jnp.stack(batch_sharpness(problem, params, key=key, **size))

    @property
    def __signature__(self):
        return signature(self.without_data, ("params", "data"), ("key",))
