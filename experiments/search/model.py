"""Searches for settings of the digit network with the highest validation accuracy.

The validation images are held out of the training images. All searches of a repetition have the
same `root_seed`, so equal settings give equal runs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optax
import optuna
import xarray as xr

import gdjax as gd
from experiments.shared.images import strided

from . import replays

Grid = Mapping[str, Sequence]  # values along each axis of the grid of settings
Rungs = Sequence[int]  # numbers of steps
METRIC = "validation_accuracy"
RECORD_SAMPLES = 100  # number of images of the recorded training cost, which no search uses


def processor_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a computation and its processor time in seconds."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def held_out(name: str, count: int, stride: int) -> tuple[gd.Problem, gd.Metric]:
    """Return the problem with validation images, and the metric of test accuracy.

    The last `count` training images are the validation images, and take the place of the test
    images in the problem. Every `stride`-th pixel is used, along rows and columns.
    """
    data = strided(gd.data.load(name), stride)
    first = len(data.train_labels) - count
    split = data._replace(
        train_images=data.train_images[:first],
        train_labels=data.train_labels[:first],
        test_images=data.train_images[first:],
        test_labels=data.train_labels[first:],
    )
    return gd.problems.digits(split), gd.problems.digits(data).metrics["test_accuracy"]


def settings(problem: gd.Problem, rungs: Rungs, seed: int) -> dict[str, Any]:
    """Return the arguments common to all searches."""
    return {
        "make_optimizer": optax.sgd,
        "metrics": {METRIC: problem.metrics["test_accuracy"]},
        "record_every": rungs[0],
        "record_samples": RECORD_SAMPLES,
        "root_seed": seed,
    }


def sweep(
    problem: gd.Problem, test: gd.Metric, grid: Grid, rungs: Rungs, *, seed: int
) -> xr.Dataset:
    """Return the runs of all settings to the last rung, with final test accuracy."""
    shared = settings(problem, rungs, seed)
    shared["metrics"]["test_accuracy"] = replace(test, every=rungs[-1] // rungs[0])
    return gd.sweep(problem, gd.axes(**grid), rungs[-1], **shared)


def halving(problem: gd.Problem, grid: Grid, rungs: Rungs, *, seed: int) -> xr.Dataset:
    """Return the runs of successive halving."""
    return gd.search.successive_halving(
        gd.Sweep(problem, gd.axes(**grid), rungs[-1], **settings(problem, rungs, seed)),
        rungs,
        reduction_factor=replays.REDUCTION_FACTOR,
        metric=METRIC,
        direction="maximize",
    )


def hyperband(
    problem: gd.Problem, grid: Grid, rungs: Rungs, trials: int, *, seed: int, **batching
) -> optuna.Study:
    """Return the Optuna study of a Hyperband search, with arguments of `gd.search.optimize`."""
    study = replays.new_study(rungs, seed=seed)
    gd.search.optimize(
        gd.Sweep(problem, gd.axes(**grid), rungs[-1], **settings(problem, rungs, seed)),
        study,
        trials,
        rungs=rungs,
        space=replays.space(grid),
        metric=METRIC,
        direction="maximize",
        **batching,
    )
    return study
