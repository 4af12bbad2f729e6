"""How noisy the gradient of a mini-batch is, as measures to watch along a descent.

    g = 1/n sum_i g_i,   noise = sum_i |g_i - g|^2 / (n - 1),   E |g_B - g|^2 = noise/B (1 - B/n)

g_i is the gradient of one sample's cost, g_B the mean over B samples drawn without replacement.
The simplest instance: pulls of 1 and of -1 on one parameter leave no gradient and a variance of 2.

>>> tug = Problem(
...     init=lambda key: jnp.zeros(()),
...     cost=lambda w, x: jnp.mean(w * x),
...     data=jnp.array([1.0, -1.0]),
... )
>>> measure = gradient_noise(tug, jax.random.key(0), batch_size=1, batches=2)
>>> float(measure.function(jnp.zeros(()), measure.data))
2.0
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from gdjax.descent.block import bare
from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.problems.chunks import in_chunks
from gdjax.problems.evaluation import evaluation_of
from gdjax.problems.problem import Measure, Problem, declared

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
KEYWORD = inspect.Parameter.KEYWORD_ONLY


def gradient_noise(
    problem: Problem, key: Key[Array, ""], *, batch_size: int = 32, batches: int = 16
) -> Measure:
    """Trace of the covariance of single samples' gradients, from the spread of mini-batches.

        noise = B/(K - 1) sum_k |g_k - mean_j g_j|^2

    over K disjoint mini-batches of B samples. It is unbiased whatever B and K are; its relative
    error is about sqrt(2 / ((K - 1) r)), r the number of directions the noise spreads over. The
    mini-batches are drawn once, so that what changes along a descent is the parameters' doing.

    Args:
        problem: whose cost; it needs data.
        key: which samples.
        batch_size: B, >= 1.
        batches: K, >= 2; K B samples must be there.

    Returns:
        A measure for `descend(..., measures=...)`; it costs K B sample gradients.

    Raises:
        InputError: a problem without data, or too few samples.
    """
    return Measure(
        _OfCost(_noise, bare(problem.cost, problem.evaluation, problem.couples_samples)),
        data=_mini_batches("gradient_noise", problem, key, batch_size, batches),
        long_name="trace of the gradient's covariance",
    )


def noise_scale(
    problem: Problem, key: Key[Array, ""], *, batch_size: int = 32, batches: int = 16
) -> Measure:
    """The batch size at which the noise of a mini-batch is as large as the gradient itself.

        B_simple = noise / |g|^2,   E |g_B - g|^2 / |g|^2 = B_simple / B   (B << n)

    with the noise of `gradient_noise` and the gradient g of the whole training set. Much smaller
    batches point nearly anywhere; much larger ones are hardly better than this.

    Args:
        problem: whose cost; it needs data.
        key: which samples.
        batch_size: samples a mini-batch for the noise, >= 1.
        batches: mini-batches for the noise, >= 2.

    Returns:
        A measure in units of samples; it costs a gradient of the whole training set.

    Raises:
        InputError: a problem without data, or too few samples.

    Source: McCandlish et al. 2018, arXiv 1812.06162, equation 2.9.
    """

    few = _mini_batches("noise_scale", problem, key, batch_size, batches)
    return Measure(
        _OfCost(_scale, bare(problem.cost, problem.evaluation, problem.couples_samples)),
        data=(few, problem.data),
        long_name="simple noise scale",
        units="samples",
    )


def _noise(cost: Callable, params: PyTree, few: PyTree) -> Float[Array, ""]:
    """B/(K - 1) times the sum of squared distances from the mean, by Welford's recurrence."""
    count, size = jax.tree.leaves(few)[0].shape[:2]

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
    (_, squares), _ = jax.lax.scan(add, start, (jnp.arange(1, count + 1, dtype=dtype), few))
    return squares * (size / (count - 1))


def _scale(cost, params, data):
    few, whole = data
    gradient = in_chunks(jax.grad(cost))(params, whole)
    return _noise(cost, params, few) / optax.tree.norm(gradient, squared=True)


def _mini_batches(name, problem, key, batch_size, batches):
    """The data of a random choice of samples, leading axes [batches, batch_size]."""
    if problem.data is None:
        raise InputError(f"{name}: the problem has no data, so its gradient has no noise")
    if batch_size < 1 or batches < 2 or batches * batch_size > problem.samples:
        raise InputError(
            f"{name}: batches = {batches} of batch_size = {batch_size}, expected at least 2 of at "
            f"least 1 sample, and {problem.samples} samples at most"
        )
    chosen = jax.random.permutation(key, problem.samples)[: batches * batch_size]
    return jax.tree.map(
        lambda a: jnp.asarray(a)[chosen].reshape(batches, batch_size, *a.shape[1:]), problem.data
    )


@dataclass(frozen=True)
class _OfCost:
    """`quantity(cost, params, data)` as a measure that declares the keywords of a problem's cost.

    The cost is the deterministic one: what is measured changes with the parameters alone.
    """

    quantity: Callable
    problem: Problem

    def __call__(self, params, data, **given):
        return self.quantity(evaluation_of(self.problem, **given), params, data)

    @property
    def __signature__(self):
        places = [inspect.Parameter(name, POSITIONAL) for name in ("params", "data")]
        settings = declared(self.problem.cost)
        if self.problem.stateful:
            settings["state"] = None
        keywords = [
            inspect.Parameter(name, KEYWORD, default=default) for name, default in settings.items()
        ]
        return inspect.Signature([*places, *keywords])
