"""Descents from each starting point with each order of the mini-batches."""

from collections.abc import Mapping
from typing import Any

import optax
import xarray as xr

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
    return gd.sweep(
        problem,
        gd.axes(seed=range(config.starts), data_seed=range(config.orders)),
        steps,
        batch_size=config.batch_size,
        record_every=steps,
        make_optimizer=lambda: optax.sgd(falling),
        metrics=metrics,
    )
