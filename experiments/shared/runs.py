"""Descents that several experiments compute in the same way."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

import gdjax as gd


def crossed_runs(
    config: Any,
    problem: gd.Problem,
    epochs: int,
    learning_rate: float,
    *,
    metrics: Mapping[str, gd.Metric] | None = None,
) -> xr.Dataset:
    """Return runs for all combinations of starts and orders, with cosine decay of the rate to 0.

    Args:
        config: settings with the attributes `starts`, `orders` and `batch_size`.
        problem: problem to minimize.
        epochs: number of passes over the training images.
        learning_rate: initial learning rate.
        metrics: metrics to record besides the cost; None for those of the problem.
    """
    steps = gd.descent.steps_for(epochs, problem.samples, config.batch_size)
    falling = optax.cosine_decay_schedule(learning_rate, steps)
    grid = gd.axes(seed=range(config.starts), data_seed=range(config.orders))
    options: dict = {"batch_size": config.batch_size, "record_every": steps, "metrics": metrics}
    return gd.sweep(problem, grid, steps, make_optimizer=lambda: optax.sgd(falling), **options)


def with_snapshots(
    problem: gd.Problem,
    rule: optax.GradientTransformation,
    steps: int,
    every: int,
    *,
    batch_size: int,
    seed: int,
) -> gd.descent.Descent:
    """Return the descent of a seed, recorded at the start and every `every` steps.

    Descents by the same `rule` share a compilation.
    """
    keys = gd.run_keys(0, seed=seed)
    options: dict = {"record_every": every, "snapshot_every": every, "batch_size": batch_size}
    return gd.descend(problem, rule, problem.init(keys.init), steps, key=keys.order, **options)


def ends_of(problem: gd.Problem, runs: xr.Dataset) -> PyTree:
    """Return the final parameters of all runs of a sweep, stacked along one leading axis."""
    like = jax.eval_shape(problem.init, jax.random.key(0))
    params = gd.params_of(runs, like, {})
    return jax.tree.map(lambda a, one: np.asarray(a).reshape(-1, *one.shape), params, like)


def paths(f, learning_rate, starts, steps: int):
    """Return position, gradient and cost at every step of descents on f, [starts, steps + 1]."""

    def path(start):
        optimizer = optax.sgd(learning_rate)

        def advance(state, _):
            state_next, info = gd.descent.step(f, optimizer, state)
            return state_next, (state.params, info.gradient, info.cost)

        return jax.lax.scan(advance, gd.descent.init(optimizer, start), length=steps + 1)[1]

    return jax.jit(jax.vmap(path))(starts)
