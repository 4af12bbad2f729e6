"""Twelve small problems on which learning-rate finders are compared.

None of the costs is a quadratic function of all parameters. Data are generated with fixed seeds.

>>> len(PROBLEMS), PROBLEMS["autoencoder"]().problem.samples
(12, 64)
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd
from gdjax.problems import Network


class Case(NamedTuple):
    """A problem and its batch size; None uses all samples."""

    problem: gd.Problem
    batch_size: int | None = None


def _network(
    widths, activation, x, y, *, loss=optax.squared_error, initializer="fan_in", batch_size=None
):
    """Return the problem of training a network with a linear output layer."""
    network = Network(
        widths, activation=activation, output_activation="identity", initializer=initializer
    )

    def cost(params, batch):
        return jnp.mean(loss(network.apply(params, batch[0]), batch[1]))

    data = (np.asarray(x, np.float32), np.asarray(y, np.int32 if y.dtype == int else np.float32))
    return Case(gd.Problem(network.init, cost, data), batch_size)


# Cross-entropy; without a hidden layer, the model is softmax regression.
_classes = partial(_network, loss=optax.softmax_cross_entropy_with_integer_labels)


def _normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def _noisy_labels(seed, samples):
    """Return 8 inputs of unequal scales, and labels of 3 classes that no linear model fits."""
    x, w = _normal(seed, samples, 8), _normal(seed + 1, 8, 3)
    labels = np.argmax(x @ w + 2 * _normal(seed + 2, samples, 3), axis=1)
    return x * np.geomspace(0.2, 2, 8), labels


def _factors():
    """Return the problem of minimizing the mean of (U V^T - M)^2, for M of rank 4."""
    matrix = jnp.asarray(_normal(31, 10, 4) @ _normal(32, 4, 8) / 2, jnp.float32)

    def init(key):
        key_u, key_v = jax.random.split(key)
        u, v = jax.random.normal(key_u, (10, 2)), jax.random.normal(key_v, (8, 2))
        return {"u": 0.3 * u, "v": 0.3 * v}

    return Case(gd.Problem(init, lambda p: jnp.mean((p["u"] @ p["v"].T - matrix) ** 2)))


def _spirals():
    t = np.linspace(0.5, 3, 60)
    arm = np.stack([t * np.cos(2 * t), t * np.sin(2 * t)], axis=1) / 2
    return _classes(
        (2, 24, 24, 2), "relu", np.concatenate([arm, -arm]), np.repeat([0, 1], 60), initializer="he"
    )


def _waves():
    x = _normal(41, 128, 2)
    return _network((2, 32, 1), "relu", x, np.sin(2 * x[:, :1]) * x[:, 1:], initializer="he")


def _deep():
    x = np.linspace(-1, 1, 48)[:, None]
    return _network((1, 16, 16, 16, 1), "tanh", x, np.sin(5 * x) + x, initializer="glorot")


def _parity():
    x = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T
    return _network((4, 12, 1), "tanh", x, np.prod(x, axis=1, keepdims=True))


def _autoencoder():
    x = _normal(51, 64, 3) @ _normal(52, 3, 12) / 2
    return _network((12, 3, 12), "tanh", x, x, initializer="glorot", batch_size=16)


def _teacher():
    x = _normal(61, 256, 6)
    y = np.tanh(x @ _normal(62, 6, 4)) @ _normal(63, 4, 1)
    return _network((6, 16, 1), "softplus", x, y, batch_size=32)


def _linear_layers():
    x = _normal(71, 64, 6)
    return _network((6, 8, 8, 4), "identity", x, x @ _normal(72, 6, 4), initializer="glorot")


def _memorized():
    x, y = _normal(81, 64, 8), _normal(82, 64, 1)
    return _network((8, 24, 1), "tanh", x, y, batch_size=16)


PROBLEMS: dict[str, Callable[[], Case]] = {
    "softmax regression": lambda: _classes((8, 3), "tanh", *_noisy_labels(11, 150)),
    "softmax, batches": lambda: _classes((8, 3), "tanh", *_noisy_labels(21, 300), batch_size=20),
    "matrix factors": _factors,
    "spirals, relu": _spirals,
    "waves, relu": _waves,
    "deep tanh": _deep,
    "parity": _parity,
    "autoencoder": _autoencoder,
    "teacher": _teacher,
    "linear layers": _linear_layers,
    "memorized noise": _memorized,
    "sigmoid digits": lambda: Case(gd.problems.few_digits(samples=100, widths=(8,)), 20),
}
