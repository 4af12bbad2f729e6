"""Networks with weight decay, whose minima are isolated points.

    C(w) + decay * sum of squared weights,   decay a setting: gd.axes(decay=[1e-5, 1e-3])

The minima of a network that can fit its data are not isolated: zero error is attained on a manifold
or only at infinity. Weight decay excludes both cases. It does not apply to biases, so that
permutations and sign changes of hidden neurons do not change the cost.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gdjax.base.arguments import check_flag, check_limits, check_type, check_whole
from gdjax.base.limits import NotNegative
from gdjax.data.sets import load
from gdjax.problems.digits import flat
from gdjax.problems.losses import check_labels, quadratic
from gdjax.problems.networks import Network, check_widths
from gdjax.problems.problem import Problem
from gdjax.problems.supervised import check_pair, supervised


def decayed(
    network: Network,
    data: PyTree,
    decay: float,
    *,
    biases: bool = False,
    test: PyTree = None,
    init: Callable[..., PyTree] | None = None,
) -> Problem:
    """Return the problem of a network with the quadratic cost and weight decay.

        C = 1/n sum_i |network(x_i) - y_i|^2 + decay * sum of squared weights (without biases)

    `decay` is a setting of the cost: it can be swept, and `problem.at(decay=...)` sets it.

    Args:
        network: network that is applied to the inputs.
        data: pair `(inputs [samples, numbers], targets)`, whose targets are labels or output
            vectors.
        decay: coefficient of the squared weights, >= 0.
        biases: whether biases decay, too. A decay of biases is symmetric under the permutations
            and sign changes of tanh neurons, but not under those of sigmoid neurons.
        test: pair `(inputs, labels)` for the metric `test_accuracy`; None for no metric.
        init: function `init(key) -> params` for the starting point; that of the network if None.

    Examples:
        >>> data = np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32)
        >>> decayed(Network((2, 4, 1)), data, decay=1e-3)
        Problem(cost=cost, 3 samples, network 2-4-1)
    """
    expected = "a gdjax.problems.Network; add decay to the cost of any other problem"
    check_type("decayed: network", network, Network, expected)
    check_limits("decayed: decay", decay, NotNegative)
    check_flag("decayed: biases", biases)
    for name, pair in (("data", data), ("test", test)):
        if pair is not None or name == "data":
            check_pair(f"decayed: {name}", pair)
            check_labels(pair[1], network.widths[-1], f"decayed: {name}")

    def apply(params, inputs):
        return network.apply(params, inputs)

    start = network.init if init is None else init
    plain = supervised(start, apply, quadratic, data, test=test)

    def cost(params, batch, *, decay=decay):
        squares = sum(jnp.sum(leaf**2) for layer in params for leaf in layer[: 2 if biases else 1])
        return plain.cost(params, batch) + decay * squares

    accuracy = {} if test is None else {"test_accuracy": plain.metrics["test_accuracy"]}
    return dataclasses.replace(plain, cost=cost, metrics=accuracy, network=network)


def few_digits(
    name: str = "mnist5k",
    *,
    samples: int = 100,
    first: int = 0,
    widths: Sequence[int] = (16, 16),
    decay: float = 1e-3,
) -> Problem:
    """Return the problem of a network with weight decay on a few images of digits.

        x = B B^T x,   W_1 x = (W_1 B) (B^T x),   B an orthonormal basis of the images' span

    With decay, the first-layer weights of a minimum lie in the span of the images. The images are
    therefore given by their coordinates in that span: 100 images need 100 numbers each instead of
    784, which gives the same minima with a sixth of the parameters. Starting points are those of
    the whole network, projected onto the span.

    Args:
        name: name of the data set.
        samples: number of training images.
        first: index of the first training image.
        widths: number of sigmoid neurons in each hidden layer.
        decay: coefficient of the squared weights, >= 0.

    Examples:
        >>> problem = few_digits(samples=50, widths=(4,))
        >>> problem.network.widths, problem.network.parameter_count
        ((50, 4, 10), 254)
    """
    check_widths("few_digits: widths", widths)
    data = load(name)
    available = len(data.train_labels)
    remedy = f", the training images of {data.name}"
    check_whole("few_digits: samples", samples, 1, available, remedy=remedy)
    remedy = f", so that {samples} of the {available} training images of {data.name} follow"
    check_whole("few_digits: first", first, 0, available - samples, remedy=remedy)
    chosen = slice(first, first + samples)
    images, test_images = (
        flat(a).astype(np.float64) / 255 for a in (data.train_images[chosen], data.test_images)
    )
    basis = np.linalg.svd(images, full_matrices=False)[2].T  # [pixels, coordinates]
    whole = Network((images.shape[1], *widths, data.classes))
    network = Network((basis.shape[1], *widths, data.classes))

    def init(key: Array) -> PyTree:
        first, *behind = whole.init(key)
        within = first.weights @ jnp.asarray(basis, first.weights.dtype)
        return (first._replace(weights=within), *behind)

    problem = decayed(
        network,
        ((images @ basis).astype(np.float32), data.train_labels[chosen]),
        decay,
        test=((test_images @ basis).astype(np.float32), data.test_labels),
        init=init,
    )
    provenance = {
        "problem": "few_digits",
        "name": data.name,
        "hash": data.hash,
        "samples": samples,
        "widths": list(widths),
        "decay": decay,
    } | ({"first": first} if first else {})  # records without it start at image 0
    return dataclasses.replace(problem, provenance=provenance)
