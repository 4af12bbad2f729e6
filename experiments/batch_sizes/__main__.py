"""Should a step use the whole training set, or are a few images enough?

    w_{t+1} = w_t - learning_rate * grad C_B(w_t),   C_B: mean of the loss over the batch B

    python -m experiments.batch_sizes           (about 2 min on two cores)

Expected: at equal numbers of epochs, the cost is lower for smaller batches, down to a batch size of
about 32. An epoch with batches of 8 takes three times as long as a full-batch epoch, and an epoch
with batches of 32 up to twice as long. At equal training time, the cost is again lowest with
batches of 32, and by far the highest with full batches, which need about 150 epochs to reach the
cost that batches of 32 reach in two.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.errors import InputError

from . import figures as budgets
from .summary import ends, numbers, runs_at_best_rate


@dataclass(frozen=True)
class Config:
    """Batch sizes to compare, and their numbers of epochs.

    Args:
        data: name of the data set.
        batch_sizes: numbers of images per step; the last entry stands for the whole training set.
        epochs: numbers of passes over the training set, one for each batch size.
        lowest: smallest learning rate.
        highest: largest learning rate.
        rates: number of learning rates, geometrically spaced.
        seeds: number of starting points.
        timed_epochs: number of epochs of the sweeps that are timed.
        repeats: number of times that each sweep is timed.
    """

    data: str = "mnist5k"
    batch_sizes: tuple[int, ...] = (8, 32, 128, 512, 4000)
    epochs: tuple[int, ...] = (60, 60, 60, 60, 300)
    lowest: float = 0.3
    highest: float = 30.0
    rates: int = 7
    seeds: int = 8
    timed_epochs: int = 20
    repeats: int = 3


def seconds_an_epoch(problem: gd.Problem, axes, sizes, config: Config) -> list[float]:
    """Return the seconds per epoch and run, from sweeps of all runs, by batch size.

    Batch sizes are timed alternately, so that a temporary load of the machine affects all of them.
    """

    def spent(size):
        steps = gd.descent.steps_for(config.timed_epochs, problem.samples, size)
        runs = gd.sweep(problem, axes, steps, batch_size=size, record_every=steps, metrics={})
        return runs.attrs["seconds"]

    shortest = np.min([[spent(size) for size in sizes] for _ in range(config.repeats)], axis=0)
    return list(shortest / config.timed_epochs / axes.runs)


def run(config: Config) -> xr.Dataset:
    """Return the records of all batch sizes, padded with NaN, and times per epoch."""
    if len(config.epochs) != len(config.batch_sizes):
        raise InputError(
            f"epochs = {config.epochs}, expected one number for each of {config.batch_sizes}"
        )
    problem = gd.problems.digits(config.data)
    axes = gd.axes(
        learning_rate=np.geomspace(config.lowest, config.highest, config.rates),
        seed=range(config.seeds),
    )
    sizes = [*config.batch_sizes[:-1], None]
    epoch = [gd.descent.steps_for(1, problem.samples, size) for size in sizes]
    tree = gd.compare(
        {
            str(size): (
                problem,
                {"batch_size": size, "num_steps": epochs * per, "record_every": per},
            )
            for size, epochs, per in zip(sizes, config.epochs, epoch, strict=True)
        },
        axes,
        1,
    )
    parts = [
        tree[str(size)]
        .to_dataset()[["cost", "test_accuracy"]]
        .assign_coords(step=lambda runs, per=per: runs.step // per)
        .rename(step="epoch")
        for size, per in zip(sizes, epoch, strict=True)
    ]
    batch_sizes = [size or problem.samples for size in sizes]
    seconds = seconds_an_epoch(problem, axes, sizes, config)
    joined = xr.concat(parts, xr.Variable("batch_size", batch_sizes), join="outer")
    return joined.assign(seconds_an_epoch=("batch_size", seconds)).assign_attrs(
        baseline=problem.baseline
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw cost and accuracy against epochs and against time."""
    curves = {}
    for budget, end in ends(dataset).items():
        curves[budget] = []
        for index, size in enumerate(dataset.batch_size.values):
            runs = runs_at_best_rate(dataset, index, end[index])
            unit = 1.0 if budget == "epochs" else float(dataset.seconds_an_epoch[index])
            curves[budget].append(
                budgets.Curve(
                    name=f"{size}" if size < dataset.batch_size.max() else f"all {size}",
                    rate=float(runs.learning_rate),
                    spent=runs.epoch.values * unit,
                    cost=runs.cost.values,
                    accuracy=runs.test_accuracy.values,
                    end=int(end[index]),
                )
            )
    return {"budgets": budgets.epochs_and_time(curves["epochs"], curves["time"])}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
