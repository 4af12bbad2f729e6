"""A small network with keywords for axes, and a sweep of it, for several tests."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem
from gdjax.stores.reader import without_carry
from gdjax.sweeps import axes, sweep

SAMPLES = 24


def _data():
    random = np.random.default_rng(5)
    inputs = random.normal(size=(SAMPLES, 3)).astype(np.float32)
    return inputs, np.sin(inputs[:, :2] * 2).astype(np.float32)


def init(key, *, scale=1.0):
    first, second = jax.random.split(key)
    return {
        "first": {
            "weights": scale * jax.random.normal(first, (3, 5)),
            "bias": jnp.zeros(5),
        },
        "second": {"weights": scale * jax.random.normal(second, (5, 2))},
    }


def cost(params, batch, *, decay=0.0):
    inputs, targets = batch
    hidden = jnp.tanh(inputs @ params["first"]["weights"] + params["first"]["bias"][None])
    outputs = hidden @ params["second"]["weights"]
    size = jnp.sum(params["second"]["weights"] ** 2)
    return jnp.mean(jnp.sum((outputs - targets) ** 2, axis=1)) + decay * size


def largest_weight(_problem, params):
    return jnp.max(jnp.abs(params["first"]["weights"]))


def positive(_problem, params):
    return jnp.packbits(params["first"]["weights"] > 0)


def network(*, watched: bool = False) -> Problem:
    """Return a 3-5-2 tanh network on 24 samples.

    Gradient descent is irregular at a learning rate of 0.4, and diverges at 1. `scale` is a
    keyword of `init`, and `decay` is a keyword of the cost.
    """
    metrics = {
        "largest_weight": Metric(largest_weight, every=2, long_name="largest weight"),
        "positive": Metric(positive, every=3, dims=("byte",), dtype="uint8"),
    }
    return Problem(init=init, cost=cost, data=_data(), metrics=metrics if watched else {})


MOMENTUM = partial(optax.sgd, momentum=0.9)  # one object, so that programs are shared
GRID = {"learning_rate": [0.1, 0.2, 2.0], "seed": range(4), "scale": [1.0]}


def stored(path, **changed):
    """Sweep the network in six tiles; runs at the largest learning rate diverge.

    Args:
        path: path of the store, or None for a sweep in memory.
        changed: arguments of `sweep` that replace the defaults below.
    """
    options = {
        "problem": network(watched=True),
        "axes": axes(**GRID),
        "num_steps": 40,
        "batch_size": 6,
        "record_every": 8,
        "snapshot_every": 16,
        "make_optimizer": MOMENTUM,
        "divergence_threshold": float("inf"),
        **changed,
    }
    return sweep(store=path, **options)


def read_store(path):
    """Return the runs of a store, without their states and the variable `finished`."""
    with xr.open_zarr(path, chunks=None) as dataset:
        return without_carry(dataset).drop_vars("finished").load()


def same_bits(a, b) -> bool:
    """Return whether two arrays, or all variables of two sweeps, are bitwise equal."""
    if hasattr(a, "variables"):
        return set(a.variables) == set(b.variables) and all(
            same_bits(a[name], b[name]) for name in a.variables
        )
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
