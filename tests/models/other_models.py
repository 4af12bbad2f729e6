"""Models that nobody of gdjax wrote, as their libraries' users write them, and small.

Each comes with its cost written out by hand, as `cost(params, state, batch, key)` that returns the
value and the next state: what `gdjax` makes of the model is compared with that.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import gdjax as gd

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
Y = np.sin(3 * X)


class Model(NamedTuple):
    """A problem, its cost by hand, and a learning rate at which it falls."""

    problem: gd.Problem
    by_hand: Callable[..., Any]
    rate: float = 0.05


def squares(outputs, targets):
    return (outputs - targets) ** 2


def regression(init, apply):
    """A model that fits a sine."""

    def by_hand(params, state, batch, key):
        return jnp.mean((apply(params, batch[0]) - batch[1]) ** 2), None

    return Model(gd.problems.supervised(init, apply, squares, (X, Y)), by_hand)


def linen():
    model = nn.Sequential([nn.Dense(6), nn.tanh, nn.Dense(1)])
    return regression(lambda key: model.init(key, X), model.apply)


class NNX(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(1, 6, rngs=rngs)
        self.last = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def flax_nnx():
    graph = nnx.graphdef(NNX(nnx.Rngs(0)))
    return regression(
        lambda key: nnx.state(NNX(nnx.Rngs(key))), lambda p, x: nnx.merge(graph, p)(x)
    )


def equinox():
    def model(key):
        return eqx.nn.MLP(1, 1, 6, 1, activation=jnp.tanh, key=key)

    one = model(KEY)
    return regression(
        lambda key: eqx.filter(model(key), eqx.is_inexact_array),
        lambda p, x: jax.vmap(eqx.combine(p, one))(x),
    )


def haiku_transform(function):
    return hk.without_apply_rng(hk.transform(function))


def haiku():
    @haiku_transform
    def model(x):
        return hk.nets.MLP([6, 1], activation=jnp.tanh)(x)

    return regression(lambda key: model.init(key, X), model.apply)


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
    """The mean of a sequence, whatever its order."""
    x = np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32)
    one = Recurrent(KEY)
    found = regression(
        lambda key: eqx.filter(Recurrent(key), eqx.is_inexact_array),
        lambda p, x: jax.vmap(eqx.combine(p, one))(x),
    )
    return found._replace(
        problem=gd.problems.supervised(
            found.problem.init, found.problem.predict, squares, (x, x.mean(1, keepdims=True))
        )
    )


MODELS = {make.__name__: make for make in (linen, flax_nnx, equinox, haiku, recurrent)}
