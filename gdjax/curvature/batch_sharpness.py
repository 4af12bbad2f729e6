"""Batch sharpness, the curvature of mini-batch costs along their gradients.

    batch sharpness = E[g^T H_B g] / E|g|^2,   g and H_B gradient and Hessian of a mini-batch's cost

Stochastic gradient descent stabilizes where the batch sharpness is near 2 / eta and the sharpness
of the full cost is smaller.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from gdjax.base.arguments import check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.reprs import fields
from gdjax.curvature import student_t
from gdjax.curvature.directional_derivatives import along
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem, as_problem

TAIL = 0.025  # probability outside each end of the interval
# Without sampling, all gradients of n single samples are stored, and n^2 products are computed.
MAX_EXACT_ENTRIES, MAX_EXACT_SAMPLES = 2**20, 256


class BatchSharpness(NamedTuple):
    """Batch sharpness in both conventions, with standard errors and an interval.

    Args:
        value: mean of g^T H_B g divided by the mean of |g|^2, the definition of Andreyev and
            Beneventano.
        error: jackknife standard error of `value`, 0 if it is exact. With few samples per batch,
            `value` is far from normally distributed: use `low` and `high`.
        mean_of_ratios: mean of g^T H_B g / |g|^2, as computed by their code.
        ratios_error: standard error of `mean_of_ratios`.
        low: lower end of a 95 % confidence interval of `value`; `value` itself if it is exact.
        high: upper end of this interval.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    mean_of_ratios: Float[Array, ""]
    ratios_error: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]

    __repr__, _repr_html_ = fields


def batch_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    batch_size: int,
    batches: int = 32,
) -> BatchSharpness:
    """Return the mean curvature of mini-batch costs along their gradients.

        value = mean_B g^T H_B g / mean_B |g|^2,   mean_of_ratios = mean_B (g^T H_B g / |g|^2)

    The two differ because batches with a large gradient have more weight in `value`. With up to 256
    samples, whose gradients have up to 2^20 entries in total, `value` is the exact mean over all
    batches, unless the cost couples samples or the problem has a `weight`. Let g_i, H_i be those of
    the n samples, and G, H their sums. A batch contains a sample, a pair and a triple with
    probabilities p_1 = b / n, p_2 = p_1 (b - 1) / (n - 1) and p_3 = p_2 (b - 2) / (n - 2), so that
    the means are

        b^3 E g^T H_B g = p_1 A + p_2 (2 P + Q - 3 A) + p_3 (G^T H G - 2 P - Q + 2 A)
        b^2 E |g|^2 = p_1 S + p_2 (|G|^2 - S),   S = sum |g_i|^2
        A = sum g_i^T H_i g_i,   P = sum g_i^T H_i G,   Q = sum g_i^T H g_i

    Otherwise `value` is estimated from K batches. If v_i is the value without batch i and
    d_i = v_i - mean v, then

        error^2 = (K - 1)/K sum d_i^2,   low, high = value -+ t error

    Here t is the 97.5 % quantile of Student's t distribution with (sum d_i^2)^2 / sum d_i^4 - 1
    degrees of freedom (at least 1). Their number is small if a few batches dominate the value. The
    interval cannot include the effect of samples that are in none of the batches. If a few samples
    have much larger gradients than the others, and batches contain none of them with probability
    q, it covers the exact value with probability at most about 1 - q.

    Args:
        problem: a Problem with data, whose deterministic cost is used.
        params: parameters w at which to evaluate.
        key: key that selects the samples, without replacement within a batch and independently
            between batches.
        batch_size: number of samples per batch.
        batches: number K of batches, at least 2, also for `mean_of_ratios`.

    Examples:
        With one sample all batches are equal, and the batch sharpness is the curvature along the
        gradient:

        >>> cost = lambda w, x: jnp.mean(w[0] ** 2 + 0 * x)
        >>> problem, options = as_problem(cost, jnp.ones(1)), {"batch_size": 1, "batches": 2}
        >>> batch = batch_sharpness(problem, jnp.ones(2), key=jax.random.key(0), **options)
        >>> float(batch.value), float(batch.mean_of_ratios)
        (2.0, 2.0)

    References: Andreyev and Beneventano 2024, *Edge of Stochastic Stability*, arXiv 2412.20553.
    """
    samples = as_problem(problem).samples
    if not samples:
        raise InputError(
            "batch_sharpness: problem has no data, so it has no mini-batches; give it data"
        )
    check_whole("batch_sharpness: batch_size", batch_size, 1, samples, remedy=" samples")
    check_whole("batch_sharpness: batches", batches, 2)
    problem = problem_at(problem, params, batch_size)
    check_key(key)
    cost, dtype = deterministic_cost(problem), cost_type(params)

    def of_batch(key):
        indices = jax.random.choice(key, problem.samples, (batch_size,), replace=False)
        batch = jax.tree.map(lambda a: jnp.asarray(a)[indices], problem.data)
        gradient = jax.grad(lambda w: cost(w, batch))
        g = gradient(params)
        H_g = along(gradient, params, g)
        products = optax.tree.vdot(g, H_g), optax.tree.vdot(g, g)
        return jax.tree.map(lambda a: a.astype(dtype), products)

    # Use full precision: the default on a GPU makes second derivatives inaccurate.
    with jax.default_matmul_precision("highest"):
        curvatures, squares = jax.lax.map(of_batch, jax.random.split(key, batches))
        ratios = curvatures / squares
        entries = problem.samples * optax.tree.size(params)
        fits = entries <= MAX_EXACT_ENTRIES and problem.samples <= MAX_EXACT_SAMPLES
        if fits and not problem.couples_samples and problem.weight is None:
            value = _mean_over_all_batches(problem, params, batch_size).astype(dtype)
            error, low, high = jnp.zeros_like(value), value, value
        else:
            value = jnp.mean(curvatures) / jnp.mean(squares)
            error, low, high = _jackknife(curvatures, squares)
    ratios_error = jnp.std(ratios, ddof=1) / jnp.sqrt(jnp.asarray(batches, dtype))
    return BatchSharpness(value, error, jnp.mean(ratios), ratios_error, low, high)


