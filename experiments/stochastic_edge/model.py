"""Late sharpness of descents in shuffled passes and of descents with replacement."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared.regressions import random_targets
from gdjax.curvature import batch_sharpness_metric, sharpness_metric
from gdjax.sweeps.axes import Axes

from .oscillation import Config, oscillation

SAMPLINGS = ("shuffled", "replacement")


def late_sharpness(
    config: Config,
    problem: gd.Problem,
    grid: Axes,
    sampling: str,
    size: int,
    *,
    length: tuple[int, int] | None = None,
    measured: gd.Problem | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the sharpness at the end of descents, and the descents.

    Each sharpness is that of the problem `measured`, by default that of the descents, in units of
    2 / eta. It is the median over the last quarter of the records; NaN if the descent diverged.
    """
    measured = measured or problem
    steps, records = length or (config.steps, config.records)
    runs = gd.sweep(
        problem,
        grid,
        steps,
        batch_size=size,
        replacement=sampling == "replacement",
        record_every=steps // records,
        metrics={
            "sharpness": sharpness_metric(measured, rtol=config.tolerance),
            "batch": batch_sharpness_metric(measured, batch_size=size, batches=config.batches),
        },
    )
    late = runs.isel(step=slice(-(records // 4), None)).drop_attrs()
    bounded = late.diverged_at < 0

    def middle(values):
        """Return the median over late records, in units of 2 / eta; NaN if diverged."""
        return (values * late.learning_rate / 2).median("step").where(bounded)

    result = {
        "batch": middle(late.batch.isel(estimate=0)),
        "error": middle(late.batch.isel(estimate=1)),
        "ratios": middle(late.batch.isel(estimate=2)),
        "whole": middle(late.sharpness),
        "cost": late.cost.isel(step=-1, drop=True),
        "diverged": ~bounded,
    }
    return xr.Dataset(result), runs


def networks(config: Config) -> xr.Dataset:
    """Return the late sharpness of swish networks, and their oscillation at one rate."""
    problem = random_targets(config.width, config.samples)
    like = jax.eval_shape(problem.init, jax.random.key(0))
    grid = gd.axes(learning_rate=config.rates, **_starts(config))

    def of(sampling, size):
        late, runs = late_sharpness(config, problem, grid, sampling, size)
        ends = gd.params_of(runs, like, {"learning_rate": config.rate, "data_seed": 0})
        return xr.merge([late, oscillation(config, problem, ends, sampling, size)])

    return _over_samplings(config.batch_sizes, "batch_size", of)


def gradual(config: Config) -> xr.Dataset:
    """Return the late sharpness by number of copies of each sample per pass."""
    problem = random_targets(config.width, config.samples)
    grid = gd.axes(learning_rate=[config.rate], **_starts(config))

    def of(copies, size):
        data = jax.tree.map(lambda a: np.tile(a, (copies, 1)), problem.data)
        several = dataclasses.replace(problem, data=data)
        return late_sharpness(config, several, grid, "shuffled", size, measured=problem)[0]

    return _over("copies", config.copies, lambda n: _over("size", config.sizes, lambda b: of(n, b)))


def noisy(config: Config) -> xr.Dataset:
    """Return the late sharpness of descents with new noise in the targets at every step."""
    problem = random_targets(config.width, config.samples)

    def cost(params, batch, *, key, label_noise=0.0):
        x, y = batch
        return problem.cost(params, (x, y + label_noise * jax.random.normal(key, y.shape)))

    noisy = dataclasses.replace(problem, cost=cost, evaluation=problem.cost)
    grid = gd.axes(learning_rate=[config.rate], label_noise=config.noises, **_starts(config))

    def of(sampling, size):
        return late_sharpness(config, noisy, grid, sampling, size, measured=problem)[0]

    return _over_samplings(config.sizes, "size", of)


def images(config: Config) -> xr.Dataset:
    """Return the late sharpness of a tanh network on images."""
    problem = gd.problems.digits(
        config.image_data, widths=config.image_widths, activation="tanh", samples=config.images
    )
    starts = range(config.starts)
    pairs = gd.zip_axes(seed=starts, data_seed=starts)
    grid = gd.axes(learning_rate=[config.image_rate], start=pairs)

    length = config.image_steps, config.image_records

    def of(sampling, size):
        return late_sharpness(config, problem, grid, sampling, size, length=length)[0]

    return _over_samplings(config.image_sizes, "image_size", of)


def _starts(config):
    return {"seed": range(config.starts), "data_seed": range(config.orders)}


def _over_samplings(sizes, dim, make: Callable[[str, int], xr.Dataset]) -> xr.Dataset:
    return _over("sampling", SAMPLINGS, lambda s: _over(dim, sizes, lambda b: make(s, b)))


def _over(dim: str, values: Iterable, make: Callable[..., xr.Dataset]) -> xr.Dataset:
    """Return the results for several values, along a new dimension."""
    values = list(values)
    return xr.concat([make(value) for value in values], xr.Variable(dim, values)).assign_coords(
        {dim: values}
    )
