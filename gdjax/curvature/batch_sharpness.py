"""Sharpness of mini-batches' costs along their own gradients.

    batch sharpness = E[g^T H_B g] / E|g|^2,   g and H_B gradient and Hessian of a mini-batch's cost

Stochastic descent settles where this is near 2 / eta, and the whole cost's largest eigenvalue below
it. With one sample there is one batch, and it is the curvature along the gradient:

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

TAIL = 0.025  # outside each end of the interval


class BatchSharpness(NamedTuple):
    """Batch sharpness in both conventions, with standard errors and an interval.

    Args:
        value: mean of g^T H_B g over mean of |g|^2, as the paper defines it.
        error: its standard error by the jackknife. For batches of few samples the value is far from
            normal: take `low` and `high`.
        mean_of_ratios: mean of g^T H_B g / |g|^2, as the paper's code measures it.
        ratios_error: its standard error.
        low: lower end of a 95 % confidence interval of the value.
        high: upper end.
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
    """Return the curvature of mini-batches' costs along their own gradients.

        value = mean_B g^T H_B g / mean_B |g|^2,   mean_of_ratios = mean_B (g^T H_B g / |g|^2)

    The two differ: in the first, batches with a large gradient count for more. If v_i is the value
    without batch i and d_i = v_i - mean v, then

        error^2 = (K - 1)/K sum d_i^2,   low, high = value -+ t error

    with the 97.5 % point t of Student's distribution with (sum d_i^2)^2 / sum d_i^4 - 1 degrees of
    freedom (at least 1), which are few where a few batches decide the value.

    Args:
        problem: with data; or a cost, `cost(params, batch)`. Its deterministic cost is used.
        params: the point w.
        key: for which samples are in a batch: drawn without replacement within a batch,
            independently between batches.
        batch_size: samples in a batch.
        batches: K, how many are drawn, at least 2.
        data: instead of the problem's own.

    Raises:
        InputError: no data, or numbers of samples or batches that cannot be.

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

    # Products in full precision: on a GPU the default spoils second derivatives.
    with jax.default_matmul_precision("highest"):
        bend, square = jax.lax.map(of_batch, jax.random.split(key, batches))
    value = jnp.mean(bend) / jnp.mean(square)
    ratios = bend / square
    error, low, high = _jackknife(bend, square)
    ratios_error = jnp.std(ratios, ddof=1) / jnp.sqrt(jnp.asarray(batches, dtype))
    return BatchSharpness(value, error, jnp.mean(ratios), ratios_error, low, high)


def _jackknife(numerators, denominators):
    """Return the standard error of a ratio of sums, and a 95 % interval."""
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
    """Return batch sharpness as a metric of a descent, with new mini-batches at each record.

    Args:
        problem: as for `batch_sharpness`.
        batch_size: samples in a batch.
        batches: how many are drawn each time.
        data: instead of the problem's own.
        every: records from one estimate to the next.

    Returns:
        A metric that is an array with the dimension `estimate`: value, error, mean_of_ratios,
        ratios_error, low and high, in the order of `BatchSharpness`.

    Raises:
        InputError: as `batch_sharpness`, when it is first measured.
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
    """`(params, data, *, key, **settings) -> six numbers`, with the cost's keywords."""

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
