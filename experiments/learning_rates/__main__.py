"""Which learning rate is best, and how much does the starting point matter?

    w_{t+1} = w_t - learning_rate * grad C(w_t)

    python -m experiments.learning_rates           (about 40 s of processor time)

Expected: a test accuracy of about 90 % for sigmoids at rate 3, which has the lowest training cost
on the coarse grid, whose rates have ratio 3.2; no run of the sigmoid network diverges. For about
half of 12 starts, working and failing rates alternate between 8 and 40, up to 1.5 times the first
failing rate. Networks with ReLUs need rates a hundred times smaller, and a third of their runs at
rates above 2 diverge. The alternation is refuted if, for each start, all rates below some limit
work and all rates above it fail.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax import statistics
from gdjax.descent import OUTCOMES
from gdjax.errors import InputError
from gdjax.plots import sweeps as plots

from .figures import Trained, trained_sets
from .summary import by_activation, numbers

INITIALIZERS = {"relu": "he"}  # other activations use the fan-in initializer


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and starting points.

    Args:
        data: name of the data set.
        activations: activation functions of the networks to compare.
        lowest: smallest learning rate.
        highest: largest learning rate.
        rates: number of learning rates, geometrically spaced.
        seeds: number of starting points.
        batch_size: number of images per step.
        epochs: number of passes over the training set.
        fine: smallest and largest rate of the fine grid, for each network.
        fine_rates: number of rates of the fine grid, geometrically spaced.
    """

    data: str = "mnist5k"
    activations: tuple[str, ...] = ("sigmoid", "relu")
    lowest: float = 0.0003
    highest: float = 300.0
    rates: int = 13
    seeds: int = 12
    batch_size: int = 32
    epochs: int = 10
    fine: tuple[tuple[float, float], ...] = ((8.0, 40.0), (0.1, 3.0))
    fine_rates: int = 40


def digits(config: Config, activation: str) -> gd.Problem:
    """Return the digit problem with the given activation."""
    return gd.problems.digits(
        config.data, activation=activation, initializer=INITIALIZERS.get(activation, "fan_in")
    )


def run(config: Config) -> xr.Dataset:
    """Return the runs of all networks on both grids, with a dimension `activation`."""
    if len(config.fine) != len(config.activations):
        raise InputError(
            f"fine = {config.fine}, expected a range of rates for each of the "
            f"{len(config.activations)} activations"
        )
    problems = {name: digits(config, name) for name in config.activations}
    epoch = gd.descent.steps_for(1, next(iter(problems.values())).samples, config.batch_size)
    parts = []
    for (name, problem), ends in zip(problems.items(), config.fine, strict=True):
        print(f"{name} ...", flush=True)
        wide = np.geomspace(config.lowest, config.highest, config.rates)
        fine = np.geomspace(*ends, config.fine_rates)
        runs = trained(config, problem, wide, epoch)
        fine_runs = trained(config, problem, fine, config.epochs * epoch)
        parts.append(
            runs[["cost", "test_accuracy", "outcome", "diverged_at"]]
            .assign(baseline=problem.baseline)
            .assign(
                fine_rate=("fine", fine),
                trains=(("fine", "seed"), fine_runs.cost.values[..., -1] < problem.baseline),
            )
        )
    joined = xr.concat(parts, "activation", combine_attrs="drop")
    joined = joined.assign_attrs(activations=list(problems))
    return joined.assign_coords(epoch=("step", joined.step.values / epoch))


def trained(config: Config, problem: gd.Problem, rates: np.ndarray, every: int) -> xr.Dataset:
    """Return a sweep over rates and starts, recorded every `every` steps."""
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    return gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(config.seeds)),
        config.epochs * epoch,
        batch_size=config.batch_size,
        record_every=every,
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw outcomes and curves of each network, and rates that work, by start."""
    images = {}
    rates = dataset.learning_rate.values
    sets = {}
    for name, runs in by_activation(dataset):
        images[f"ends_{name}"] = plots.outcomes_by_setting(
            plots.Setting("learning_rate", rates),
            runs.test_accuracy.values[..., -1],
            runs.cost.values[..., -1],
            runs.outcome.values,
            outcomes=OUTCOMES,
            baseline=float(runs.baseline),
        )
        images[f"curves_{name}"] = plots.curves_by_setting(
            dataset.epoch.values, rates, runs.cost.values
        ).figure
        best = rates[np.argmin(statistics.medians(runs.cost.values[..., -1])[0])]
        sets[name] = Trained(runs.fine_rate.values, runs.trains.values.astype(bool), best)
    return images | {"rates_that_train": trained_sets(sets)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
