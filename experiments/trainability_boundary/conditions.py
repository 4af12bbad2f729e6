"""Small networks whose training succeeds or fails, depending on two settings.

    f(x) = s(g / sqrt(n) (W0 + offset) x) W1 / n,   C = mean (f(x) - y)^2,
    s = tanh or ReLU with g = sqrt(2), or the identity with g = 1

The conditions are those of Sohl-Dickstein 2024, arXiv 2402.06184, with n = 8 instead of 16. There
are two differences from the public code of the paper: here the mini-batches of an epoch contain
every sample once, while that code draws each mini-batch independently; and the offset is added only
to the starting point, while that code adds it at every step.

>>> list(CONDITIONS)
['identity', 'relu', 'one sample', 'batches', 'tanh', 'offset']
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd

ACTIVATIONS = {
    "tanh": (jnp.tanh, np.sqrt(2)),
    "relu": (jax.nn.relu, np.sqrt(2)),
    "identity": (lambda z: z, 1.0),
}
NEURONS = 8  # number of inputs and of hidden neurons of each network


def layerwise_rates(input_rate, output_rate) -> optax.GradientTransformation:
    """Return gradient descent with one learning rate for each of two layers."""

    def update(gradient: Any, _params: Any) -> Any:
        return -input_rate * gradient[0], -output_rate * gradient[1]

    return optax.stateless(update)


@dataclass(frozen=True)
class Condition:
    """A training problem, and the two settings to map."""

    published: float  # dimension of the boundary in the figure of the paper's repository
    activation: str = "tanh"  # activation function of the hidden neurons
    samples: int = 72  # number of random inputs and targets; 72 is the number of parameters
    batch: int | None = None  # number of samples per step; None uses all
    # the arguments of the optimizer factory are the learning rates among the two settings
    optimizer: Callable[..., optax.GradientTransformation] = layerwise_rates
    axes: tuple[str, str] = ("input_rate", "output_rate")  # horizontal and vertical setting
    # smallest and largest value of each setting
    window: tuple[tuple[float, float], tuple[float, float]] = ((0.1, 100.0), (1.0, 1000.0))

    def problem(self, seed: int) -> gd.Problem:
        """Return the problem with random data drawn from a seed.

        In the network, samples are in the last axis, which makes sweeps of narrow networks about
        twice as fast.
        """
        key_x, key_y = jax.random.split(gd.run_keys(seed).probes)
        n = NEURONS
        activation, gain = ACTIVATIONS[self.activation]

        def init(key, *, offset=0.0):
            key_0, key_1 = jax.random.split(key)
            return jax.random.normal(key_0, (n, n)) + offset, jax.random.normal(key_1, (1, n))

        def cost(params, batch):
            w0, w1 = params
            x, y = batch
            hidden = activation(gain / np.sqrt(n) * w0 @ x.T)
            return jnp.mean((w1 @ hidden / n - y.T) ** 2)

        x = jax.random.normal(key_x, (self.samples, n))
        return gd.Problem(init, cost, (x, jax.random.normal(key_y, (self.samples, 1))))


# Conditions are ordered by published dimension. Windows contain the boundary for seeds 1 to 10.
CONDITIONS = {
    "identity": Condition(
        1.17, activation="identity", samples=8, window=((1.0, 1000.0), (0.1, 100.0))
    ),
    "relu": Condition(1.20, activation="relu", window=((1.0, 1000.0), (0.1, 100.0))),
    "one sample": Condition(1.41, samples=1),
    "batches": Condition(1.55, batch=8),
    "tanh": Condition(1.66),
    "offset": Condition(
        1.98,
        optimizer=optax.sgd,
        axes=("offset", "learning_rate"),
        window=((0.01, 10.0), (1.0, 1000.0)),
    ),
}