def _mean_over_all_batches(problem, params, batch_size):
    """Return the exact batch sharpness, from gradients and products of single samples."""
    n, b, cost, dot = problem.samples, batch_size, deterministic_cost(problem), optax.tree.vdot
    p_1 = b / n
    p_2 = p_1 * (b - 1) / max(n - 1, 1)
    p_3 = p_2 * (b - 2) / max(n - 2, 1)

    def gradient_of(i, w):
        sample = jax.tree.map(lambda a: jnp.asarray(a)[i][None], problem.data)
        return jax.grad(lambda w: cost(w, sample))(w)

    samples = jnp.arange(n)
    gradients = jax.lax.map(lambda i: gradient_of(i, params), samples)
    total = jax.tree.map(lambda g: jnp.sum(g, axis=0), gradients)
    operator = HessianOperator(problem, params)  # of the mean over samples

    def of_sample(sample):
        i, g = sample
        own = along(lambda w: gradient_of(i, w), params, g)
        return dot(g, own), dot(total, own), n * dot(g, operator.mv(g)), dot(g, g)

    A, P, Q, S = map(jnp.sum, jax.lax.map(of_sample, (samples, gradients)))
    G_H_G = n * dot(total, operator.mv(total))
    # Coefficients that vanish for a full batch are computed before the multiplication.
    curvature = (p_1 - 3 * p_2 + 2 * p_3) * A + (p_2 - p_3) * (2 * P + Q) + p_3 * G_H_G
    return curvature / ((p_1 - p_2) * S + p_2 * dot(total, total)) / b


def _jackknife(numerators, denominators):
    """Return the standard error and a 95 % interval of a ratio of sums."""
    count = numerators.size
    top, bottom = jnp.sum(numerators), jnp.sum(denominators)
    value = top / bottom
    leave_one_out = (top - numerators) / (bottom - denominators)
    deviations = leave_one_out - jnp.mean(leave_one_out)
    error = jnp.sqrt((count - 1) / count * jnp.sum(deviations**2))
    t = student_t.quantile(TAIL, student_t.effective_freedom(deviations))
    return error, value - t * error, value + t * error
