"""Small models written with other libraries, each with the same cost written without gdjax.

Tests compare the results of gdjax with this cost, and with a function that computes the expected
records.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from optax.losses import softmax_cross_entropy_with_integer_labels as cross_entropy
from optax.losses import squared_error

import gdjax as gd

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
Y = np.sin(3 * X)
GRID = np.linspace(0.0, 1.0, 9, dtype=np.float32)


class Model(NamedTuple):
    """A problem, the same cost written without gdjax, and the expected records."""

    problem: gd.Problem
    by_hand: Callable[..., Any]  # (params, state, batch, key) -> (value, next state)
    rate: float = 0.05  # learning rate at which descent decreases the cost
    # (params, state) -> expected record; by default the value of `by_hand` on all data
    recorded: Callable[..., Any] | None = None


def random_cost(init, cost, data=None, evaluation=None, rate=0.05, **options):
    """Return the model of a random cost; without `evaluation`, records are means over 8 keys."""

    def arguments(batch):
        return () if batch is None else (batch,)

    def by_hand(params, state, batch, key):
        return cost(params, *arguments(batch), key=key), None

    def recorded(params, state):
        if evaluation is not None:
            return evaluation(params, *arguments(data))
        keys = jax.random.split(KEY, 8)
        return jnp.mean(jax.vmap(lambda key: by_hand(params, None, data, key)[0])(keys))

    problem = gd.Problem(init=init, cost=cost, data=data, evaluation=evaluation, **options)
    return Model(problem, by_hand, rate, recorded)


def supervised(init, apply, data=(X, Y), loss=squared_error, **options):
    """Return the model of a supervised problem, by default that of fitting a sine."""

    def by_hand(params, state, batch, key):
        return jnp.mean(loss(apply(params, batch[0]), batch[1])), None

    return Model(gd.problems.supervised(init, apply, loss, data, **options), by_hand)


def normal(scale=1.0, **shapes):
    """Return an initializer of named parameters with a normal distribution."""

    def init(key):
        keys = jax.random.split(key, len(shapes))
        pairs = zip(shapes.items(), keys, strict=True)
        return {name: scale * jax.random.normal(k, shape) for (name, shape), k in pairs}

    return init


def of_modules(make, data=(X, Y)):
    """Return the model of a supervised problem whose networks `make(key)` are Equinox modules."""
    one = make(KEY)
    return supervised(
        lambda key: eqx.filter(make(key), eqx.is_inexact_array),
        lambda p, x: jax.vmap(eqx.combine(p, one))(x),
        data,
    )


def linen():
    model = nn.Sequential([nn.Dense(6), nn.tanh, nn.Dense(1)])
    return supervised(lambda key: model.init(key, X), model.apply)


class NNX(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(1, 6, rngs=rngs)
        self.last = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def flax_nnx():
    graph = nnx.graphdef(NNX(nnx.Rngs(0)))
    return supervised(
        lambda key: nnx.state(NNX(nnx.Rngs(key))), lambda p, x: nnx.merge(graph, p)(x)
    )


def equinox():
    return of_modules(lambda key: eqx.nn.MLP(1, 1, 6, 1, activation=jnp.tanh, key=key))


def normalized(init, apply, data=(X, Y), loss=squared_error, **options):
    """Return a model with batch normalization and dropout, by default one that fits a sine."""

    def cost(params, state, batch, train, key):
        outputs, state = apply(params, batch[0], train=train, key=key, model_state=state)
        return jnp.mean(loss(outputs, batch[1])), state

    return Model(
        gd.problems.supervised(init, apply, loss, data, couples_samples=True, **options),
        lambda params, state, batch, key: cost(params, state, batch, True, key),
        recorded=lambda params, state: cost(params, state, data, False, KEY)[0],
    )


def haiku_transform(function):
    return hk.without_apply_rng(hk.transform(function))


def haiku():
    @haiku_transform
    def model(x):
        return hk.nets.MLP([6, 1], activation=jnp.tanh)(x)

    return supervised(lambda key: model.init(key, X), model.apply)


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(3, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(0.3, deterministic=not train)(x.mean((1, 2)))
        return nn.Dense(2)(x)


def convolutional():
    """Return a convolutional classifier with batch normalization and dropout.

    The left halves of the images of class 0 are brighter.
    """
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 4, 4, 1)).astype(np.float32)
    labels = np.arange(12) % 2
    images[labels == 0, :, :2] += 1
    model = CNN()

    def init(key):
        variables = model.init(key, images, train=False)
        return variables["params"], variables["batch_stats"]

    def apply(params, x, *, train, key, model_state):
        outputs, updates = model.apply(
            {"params": params, "batch_stats": model_state},
            x,
            train,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return outputs, updates["batch_stats"]

    data = images, labels
    return normalized(init, apply, data, cross_entropy, test=data)


def transformer(layers=2):
    """Return a transformer trained on addition modulo 5."""
    p, width = 5, 4
    a, b = (grid.ravel() for grid in np.mgrid[:p, :p])
    tokens, labels = np.stack([a, b, np.full(p * p, p)], axis=1), (a + b) % p

    @haiku_transform
    def model(tokens):
        x = hk.Embed(p + 1, width)(tokens) + hk.get_parameter(
            "positions", (1, 3, width), init=hk.initializers.RandomNormal(0.1)
        )
        for _ in range(layers):
            attention = hk.MultiHeadAttention(
                2, 2, w_init=hk.initializers.VarianceScaling(1.0), model_size=width
            )
            x = x + attention(x, x, x)
            x = x + hk.nets.MLP([8, width])(x)
        return hk.Linear(p)(x[:, -1])

    data = tokens, labels
    return supervised(
        lambda key: model.init(key, tokens), model.apply, data, cross_entropy, test=data
    )


class Recurrent(eqx.Module):
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(1, 3, key=first)
        self.head = eqx.nn.Linear(3, 1, key=second)

    def __call__(self, sequence):
        state, _ = jax.lax.scan(
            lambda h, x: (self.cell(x, h), None), jnp.zeros(3), sequence[:, None]
        )
        return self.head(state)


def recurrent():
    """Return a recurrent network trained to compute the mean of a sequence."""
    x = np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32)
    return of_modules(Recurrent, (x, x.mean(1, keepdims=True)))


def variational():
    """Return a variational autoencoder, evaluated at the means of its codes."""
    x = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)

    def bound(params, x, noise):
        mean, log_variance = jnp.split(x @ params["encoder"], 2, axis=1)
        code = mean + noise * jnp.exp(log_variance / 2)
        reconstruction_error = jnp.sum((code @ params["decoder"] - x) ** 2, axis=1)
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1, axis=1)
        return jnp.mean(reconstruction_error + divergence)

    def cost(params, x, *, key):
        return bound(params, x, jax.random.normal(key, (len(x), 2)))

    init = normal(0.5, encoder=(4, 4), decoder=(2, 4))
    return random_cost(init, cost, x, lambda params, x: bound(params, x, 0.0))


def contrastive():
    """Return a contrastive model trained to match two noisy views of each sample."""
    x = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)

    def information(params, x, noise):
        views = [x + noise, x - noise]
        codes = [jnp.tanh(view @ params["w"]) @ params["v"] for view in views]
        a, b = (c / jnp.sqrt(1e-6 + jnp.sum(c**2, axis=1, keepdims=True)) for c in codes)
        return -jnp.mean(jnp.diag(jax.nn.log_softmax(a @ b.T / 0.5)))

    def cost(params, x, *, key):
        return information(params, x, 0.3 * jax.random.normal(key, x.shape))

    return random_cost(normal(w=(4, 5), v=(5, 2)), cost, x, couples_samples=True)


def physics():
    """Return a physics-informed network for u'' = -pi^2 sin(pi x).

    The boundary values are 0. New random collocation points are drawn at every step.
    """

    def u(params, x):
        return x * (1 - x) * jnp.sum(params["v"] * jnp.tanh(params["w"] * x + params["b"]))

    def residual(params, points):
        curvature = jax.vmap(jax.grad(jax.grad(u, 1), 1), (None, 0))(params, points)
        return jnp.mean((curvature + jnp.pi**2 * jnp.sin(jnp.pi * points)) ** 2)

    def cost(params, *, key):
        return residual(params, jax.random.uniform(key, (6,)))

    init = normal(v=(5,), w=(5,), b=(5,))
    return random_cost(init, cost, evaluation=lambda params: residual(params, GRID), rate=3e-6)


def neural_ode(solver=None):
    """Return a neural ODE fitted to a rotation, with Diffrax's default adjoint."""
    solver = diffrax.Heun() if solver is None else solver
    x = np.random.default_rng(4).normal(size=(6, 2)).astype(np.float32)
    y = x[:, ::-1] * np.array([-1, 1], np.float32)

    def field(t, z, params):
        return params["v"] @ jnp.tanh(params["w"] @ z)

    def apply(params, x, *, train=True):
        def one(z):
            term = diffrax.ODETerm(field)
            # Second derivatives need forward-mode differentiation, which the default adjoint does
            # not support.
            options = {} if train else {"adjoint": diffrax.DirectAdjoint()}
            solution = diffrax.diffeqsolve(
                term, solver, 0.0, 1.0, 0.25, z, params, max_steps=8, **options
            )
            return solution.ys[0]

        return jax.vmap(one)(x)

    return supervised(normal(v=(2, 3), w=(3, 2)), apply, (x, y))._replace(
        recorded=lambda params, state: jnp.mean((apply(params, x, train=False) - y) ** 2)
    )


def online():
    """Return a network trained on new outputs of a teacher network at every step."""
    teacher = {"w": np.array([[1.0, -1.0], [0.5, 2.0]], np.float32), "v": np.ones(2, np.float32)}

    def outputs(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"]

    def cost(params, *, key):
        x = jax.random.normal(key, (10, 2))
        return jnp.mean((outputs(params, x) - outputs(teacher, x)) ** 2)

    return random_cost(normal(w=(2, 2), v=(2,)), cost)


MODELS = {
    make.__name__: make
    for make in (
        linen,
        flax_nnx,
        equinox,
        haiku,
        convolutional,
        transformer,
        recurrent,
        variational,
        contrastive,
        physics,
        neural_ode,
        online,
    )
}
