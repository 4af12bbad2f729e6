"""Network and data of modular addition."""

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd

from .config import Config


def addition(config: Config) -> gd.Problem:
    """Return the problem of addition modulo p.

    The data contain all pairs. The keyword `pairs` of the cost selects the set of training pairs,
    which are marked by one flag per pair and set.
    """
    p = config.modulus
    first, second = (numbers.ravel() for numbers in np.mgrid[:p, :p])
    rows = np.eye(p, dtype=np.float32)
    inputs, sums = np.concatenate([rows[first], rows[second]], axis=1), (first + second) % p
    trained = round(config.part * p**2)
    order = [np.random.default_rng(seed).permutation(p**2) for seed in range(config.seeds)]
    data = inputs, sums, np.stack(order, axis=1) < trained

    def init(key):
        key_in, key_out = jax.random.split(key)
        return {
            "in": jax.random.normal(key_in, (2 * p, config.width)) / np.sqrt(2 * p),
            "out": jax.random.normal(key_out, (config.width, p)) / np.sqrt(config.width),
        }

    def predict(params, inputs):
        return (inputs @ params["in"]) ** 2 @ params["out"]

    def chosen(flags, pairs):
        return jnp.take(flags, jnp.asarray(pairs, int), axis=1)

    def cost(params, batch, *, pairs=0):
        inputs, sums, marks = batch
        error = predict(params, inputs) - jax.nn.one_hot(sums, p)
        inside = jnp.where(chosen(marks, pairs), jnp.sum(error**2, axis=1), 0)
        return jnp.mean(inside) * (p**2 / trained)

    def right(params, batch, marked):
        inputs, sums, _ = batch
        correct = jnp.argmax(predict(params, inputs), axis=1) == sums
        return jnp.sum(correct & marked) / jnp.sum(marked)

    def train_accuracy(params, batch, *, pairs=0):
        return right(params, batch, chosen(batch[2], pairs))

    def test_accuracy(params, batch, *, pairs=0):
        return right(params, batch, ~chosen(batch[2], pairs))

    return gd.Problem(
        init=init,
        cost=cost,
        data=data,
        metrics={
            "train_accuracy": gd.Metric(train_accuracy, data, long_name="training accuracy"),
            "test_accuracy": gd.Metric(test_accuracy, data, long_name="accuracy on the test pairs"),
        },
    )
