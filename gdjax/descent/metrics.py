"""Metrics of a descent: accuracy by class, correct samples, gradient noise.

    right_i = [argmax_k f(x_i; w)_k = label_i],   accuracy of a class = mean of right_i in the class

    g = 1/n sum_i g_i,   noise = sum_i |g_i - g|^2 / (n - 1),   E |g_B - g|^2 = noise/B (1 - B/n)

f(x; w) are a model's outputs, g_i is the gradient of one sample's cost, and g_B the mean over B
samples drawn without replacement.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key, Num, PyTree, UInt8

from gdjax.base.arguments import check_numbers, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.problems.checks import require_unweighted
from gdjax.problems.evaluation import deterministic_cost, with_data, without_data
from gdjax.problems.keywords import declare, declared, given_to
from gdjax.problems.microbatches import in_microbatches
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Metric, Problem, require_problem


def class_accuracy(problem: Problem, *, data: PyTree = None, every: int = 1) -> Metric:
    """Return a metric for the accuracy on the samples of each class.

        accuracy_k = sum_i [label_i = k] right_i / sum_i [label_i = k]

    Args:
        problem: a problem with a `predict` that has one output per class.
        data: samples `(inputs, labels)`; None uses those of the problem's `test_accuracy` metric,
            or else its training set.
        every: number of records between computations.

    Returns:
        A metric whose values are arrays with the dimension `class`; NaN for a class without
        samples.

    Examples:
        A model that always predicts class 0 is correct for the samples with that label:

        >>> always = Problem(
        ...     init=lambda key: jnp.zeros(()),
        ...     cost=lambda w, batch: w**2,
        ...     data=(jnp.zeros((4, 1)), jnp.array([0, 1, 0, 1])),
        ...     predict=lambda w, inputs: jnp.eye(2)[jnp.zeros(len(inputs), int)],
        ... )
        >>> class_accuracy(always).function(jnp.zeros(()), always.data).tolist()
        [1.0, 0.0]
    """
    described = {"long_name": "accuracy of each class", "dims": ("class",)}
    return _of_outputs("class_accuracy", _by_class, problem, data, every=every, **described)


def correct_samples(problem: Problem, *, data: PyTree = None, every: int = 1) -> Metric:
    """Return a metric that records which samples are classified correctly, as bits.

        bit i of the array = right_i,   the first sample in the highest bit of the first byte

    10,000 test images take 1,250 bytes per record; `unpack_bits` converts them to booleans. If the
    metric has the name `right` in a sweep, `right_known` is False where a run has diverged or is
    not finished.

    Args:
        problem, data, every: as for `class_accuracy`.

    Returns:
        A metric whose values are arrays of uint8 with the dimension `byte`.

    Examples:
        >>> from gdjax.problems import digits
        >>> metric = correct_samples(digits("mnist5k"), every=10)
        >>> metric.dims, len(metric.data[1])
        (('byte',), 1000)

    Source: Toneva et al. 2019, arXiv 1812.05159, on forgetting events of samples.
    """
    described = {"long_name": "correctly classified samples, as bits", "dims": ("byte",)}
    return _of_outputs(
        "correct_samples", _packed, problem, data, every=every, dtype=np.uint8, **described
    )


def unpack_bits(bits: Any, samples: int) -> Bool[np.ndarray, "*records samples"]:
    """Return a boolean for each sample from an array of `correct_samples`.

    Args:
        bits: array [..., bytes] with eight samples per byte.
        samples: number of samples.

    Examples:
        >>> unpack_bits([0b10100000], 4).tolist()
        [True, False, True, False]
    """
    check_whole("unpack_bits: samples", samples, 1)
    check_numbers("unpack_bits: bits", bits)
    bits = np.asarray(bits).astype(np.uint8)
    if bits.ndim == 0 or bits.shape[-1] != -(-samples // 8):
        raise InputError(
            f"unpack_bits: samples = {samples}, but bits have shape {bits.shape}; expected "
            f"{-(-samples // 8)} bytes in the last axis"
        )
    return np.unpackbits(bits, axis=-1, count=samples).astype(bool)


def _right(outputs: Float[Array, "samples classes"], labels: Num[Array, " samples"]):
    return jnp.argmax(outputs, axis=-1) == labels


def _by_class(outputs, labels):
    of_class = jax.nn.one_hot(labels, outputs.shape[-1], dtype=jnp.float32)
    right = _right(outputs, labels).astype(jnp.float32)
    return jnp.matmul(right, of_class, precision="highest") / jnp.sum(of_class, axis=0)


def _packed(outputs, labels) -> UInt8[Array, " bytes"]:
    return jnp.packbits(_right(outputs, labels))


def _of_outputs(name, quantity, problem, data, **described):
    """Return a metric `quantity(outputs, labels)` of a problem with predictions."""
    if not isinstance(problem, Problem) or problem.predict is None:
        raise InputError(
            f"{name}: the problem has no `predict`; pass a problem that has one, such as "
            f"gd.problems.supervised(...)"
        )
    if data is None:
        test = problem.metrics.get("test_accuracy")
        data = problem.data if test is None else test.data
    pair = isinstance(data, tuple | list) and len(data) == 2
    labels = data[1] if pair else None
    if not hasattr(labels, "dtype") or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"{name}: expected data (inputs, labels), where labels are whole numbers, one per "
            f"sample; pass data=..."
        )
    predict = problem.predict

    def function(params, data, **keywords):
        inputs, labels = data
        return quantity(predict(params, inputs, **keywords), jnp.asarray(labels))

    declare(function, ("params", "data"), given_to(predict), declared(predict))
    return Metric(function, data=tuple(data), **described)


def gradient_noise(
    problem: Problem, *, key: Key[Array, ""], batch_size: int = 32, batches: int = 16
) -> Metric:
    """Return a metric for the trace of the covariance of per-sample gradients.

        noise = B/(K - 1) sum_k |g_k - mean_j g_j|^2

    The estimate uses K disjoint mini-batches of B samples, and is unbiased for all B and K. Its
    relative error is about sqrt(2 / ((K - 1) r)), where r is the effective number of directions of
    the noise. The mini-batches are drawn once, so that the metric depends on the parameters only.

    Args:
        problem: a problem with data.
        key: random key of the mini-batches.
        batch_size: B, number of samples per mini-batch, >= 1.
        batches: K, number of mini-batches, >= 2; the problem needs at least K B samples.

    Returns:
        A scalar metric, which computes the gradients of K B samples.

    Examples:
        Gradients of 1 and -1 with respect to one parameter have the variance 2:

        >>> tug = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.array([1.0, -1.0]))
        >>> metric = gradient_noise(tug, key=jax.random.key(0), batch_size=1, batches=2)
        >>> float(metric.function(jnp.zeros(()), metric.data))
        2.0
    """
    samples = _mini_batches("gradient_noise", problem, key, batch_size, batches)
    return Metric(
        _of_cost(_noise, problem),
        data=samples,
        long_name="trace of the gradient's covariance",
    )


def noise_scale(
    problem: Problem, *, key: Key[Array, ""], batch_size: int = 32, batches: int = 16
) -> Metric:
    """Return a metric for the simple noise scale of the gradient.

        B_simple = noise / |g|^2,   E |g_B - g|^2 / |g|^2 = B_simple / B   (B << n)

    The noise is that of `gradient_noise`, and g is the gradient over the whole training set. At the
    batch size B_simple, the noise is as large as the gradient. The gradient of a much smaller batch
    is mostly noise, and batches that are much larger hardly make a step more accurate.

    Args:
        problem, key, batch_size, batches: as for `gradient_noise`.

    Returns:
        A scalar metric in units of samples, which computes a gradient over the whole training set
        in addition to those of `gradient_noise`.

    Examples:
        Gradients of 1 and 3 have the variance 2 and the mean 2:

        >>> slope = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.array([1.0, 3.0]))
        >>> metric = noise_scale(slope, key=jax.random.key(0), batch_size=1, batches=2)
        >>> float(metric.function(jnp.zeros(()), metric.data))
        0.5

    Source: McCandlish et al. 2018, arXiv 1812.06162, equation 2.9.
    """
    samples = _mini_batches("noise_scale", problem, key, batch_size, batches)
    return Metric(
        _of_cost(_scale, problem),
        data=(samples, problem.data),
        long_name="simple noise scale",
        units="samples",
    )


def _noise(cost: Callable, params: PyTree, samples: PyTree) -> Float[Array, ""]:
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


def _scale(cost, params, data):
    samples, whole = data
    gradient = in_microbatches(jax.grad(cost))(params, whole)
    return _noise(cost, params, samples) / optax.tree.norm(gradient, squared=True)


def _mini_batches(name, problem, key, batch_size, batches):
    """Return a random subset of the samples, with leading axes [batches, batch_size]."""
    require_problem(problem)
    require_unweighted(name, problem)
    check_key(key)
    if problem.data is None:
        raise InputError(f"{name}: the problem has no data, so its gradient has no noise")
    check_whole(f"{name}: batch_size", batch_size, 1, problem.samples // 2)
    check_whole(f"{name}: batches", batches, 2, problem.samples // batch_size)
    chosen = jax.random.permutation(key, problem.samples)[: batches * batch_size]
    return jax.tree.map(
        lambda a: jnp.asarray(a)[chosen].reshape(batches, batch_size, *a.shape[1:]), problem.data
    )


def _of_cost(quantity, problem):
    """Return the function of a metric `quantity(cost, params, data)` of the deterministic cost."""
    bare = with_data(without_data(problem), None)  # does not keep the data in memory

    def function(params, data, **keywords):
        return quantity(deterministic_cost(bare, **keywords), params, data)

    supplied = ("model_state",) if bare.stateful else ()
    return declare(function, ("params", "data"), supplied, declared(bare.cost))
