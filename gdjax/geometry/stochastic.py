"""How sharp a cost is along the steps of mini-batches.

    batch sharpness = E[g^T H_B g] / E|g|^2,   g and H_B gradient and Hessian of a mini-batch's cost

Stochastic descent settles where this is near 2 / eta, and the whole cost's largest eigenvalue below
it. With one sample there is one batch, and it is the curvature along the gradient:

>>> line = Problem(
...     init=lambda key: jnp.ones(2),
...     cost=lambda w, x: jnp.mean(w[0] ** 2 + 0 * x),
...     data=jnp.ones(1),
... )
>>> found = batch_sharpness(line, jnp.ones(2), jax.random.key(0), batch_size=1, batches=2)
>>> float(found.value), float(found.mean_of_ratios)
(2.0, 2.0)

Source: Andreyev and Beneventano 2024, *Edge of Stochastic Stability*, arXiv 2412.20553.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.geometry.products import with_data, without_data
from gdjax.geometry.stability import signature
from gdjax.problems.evaluation import evaluation_of, frozen
from gdjax.problems.problem import Measure, Problem, as_problem
from gdjax.summaries import fields


class BatchSharpness(NamedTuple):
    """Batch sharpness in both conventions, each with its standard error.

    Args:
        value: mean of g^T H_B g over mean of |g|^2, as the paper defines it.
        error: its standard error, from the spread over batches.
        mean_of_ratios: mean of g^T H_B g / |g|^2, as the paper's code measures it.
        ratios_error: its standard error.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    mean_of_ratios: Float[Array, ""]
    ratios_error: Float[Array, ""]

    __repr__ = fields


def batch_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    key: Key[Array, ""],
    *,
    batch_size: int,
    batches: int = 32,
    data: PyTree = None,
) -> BatchSharpness:
    """The curvature of mini-batches' costs along their own gradients.

        value = mean_B g^T H_B g / mean_B |g|^2,   mean_of_ratios = mean_B (g^T H_B g / |g|^2)

    The two differ: in the first, batches with a large gradient count for more. The standard error
    of the first is that of a ratio of means, sd(g^T H_B g - value |g|^2) / (sqrt(K) mean |g|^2).

    Args:
        problem: with data; or a cost, `cost(params, batch)`. Its deterministic cost is looked at.
        params: the point w.
        key: for which samples are in a batch: drawn without replacement within a batch,
            independently between batches.
        batch_size: samples in a batch.
        batches: K, how many are drawn, at least 2.
        data: instead of the problem's own.

    Raises:
        InputError: no data, or numbers of samples or batches that cannot be.

    Source: Andreyev and Beneventano 2024, arXiv 2412.20553.
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
        bent = jax.jvp(gradient, (params,), (g,))[1]
        dot = optax.tree.vdot(g, bent), optax.tree.vdot(g, g)
        return jax.tree.map(lambda a: a.astype(dtype), dot)

    # Products in full precision: on a GPU the default spoils second derivatives.
    with jax.default_matmul_precision("highest"):
        bend, square = jax.lax.map(of_batch, jax.random.split(key, batches))
    value = jnp.mean(bend) / jnp.mean(square)
    ratios = bend / square
    rest = jnp.std(bend - value * square, ddof=1) / jnp.mean(square)
    root = jnp.sqrt(jnp.asarray(batches, dtype))
    return BatchSharpness(value, rest / root, jnp.mean(ratios), jnp.std(ratios, ddof=1) / root)


def batch_sharpness_measure(
    problem: Problem | Callable,
    *,
    batch_size: int,
    batches: int = 32,
    data: PyTree = None,
    every: int = 1,
) -> Measure:
    """Batch sharpness along a descent, mini-batches drawn anew each time.

    Args:
        problem: as for `batch_sharpness`.
        batch_size: samples in a batch.
        batches: how many are drawn each time.
        data: instead of the problem's own.
        every: records from one estimate to the next.

    Returns:
        A measure that is an array with the dimension `estimate`: value, error, mean_of_ratios and
        ratios_error, in the order of `BatchSharpness`.

    Raises:
        InputError: as `batch_sharpness`, when it is first measured.
    """
    problem = as_problem(problem, data)
    return Measure(
        _Along(without_data(problem), int(batch_size), int(batches)),
        data=problem.data,
        every=every,
        long_name="batch sharpness, its error, mean of ratios, its error",
        dims=("estimate",),
    )


@dataclass(frozen=True)
class _Along:
    """`(params, data, *, key, **settings) -> four numbers`, with the cost's keywords."""

    without_data: Any
    batch_size: int
    batches: int

    def __call__(self, params, data, *, key, **settings):
        problem = frozen(with_data(self.without_data, data), **settings)
        size = {"batch_size": self.batch_size, "batches": self.batches}
        return jnp.stack(batch_sharpness(problem, params, key, **size))

    @property
    def __signature__(self):
        return signature(self.without_data, ("params", "data"), ("key",))
