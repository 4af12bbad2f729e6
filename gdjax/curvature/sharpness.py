"""Sharpness along a descent: largest Hessian eigenvalue, and batch sharpness.

    sharpness = largest eigenvalue of the Hessian;   gradient descent is stable below 2 / eta

See `stability_threshold` for the limits of other optimizers. The sharpness is the algebraically
largest eigenvalue, even if a negative one has a larger absolute value.

Stochastic gradient descent stabilizes where the batch sharpness, the curvature of each mini-batch
cost along its gradient, is near 2 / eta and the sharpness of the full cost is smaller:

    batch sharpness = E[g^T H_B g] / E|g|^2,   g and H_B gradient and Hessian of a mini-batch's cost

References: Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge of
Stability*, arXiv 2103.00065; Andreyev and Beneventano 2024, *Edge of Stochastic Stability*, arXiv
2412.20553.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from gdjax.arguments import check_callable, check_number, check_whole
from gdjax.curvature import eigensolvers, student_t
from gdjax.curvature.directional_derivatives import along
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.operators import (
    HessianOperator,
    PreconditionedHessian,
    SymmetricOperator,
    as_matrix,
)
from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.keys import check_key
from gdjax.problems.evaluation import deterministic_cost, frozen, with_data, without_data
from gdjax.problems.keywords import declared, given_to
from gdjax.problems.problem import Metric, Problem, as_problem
from gdjax.problems.traces import problem_at
from gdjax.summaries import fields

# Along a descent, one round of four powers of the Hessian on two vectors is usually enough.
SIZES = eigensolvers.Sizes(upper=eigensolvers.BLOCK, lower=0, basis=8)
MAX_RESTARTS = 19
TAIL = 0.025  # probability outside each end of the interval of a batch sharpness
# Without sampling, all gradients of single samples are stored, and the square of the number of
# samples of products is computed.
MAX_EXACT_ENTRIES, MAX_EXACT_SAMPLES = 2**20, 256


class SharpnessState(NamedTuple):
    """State of the sharpness metric, from which the next estimate starts.

    Stores of continuable sweeps save the state under these field names.

    Args:
        vectors: approximate eigenvectors of the largest eigenvalues, largest first; no columns if
            the dense Hessian is decomposed.
        residual: |H v - sharpness v| of the last estimate, for its eigenvector v of length 1.
        products: number of Hessian-vector products in all estimates so far.
        drawn: number of times that random directions were drawn.
    """

    vectors: Float[Array, "n together"]
    residual: Float[Array, ""]
    products: Int[Array, ""]
    drawn: Int[Array, ""]


def sharpness_metric(
    problem: Problem | Callable,
    *,
    data: PyTree = None,
    every: int = 1,
    rtol: float = 1e-3,
    preconditioner: Callable[[PyTree], PyTree] | None = None,
    operator: Callable[..., SymmetricOperator] = HessianOperator,
) -> Metric:
    """Return the largest eigenvalue of the Hessian as a metric of a descent.

        sharpness = max v^T H v over |v| = 1,   H = grad grad C over the whole training set

    The algebraically largest eigenvalue is computed by block Lanczos, which starts from the two
    leading eigenvectors of the last estimate. The second is mixed with a random direction, so that
    an eigenvector whose eigenvalue becomes the largest later is found as well. Restarts end when
    |H v - sharpness v| is at most rtol |sharpness| plus rounding. An eigenvalue then lies
    within that distance, and the error is of the order of the squared distance divided by the gap
    to the next eigenvalue. A larger eigenvalue is unlikely, but not excluded. Up to 8 parameters
    the dense Hessian is decomposed. The result is NaN if 19 restarts are not enough or a value is
    not finite. On CPUs LAPACK is not called, since it could deadlock if runs use several devices.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used. Keywords
            of the cost can be swept; its model state is that of the run at each estimate.
        data: data used instead of the problem's data.
        every: interval between estimates, in records.
        rtol: tolerance of the residual, relative to the sharpness.
        preconditioner: function from the optimizer's state to the diagonal P > 0, a pytree like the
            parameters, such as `gd.curvature.preconditioner(optax.adam)`. The metric is then the
            largest eigenvalue of P^-1 H, and NaN where P is NaN, for example at the start of Adam.
        operator: function `operator(problem, params)` that returns the operator whose largest
            eigenvalue is computed, such as `GaussNewtonOperator`. Not used with a preconditioner.

    Returns:
        A metric for `descend(..., metrics=...)` and `sweep(..., metrics=...)`. An estimate costs 8
        Hessian-vector products if little has changed, and 6 more for each restart.

    Examples:
        The algebraically largest eigenvalue of a saddle:

        >>> metric = sharpness_metric(lambda w: 2 * w[0] ** 2 - 9 * w[1] ** 2)
        >>> value, state = metric.function(jnp.ones(2), None, metric.init(jnp.ones(2), None))
        >>> float(value)
        4.0

    References: Cohen et al. 2021, arXiv 2103.00065.
    """
    check_number("sharpness_metric: rtol", rtol, above=0)
    check_callable("sharpness_metric: operator", operator, "a class such as HessianOperator")
    if preconditioner is not None:
        remedy = "a function of the optimizer's state, such as preconditioner(optax.adam)"
        check_callable("sharpness_metric: preconditioner", preconditioner, remedy)
    problem = as_problem(problem, data)
    static = without_data(problem, model=operator is not HessianOperator)
    return Metric(
        _Sharpness(static, float(rtol), preconditioner=preconditioner, operator=operator),
        data=problem.data,
        every=every,
        init=_InitialState(
            SIZES.basis, static, operator if preconditioner is None else HessianOperator
        ),
        long_name="sharpness, the Hessian's largest eigenvalue"
        if preconditioner is None
        else "preconditioned sharpness, the largest eigenvalue of P^-1 H",
    )


def largest_eigenvalues_metric(
    problem: Problem | Callable,
    count: int,
    *,
    data: PyTree = None,
    every: int = 1,
    rtol: float = 1e-3,
) -> Metric:
    """Return the `count` largest eigenvalues of the Hessian as a metric of a descent.

        lambda_1 >= lambda_2 >= ... >= lambda_count of H = grad grad C over the whole training set

    They are computed as in `sharpness_metric`, starting from the two leading eigenvectors of the
    last estimate. An eigenvalue is NaN if its residual |H v - lambda v| exceeds rtol |lambda| plus
    rounding.

    Args:
        problem: a Problem or a cost, as for `sharpness_metric`.
        count: number of eigenvalues, at most the number of parameters.
        data: data used instead of the problem's data.
        every: interval between estimates, in records.
        rtol: tolerance of each residual, relative to its eigenvalue.

    Returns:
        A metric whose value is an array with the dimension `eigenvalue`, descending. With 10
        eigenvalues an estimate costs 20 Hessian-vector products, and 8 more for each restart. More
        than 6 eigenvalues require LAPACK, and therefore raise an error on several CPU devices: pass
        devices=jax.local_devices()[:1].

    Examples:
        >>> import gdjax as gd
        >>> bowl = gd.problems.bowl([1.0, 3.0, 2.0])
        >>> top = {"top": largest_eigenvalues_metric(bowl, 2)}
        >>> runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1]), 1, metrics=top)
        >>> runs.top.isel(learning_rate=0, step=-1).values.round(3).tolist()
        [3.0, 2.0]

    References: Sagun et al. 2017, arXiv 1706.04454.
    """
    check_whole("largest_eigenvalues_metric: count", count, 1)
    check_number("largest_eigenvalues_metric: rtol", rtol, above=0)
    problem = as_problem(problem, data)
    static = without_data(problem)
    return Metric(
        _Sharpness(static, float(rtol), count),
        data=problem.data,
        every=every,
        init=_InitialState(_sizes(count).basis, static),
        long_name="the Hessian's largest eigenvalues",
        dims=("eigenvalue",),
    )


def _sizes(count):
    """Return numbers of Lanczos vectors; few, since the start is near the solution."""
    upper = eigensolvers.sizes(count, 0).upper
    return SIZES if count == 1 else eigensolvers.Sizes(upper, 0, upper + SIZES.basis)


@dataclass(frozen=True)
class _Sharpness:
    """Metric `(params, data, state, **settings) -> (sharpness, state)`.

    The settings are the keywords of the cost.

    Args:
        without_data: problem as a pytree without leaves, so that metrics of equal problems share a
            compiled program.
        rtol: tolerance of the residuals, relative to the eigenvalue.
        count: number of largest eigenvalues in the result; None for the sharpness alone, a scalar.
        preconditioner: function `opt_state -> P`, or None.
        operator: function `(problem, params) -> operator`.
    """

    without_data: Any
    rtol: float
    count: int | None = None
    preconditioner: Callable | None = None
    operator: Callable = HessianOperator

    def __call__(self, params, data, metric_state, *, opt_state=None, **settings):
        problem = frozen(with_data(self.without_data, data), **settings)
        if self.preconditioner is None:
            operator = self.operator(problem, params)
        else:
            operator = PreconditionedHessian(problem, params, self.preconditioner(opt_state))
        values, metric_state = track_largest(
            operator, metric_state, rtol=self.rtol, count=self.count or 1
        )
        return (values[0] if self.count is None else values), metric_state

    @property
    def __signature__(self):
        keywords = () if self.preconditioner is None else ("opt_state",)
        return signature(self.without_data, ("params", "data", "metric_state"), keywords)


def signature(without_data: Any, arguments: tuple, keywords: tuple = ()) -> inspect.Signature:
    """Return the signature of a metric, with the keywords of the deterministic cost.

    Args:
        without_data: problem, as returned by `without_data`.
        arguments: names of the positional arguments.
        keywords: keywords that a descent passes, such as "opt_state" and "key".
    """
    problem = with_data(without_data, None)
    cost = problem.cost if problem.evaluation is None else problem.evaluation
    positional, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    defaults = declared(problem.cost) | dict.fromkeys(keywords)
    if "model_state" in given_to(cost):
        defaults["model_state"] = None
    return inspect.Signature(
        [
            *(inspect.Parameter(name, positional) for name in arguments),
            *(inspect.Parameter(name, keyword, default=v) for name, v in defaults.items()),
        ]
    )


@dataclass(frozen=True)
class _InitialState:
    """Initial state, with random directions, before the first estimate.

    Args:
        dense: maximum number of parameters for which the dense Hessian is decomposed.
        without_data: problem, as returned by `without_data`.
        operator: function `(problem, params) -> operator`, which may be of a single layer.
    """

    dense: int
    without_data: Any
    operator: Callable = HessianOperator

    def __call__(self, params: PyTree, data: Any) -> SharpnessState:
        size, _ = self.operator(with_data(self.without_data, data), params).shape
        dtype = cost_type(params)
        count = eigensolvers.BLOCK if size > self.dense else 0
        return SharpnessState(
            vectors=_random(jnp.zeros((), jnp.int32), (size, count), dtype),
            residual=jnp.full((), jnp.inf, dtype),
            products=jnp.zeros((), jnp.int32),
            drawn=jnp.ones((), jnp.int32),
        )


def _key(drawn):
    # A converged eigenvalue depends on the random directions only within its tolerance, so all runs
    # use equal directions, and the metric needs no key.
    return jax.random.fold_in(jax.random.key(0), drawn)


def _random(drawn, shape, dtype):
    """Return random directions of length near 1, one per column."""
    return jax.random.normal(_key(drawn), shape, dtype) / jnp.sqrt(jnp.asarray(shape[0], dtype))


def track_largest(
    operator: SymmetricOperator, state: SharpnessState, *, rtol: float, count: int = 1
) -> tuple[Float[Array, " count"], SharpnessState]:
    """Return the largest eigenvalues, starting at eigenvectors of a nearby operator.

    Args:
        operator: operator whose largest eigenvalues are computed.
        state: state after the previous estimate.
        rtol: tolerance of each residual, relative to its eigenvalue.
        count: number of eigenvalues.

    Returns:
        The eigenvalues, descending and NaN where not converged, and the state for the next
        operator.
    """
    sizes = _sizes(count)
    size, dtype = operator.shape[0], state.residual.dtype

    def allowed(values, norm):
        return rtol * jnp.abs(values) + ROUNDING * jnp.finfo(dtype).eps * norm

    if count > size:
        raise InputError(
            f"largest_eigenvalues_metric: count = {count}, expected at most {size}, the number of "
            f"parameters"
        )
    if size <= sizes.basis:
        matrix = as_matrix(operator.flat_mv, jnp.zeros(size, dtype))
        ascending, vectors = eigensolvers.eigh(matrix)
        values, top, block = ascending[::-1][:count], vectors[:, ::-1][:, :count], state.vectors
        difference = jnp.matmul(matrix, top, precision="highest") - values[None] * top
        residuals, num_hvps = jnp.linalg.norm(difference, axis=0), size
        norm = jnp.max(jnp.abs(ascending))
    else:
        random_direction = _random(state.drawn, (size,), dtype)
        ritz = eigensolvers.extreme_ritz_pairs(
            operator.flat_mv,
            jnp.ones(size, dtype),
            _key(state.drawn + 1),
            largest=count,
            smallest=0,
            tolerance=allowed,
            max_restarts=MAX_RESTARTS,
            block=state.vectors.at[:, 1].add(random_direction),
            space=sizes,
        )
        values, residuals, num_hvps = ritz.values, ritz.residuals, ritz.num_hvps
        block, norm = ritz.block, ritz.norm
    finite = jnp.isfinite(values) & jnp.isfinite(residuals)
    converged = finite & (residuals <= allowed(values, norm))
    # Keep the previous vectors if the largest eigenvalue is not finite.
    block = jnp.where(finite[0], block, state.vectors)
    state = SharpnessState(block, residuals[0], state.products + num_hvps, state.drawn + 2)
    return jnp.where(converged, values, jnp.nan), state


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
    """Return the mean curvature of mini-batch costs along their gradients.

        value = mean_B g^T H_B g / mean_B |g|^2,   mean_of_ratios = mean_B (g^T H_B g / |g|^2)

    The two differ because batches with a large gradient have more weight in `value`. With up to 256
    samples, whose gradients have up to 2^20 entries in total, `value` is the exact mean over all
    batches, unless the cost couples samples. Let g_i, H_i be those of the n samples, and G, H their
    sums. A batch contains a sample, a pair and a triple with probabilities p_1 = b / n,
    p_2 = p_1 (b - 1) / (n - 1) and p_3 = p_2 (b - 2) / (n - 2), so that the means are

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
        problem: a Problem with data, or a cost `cost(params, batch)`. Its deterministic cost is
            used.
        params: parameters w at which to evaluate.
        key: key that selects the samples, without replacement within a batch and independently
            between batches.
        batch_size: number of samples per batch.
        batches: number K of batches, at least 2, also for `mean_of_ratios`.
        data: data used instead of the problem's data.

    Examples:
        With one sample all batches are equal, and the batch sharpness is the curvature along the
        gradient:

        >>> cost, x = lambda w, x: jnp.mean(w[0] ** 2 + 0 * x), jnp.ones(1)
        >>> options = {"data": x, "batch_size": 1, "batches": 2}
        >>> batch = batch_sharpness(cost, jnp.ones(2), key=jax.random.key(0), **options)
        >>> float(batch.value), float(batch.mean_of_ratios)
        (2.0, 2.0)

    References: Andreyev and Beneventano 2024, arXiv 2412.20553.
    """
    problem = problem_at(problem, params, data)
    _check_batches("batch_sharpness", problem, batch_size, batches)
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
        entries = problem.samples * sum(leaf.size for leaf in jax.tree.leaves(params))
        fits = entries <= MAX_EXACT_ENTRIES and problem.samples <= MAX_EXACT_SAMPLES
        if fits and not problem.couples_samples:
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


def _check_batches(caller, problem, batch_size, batches):
    if problem.data is None:
        raise InputError(f"{caller}: problem has no data, so it has no mini-batches; pass data=...")
    check_whole(f"{caller}: batch_size", batch_size, 1, problem.samples, remedy=" samples")
    check_whole(f"{caller}: batches", batches, 2)


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
        data: data used instead of the problem's data.
        every: interval between estimates, in records.

    Returns:
        A metric whose value is an array with the dimension `estimate`. Its entries are value,
        error, mean_of_ratios, ratios_error, low and high, in the order of `BatchSharpness`.
    """
    problem = as_problem(problem, data)
    _check_batches("batch_sharpness_metric", problem, batch_size, batches)
    return Metric(
        _BatchSharpness(without_data(problem), int(batch_size), int(batches)),
        data=problem.data,
        every=every,
        long_name="batch sharpness, its error, mean of ratios, its error, interval",
        dims=("estimate",),
    )


@dataclass(frozen=True)
class _BatchSharpness:
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
