"""Records of the sharpness along descents."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax.curvature import sharpness_metric, stability_threshold
from gdjax.problems.losses import quadratic

from .config import Config


def tangent_outputs(problem: gd.Problem) -> gd.Problem:
    """Return the problem with its output sigmoids replaced by their tangents at 0.

    sigma(z) = 1/2 + z/4 + O(z^3)
    """
    network = dataclasses.replace(problem.network, output_activation="identity")

    def cost(params, batch):
        outputs = 0.5 + network.apply(params, batch[0]) / 4
        return jnp.mean(quadratic(outputs, jnp.asarray(batch[1])))

    return gd.Problem(network.init, cost, problem.data, baseline=problem.baseline)


def sharpness_records(
    config: Config, problem: gd.Problem, rates, seeds: int, steps: int, optimizer: Callable
) -> xr.Dataset:
    """Return cost, sharpness and stability threshold of descents, by rate and start."""
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(seeds)),
        steps,
        record_every=max(1, steps // config.records),
        metrics={"sharpness": sharpness_metric(problem, rtol=config.tolerance)},
        make_optimizer=optimizer,
    )
    threshold = stability_threshold(runs.learning_rate.values, optimizer)
    records = runs[["cost", "sharpness", "outcome", "diverged_at"]].drop_attrs()
    return records.assign(threshold=("learning_rate", np.asarray(threshold))).transpose(
        "learning_rate", "seed", "step"
    )
