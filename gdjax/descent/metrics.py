"""Measurements of networks and of noise: accuracy by class, correct samples, gradient noise.

    right_i = [argmax_k f(x_i; w)_k = label_i],   accuracy of a class = mean of right_i in the class

    g = 1/n sum_i g_i,   noise = sum_i |g_i - g|^2 / (n - 1),   E |g_B - g|^2 = noise/B (1 - B/n)

f(x; w) are a model's outputs, g_i is the gradient of one sample's cost, and g_B the mean over B
samples drawn without replacement. All functions are measurements, for `gd.measure`, descents,
sweeps and slices; `gd.Metric(class_accuracy, data=test)` takes other samples.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key, Num, PyTree, UInt8

from gdjax.base.arguments import check_limits, check_numbers, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Count
from gdjax.problems.checks import require_unweighted
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.metrics import described
from gdjax.problems.microbatches import in_microbatches
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem, require_problem


@described(long_name="accuracy of each class", dims=("class",))
def class_accuracy(problem: Problem, params: PyTree) -> Float[Array, " classes"]:
    """Return the accuracy on the samples of each class.

        accuracy_k = sum_i [label_i = k] right_i / sum_i [label_i = k]

    Args:
        problem: a problem with data `(inputs, labels)` and a `predict` that has one output per
            class.
        params: parameters at which to evaluate.

    Returns:
        Array with the dimension `class`; NaN for a class without samples.

    Examples:
        A model that always predicts class 0 is correct for the samples with that label:

        >>> always = Problem(
        ...     init=lambda key: jnp.zeros(()),
        ...     cost=lambda w, batch: w**2,
        ...     data=(jnp.zeros((4, 1)), jnp.array([0, 1, 0, 1])),
        ...     predict=lambda w, inputs: jnp.eye(2)[jnp.zeros(len(inputs), int)],
        ... )
        >>> class_accuracy(always, jnp.zeros(())).tolist()
        [1.0, 0.0]
    """
    outputs, labels = _outputs("class_accuracy", problem, params)
    of_class = jax.nn.one_hot(labels, outputs.shape[-1], dtype=jnp.float32)
    right = _right(outputs, labels).astype(jnp.float32)
    return jnp.matmul(right, of_class, precision="highest") / jnp.sum(of_class, axis=0)


@described(long_name="correctly classified samples, as bits", dims=("byte",), dtype=np.uint8)
def correct_samples(problem: Problem, params: PyTree) -> UInt8[Array, " bytes"]:
    """Return which samples are classified correctly, as bits.

        bit i of the array = right_i,   the first sample in the highest bit of the first byte

    10,000 test images take 1,250 bytes per record; `unpack_bits` converts them to booleans. If the
    metric has the name `right` in a sweep, `right_known` is False where a run has diverged or is
    not finished.

    Args:
        problem, params: as for `class_accuracy`.

    Returns:
        Array of uint8 with the dimension `byte`.

    Examples:
        >>> from gdjax.problems import digits
        >>> problem = digits("mnist5k")
        >>> correct_samples(problem, problem.init(jax.random.key(0))).shape
        (500,)

    Source: Toneva et al. 2019, arXiv 1812.05159, on forgetting events of samples.
    """
    return jnp.packbits(_right(*_outputs("correct_samples", problem, params)))


def unpack_bits(bits: Any, samples: int) -> Bool[np.ndarray, "*records samples"]:
    """Return a boolean for each sample from an array of `correct_samples`.

    Args:
        bits: array [..., bytes] with eight samples per byte.
        samples: number of samples.

    Examples:
        >>> unpack_bits([0b10100000], 4).tolist()
        [True, False, True, False]
    """
    check_limits("unpack_bits: samples", samples, Count)
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


def _outputs(name, problem, params):
    """Return the outputs of a model, and the labels of its samples."""
    if not isinstance(problem, Problem) or problem.predict is None:
        raise InputError(
            f"{name}: the problem has no `predict`; pass a problem that has one, such as "
            f"gd.problems.supervised(...)"
        )
    data = problem.data
    pair = isinstance(data, tuple | list) and len(data) == 2
    labels = data[1] if pair else None
    if not hasattr(labels, "dtype") or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"{name}: expected data (inputs, labels), where labels are whole numbers, one per "
            f"sample; pass gd.Metric({name}, data=...)"
        )
    return problem.predict(params, data[0]), jnp.asarray(labels)


@described(long_name="trace of the gradient's covariance")
def gradient_noise(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    batch_size: int = 32,
    batches: int = 16,
) -> Float[Array, ""]:
    """Return the trace of the covariance of per-sample gradients.

        noise = B/(K - 1) sum_k |g_k - mean_j g_j|^2

    The estimate uses K disjoint mini-batches of B samples, and is unbiased for all B and K. Its
    relative error is about sqrt(2 / ((K - 1) r)), where r is the effective number of directions of
    the noise. Along a descent each record draws other mini-batches; with
    `functools.partial(gradient_noise, key=key)` all records have the same.

    Args:
        problem: a problem with data.
        params: parameters at which to evaluate.
        key: random key of the mini-batches.
        batch_size: B, number of samples per mini-batch, >= 1.
        batches: K, number of mini-batches, >= 2; the problem needs at least K B samples.

    Examples:
        Gradients of 1 and -1 with respect to one parameter have the variance 2:

        >>> tug = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.array([1.0, -1.0]))
        >>> w, key = jnp.zeros(()), jax.random.key(0)
        >>> float(gradient_noise(tug, w, key=key, batch_size=1, batches=2))
        2.0
    """
    samples = _mini_batches("gradient_noise", problem, key, batch_size, batches)
    return _noise(deterministic_cost(problem), params, samples)


@described(long_name="simple noise scale", units="samples")
def noise_scale(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    batch_size: int = 32,
    batches: int = 16,
) -> Float[Array, ""]:
    """Return the simple noise scale of the gradient, in samples.

        B_simple = noise / |g|^2,   E |g_B - g|^2 / |g|^2 = B_simple / B   (B << n)

    The noise is that of `gradient_noise`, and g is the gradient over the whole training set. At the
    batch size B_simple, the noise is as large as the gradient. The gradient of a much smaller batch
    is mostly noise, and batches that are much larger hardly make a step more accurate.

    Args:
        problem, params, key, batch_size, batches: as for `gradient_noise`.

    Examples:
        Gradients of 1 and 3 have the variance 2 and the mean 2:

        >>> slope = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.array([1.0, 3.0]))
        >>> w, key = jnp.zeros(()), jax.random.key(0)
        >>> float(noise_scale(slope, w, key=key, batch_size=1, batches=2))
        0.5

    Source: McCandlish et al. 2018, arXiv 1812.06162, equation 2.9.
    """
    samples = _mini_batches("noise_scale", problem, key, batch_size, batches)
    cost = deterministic_cost(problem)
    gradient = in_microbatches(jax.grad(cost))(params, problem.data)
    return _noise(cost, params, samples) / optax.tree.norm(gradient, squared=True)


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
