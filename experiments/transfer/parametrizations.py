"""Parametrizations of networks: starting weights and learning rates by width.

    Delta W_l = factor_l * update of the optimizer,   r = n_0 / n

The table lists the factors of the learning rate in a network whose hidden layers all have width n,
relative to the factors at the base width n_0, where all parametrizations coincide:

    |                 | input weights, hidden biases | hidden weights | output weights |
    |-----------------|------------------------------|----------------|----------------|
    | standard, both  | 1                            | 1              | 1              |
    | ntp, descent    | 1                            | r              | r              |
    | ntp, Adam       | 1                            | sqrt(r)        | sqrt(r)        |
    | mup, descent    | 1 / r                        | 1              | r              |
    | mup, Adam       | 1                            | r              | r              |

Output biases have the factor 1. Starting weights have the variance 1 / (number of inputs of the
layer). In mup, the standard deviation of the output weights has an additional factor sqrt(r), so
that their variance is proportional to 1 / n^2. In the neural tangent parametrization (ntp), weights
are W = w / sqrt(inputs) with w of variance 1; the table lists the equivalent factors for W. The
rows of mup are those of Table 3 of Tensor Programs V.

>>> rate_factors("mup", "adam", 64, base_width=16, layers=3)
((1.0, 1.0), (0.25, 1.0), (0.25, 1.0))

References: Yang et al. 2022, *Tensor Programs V*, arXiv 2203.03466; Jacot et al. 2018, arXiv
1806.07572.
"""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

import gdjax as gd
from gdjax.problems.networks import ACTIVATIONS, Layer

PARAMETRIZATIONS = ("standard", "ntp", "mup")
OPTIMIZERS = {"descent": optax.sgd, "adam": optax.adam}


def rate_factors(
    parametrization: str, optimizer: str, width: int, *, base_width: int, layers: int
) -> tuple[tuple[float, float], ...]:
    """Return the factors of the learning rates of (weights, biases), for each layer."""
    r = base_width / width
    table = {
        ("ntp", "descent"): (1.0, r, r),
        ("ntp", "adam"): (1.0, math.sqrt(r), math.sqrt(r)),
        ("mup", "descent"): (1 / r, 1.0, r),
        ("mup", "adam"): (1.0, r, r),
    }
    first, hidden, last = table.get((parametrization, optimizer), (1.0, 1.0, 1.0))
    return ((first, first), *((hidden, first),) * (layers - 2), (last, 1.0))


def make_optimizer(
    parametrization: str, optimizer: str, width: int, *, base_width: int, layers: int
) -> Callable[..., optax.GradientTransformation]:
    """Return an optimizer factory with the rate factors of a parametrization."""
    factors = rate_factors(parametrization, optimizer, width, base_width=base_width, layers=layers)

    def scaled(updates, params):
        return tuple(
            Layer(f_weights * layer.weights, f_bias * layer.bias)
            for (f_weights, f_bias), layer in zip(factors, updates, strict=True)
        )

    def factory(learning_rate):
        return optax.chain(OPTIMIZERS[optimizer](learning_rate), optax.stateless(scaled))

    return factory


def parametrized(problem: gd.Problem, parametrization: str, *, base_width: int) -> gd.Problem:
    """Return a problem with the starting weights of a parametrization."""
    if parametrization != "mup":
        return problem
    factor = math.sqrt(base_width / problem.network.widths[-2])

    def init(key):
        *hidden, last = problem.init(key)
        return (*hidden, last._replace(weights=factor * last.weights))

    return dataclasses.replace(problem, init=init, provenance=None)


def preactivations(problem: gd.Problem) -> Callable[[PyTree, PyTree], list[Array]]:
    """Return a function `(params, batch) -> list` of the preactivations of all layers."""
    network = problem.network

    def layer_outputs(params, batch):
        a = jnp.asarray(batch[0]).astype(params[0].weights.dtype) / network.input_scale
        outputs = []
        for layer, name in zip(params, network.activations, strict=True):
            outputs.append(a @ layer.weights.T + layer.bias[None])
            a = ACTIVATIONS[name](outputs[-1])
        return outputs

    return layer_outputs
