"""Nineteen small problems on which learning-rate finders are compared.

None of the costs is a quadratic function of all parameters. Data are generated with fixed seeds.
The problems of `HELD_OUT` were added after the last change of `gd.find_learning_rate`, which was
never changed because of a result on them.

>>> len(PROBLEMS), len(HELD_OUT), PROBLEMS["autoencoder"]().problem.samples
(12, 7, 64)
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


def _rosenbrock():
    """Return the mean of 100 (w_{i+1} - w_i^2)^2 + (1 - w_i)^2 over the terms, for 10 numbers."""

    def cost(w):
        return jnp.mean(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)

    return Case(gd.Problem(lambda key: jax.random.normal(key, (10,)), cost))


def _phase_retrieval():
    """Return the problem of finding w from the squares of its products with 96 directions."""
    directions = np.asarray(_normal(91, 96, 12), np.float32)
    squares = (directions @ np.asarray(_normal(92, 12), np.float32)) ** 2

    def cost(w, batch):
        return jnp.mean(((batch[0] @ w) ** 2 - batch[1]) ** 2)

    return Case(gd.Problem(lambda key: jax.random.normal(key, (12,)), cost, (directions, squares)))


def _poisson():
    """Return the negative log likelihood of counts whose expectation is exp(x w)."""
    x = np.asarray(_normal(101, 200, 6) / 2, np.float32)
    counts = np.random.default_rng(103).poisson(np.exp(x @ _normal(102, 6))).astype(np.float32)

    def cost(w, batch):
        log_mean = batch[0] @ w
        return jnp.mean(jnp.exp(log_mean) - batch[1] * log_mean)

    return Case(gd.Problem(lambda key: jax.random.normal(key, (6,)) / 2, cost, (x, counts)), 25)


def _mixture():
    """Return the negative log likelihood of points in a plane under a mixture of 4 Gaussians."""
    centers = np.array([[-2, 0], [2, 0], [0, 2]])
    points = np.repeat(centers, 50, axis=0) + 0.5 * _normal(111, 150, 2)

    def init(key):
        return {
            "logit": jnp.zeros(4),
            "mean": jax.random.normal(key, (4, 2)),
            "log_scale": jnp.zeros(4),
        }

    def cost(params, x):
        distance = (x[:, None] - params["mean"]) / jnp.exp(params["log_scale"])[:, None]
        log_density = -jnp.sum(distance**2, axis=-1) / 2 - 2 * params["log_scale"]
        weighted = jax.nn.log_softmax(params["logit"]) + log_density
        return -jnp.mean(jax.nn.logsumexp(weighted, axis=-1))

    return Case(gd.Problem(init, cost, points.astype(np.float32)))


def _recurrent():
    """Return the problem of adding two marked numbers of a sequence by a recurrent network."""
    rng = np.random.default_rng(121)
    values, marked = rng.uniform(size=(128, 10)), np.zeros((128, 10))
    for marks in marked:
        marks[rng.choice(10, 2, replace=False)] = 1
    x = np.stack([values, marked], axis=-1).astype(np.float32)
    total = np.sum(values * marked, axis=1).astype(np.float32)

    def init(key):
        key_in, key_state, key_out = jax.random.split(key, 3)
        return {
            "input": jax.random.normal(key_in, (2, 16)) / np.sqrt(2),
            "state": jax.random.orthogonal(key_state, 16),
            "output": jax.random.normal(key_out, (16,)) / 4,
        }

    def cost(params, batch):
        def advance(state, at):
            return jnp.tanh(at @ params["input"] + state @ params["state"]), None

        sequences = jnp.swapaxes(batch[0], 0, 1)
        state, _ = jax.lax.scan(advance, jnp.zeros((len(batch[0]), 16)), sequences)
        return jnp.mean((state @ params["output"] - batch[1]) ** 2)

    return Case(gd.Problem(init, cost, (x, total)), 32)


def _attention():
    """Return the problem of reading the letter that follows an earlier copy of the last letter."""
    rng = np.random.default_rng(131)
    letters = np.stack([rng.permutation(8) for _ in range(256)])
    place = rng.integers(7, size=256)
    rows = np.arange(256)
    text = np.concatenate([letters, letters[rows, place][:, None]], axis=1).astype(np.int32)
    answer = letters[rows, place + 1].astype(np.int32)

    def init(key):
        shapes = {"letter": (8, 8), "place": (9, 8), "query": (16, 16), "output": (16, 8)}
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(k, shape) / np.sqrt(shape[0])
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def cost(params, batch):
        places = jnp.broadcast_to(params["place"], (len(batch[0]), 9, 8))
        entries = jnp.concatenate([params["letter"][batch[0]], places], axis=-1)
        scores = jnp.einsum("nd,de,nte->nt", entries[:, -1], params["query"], entries)
        read = jnp.einsum("nt,ntd->nd", jax.nn.softmax(scores), entries)
        logits = read @ params["output"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]))

    return Case(gd.Problem(init, cost, (text, answer)), 32)


def _equation():
    """Return the mean squared residual of u'' = -9 u by u = 1 + t^2 n(t), for a network n."""
    network = Network((1, 16, 16, 1), activation="tanh", output_activation="identity")
    times = np.linspace(0, 2, 40, dtype=np.float32)

    def cost(params, batch):
        def u(t):
            return 1 + t**2 * network.apply(params, t[None, None])[0, 0]

        return jnp.mean((jax.vmap(jax.grad(jax.grad(u)))(batch) + 9 * jax.vmap(u)(batch)) ** 2)

    return Case(gd.Problem(network.init, cost, times))


# Problems that were not used while `gd.find_learning_rate` was developed and mended
HELD_OUT: dict[str, Callable[[], Case]] = {
    "Rosenbrock": _rosenbrock,
    "phase retrieval": _phase_retrieval,
    "Poisson regression": _poisson,
    "Gaussian mixture": _mixture,
    "recurrent network": _recurrent,
    "attention": _attention,
    "differential equation": _equation,
}
