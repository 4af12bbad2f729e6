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
from gdjax.descent import OUTCOMES, Outcome
from gdjax.plots import sweeps as plots
from gdjax.plots.style import BLACK, BLUE, VERMILLION, Figure, label_log_axis

INITIALIZERS = {"sigmoid": "fan_in", "relu": "he"}  # activation and initializer of each network


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and starting points."""

    data: str = "mnist5k"  # name of the data set
    lowest: float = 0.0003  # smallest learning rate
    highest: float = 300.0  # largest learning rate
    rates: int = 13  # number of learning rates, geometrically spaced
    seeds: int = 12  # number of starting points
    batch_size: int = 32  # number of images per step
    epochs: int = 10  # number of passes over the training set
    fine: tuple[tuple[float, float], ...] = ((8.0, 40.0), (0.1, 3.0))  # fine range of each network
    fine_rates: int = 40  # number of rates of the fine grid, geometrically spaced


def best_index(runs: xr.Dataset) -> int:
    """Return the index of the learning rate with the lowest median final cost."""
    return int(np.argmin(statistics.medians(runs.cost.values[..., -1])[0]))


def alternates(trains: np.ndarray) -> np.ndarray:
    """Return, for each seed, whether some rate succeeds above a rate that fails.

    The argument says whether each run trains, [rates, seeds], with ascending rates.
    """
    return np.any(trains[1:] & ~trains[:-1], axis=0)


def borders(rates: np.ndarray, trains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest rate that fails and the largest that succeeds, by seed.

    The first is NaN if no rate fails, and the second if no rate succeeds.
    """
    failure = np.where(trains.all(axis=0), np.nan, rates[np.argmin(trains, axis=0)])
    last = rates[len(rates) - 1 - np.argmax(trains[::-1], axis=0)]
    return failure, np.where(trains.any(axis=0), last, np.nan)


def numbers(dataset: xr.Dataset) -> dict:
    """Return the best rate by training cost, its accuracy, and counts of outcomes."""
    activations: dict = {}
    for name in dataset.activation.values:
        runs = dataset.sel(activation=name)
        half, low, high = statistics.medians(runs.test_accuracy.values[..., -1])
        best = best_index(runs)
        trains = runs.trains.values.astype(bool)
        failure, last = borders(runs.fine_rate.values, trains)
        alternate = int(np.sum(alternates(trains)))
        activations[name] = {
            "best_rate": runs.learning_rate.values[best],
            "accuracy_at_best": half[best],
            "accuracy_at_best_interval": [low[best], high[best]],
            "fine_rates": runs.fine_rate.values[[0, -1]],
            "first_failure": statistics.median(failure)[:3],
            "first_failure_least": np.nanmin(failure),
            "last_that_trains": statistics.median(last)[:3],
            "last_that_trains_most": np.nanmax(last),
            "last_over_first_failure_most": np.nanmax(last / failure),
            "starts_that_alternate": alternate,
            "share_that_alternates": statistics.share(alternate, trains.shape[1])[:3],
            "runs_stalled": np.sum(runs.outcome.values == Outcome.STALLED),
            "runs_diverged": np.sum(runs.outcome.values == Outcome.DIVERGED),
        }
    return {"activation": activations}


def trained_sets(dataset: xr.Dataset) -> Figure:
    """Draw the learning rates at which training succeeds, with one panel per network."""
    names = dataset.activation.values
    figure = Figure(figsize=(6.5 * len(names), 5.0))
    panels = figure.subplots(1, len(names))
    for axes, name in zip(panels, names, strict=True):
        runs = dataset.sel(activation=name)
        rates, trains = runs.fine_rate.values, runs.trains.values.astype(bool)
        seeds = np.arange(trains.shape[1])
        x, y = np.meshgrid(rates, seeds, indexing="ij")
        fails = ~trains
        axes.plot(x[trains], y[trains], "o", color=BLUE, label="trains", markersize=4)
        axes.plot(x[fails], y[fails], "x", color=VERMILLION, label="does not train", markersize=4)
        alternate = np.sum(alternates(trains))
        axes.set_title(f"{name}: alternating outcomes for {alternate} of {len(seeds)} starts")
        best = runs.learning_rate.values[best_index(runs)]
        if rates[0] <= best <= rates[-1]:
            axes.axvline(best, color=BLACK, linestyle=":", linewidth=1.5)
        axes.set_xscale("log")
        label_log_axis(axes.xaxis)
        axes.set(xlabel="learning rate", yticks=seeds)
    panels[0].set_ylabel("starting point")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def run(config: Config) -> xr.Dataset:
    """Return the runs of all networks on both grids, with a dimension `activation`."""
    coarse, parts = np.geomspace(config.lowest, config.highest, config.rates), []
    for (name, initializer), ends in zip(INITIALIZERS.items(), config.fine, strict=True):
        problem = gd.problems.digits(config.data, activation=name, initializer=initializer)
        epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
        steps, fine = config.epochs * epoch, np.geomspace(*ends, config.fine_rates)
        runs, fine_runs = (
            gd.sweep(
                problem,
                gd.axes(learning_rate=rates, seed=range(config.seeds)),
                steps,
                batch_size=config.batch_size,
                record_every=every,
            )
            for rates, every in ((coarse, epoch), (fine, steps))
        )
        parts.append(
            runs[["cost", "test_accuracy", "outcome", "diverged_at"]].assign(
                baseline=problem.baseline,
                fine_rate=("fine", fine),
                trains=(("fine", "seed"), fine_runs.cost.values[..., -1] < problem.baseline),
            )
        )
    joined = xr.concat(parts, "activation", combine_attrs="drop")
    epochs = joined.step.values / epoch
    return joined.assign_coords(activation=list(INITIALIZERS), epoch=("step", epochs))


def plot(dataset: xr.Dataset) -> dict:
    """Draw outcomes and curves of each network, and rates that work, by start."""
    images = {}
    rates = dataset.learning_rate.values
    for name in dataset.activation.values:
        runs = dataset.sel(activation=name)
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
    return images | {"rates_that_train": trained_sets(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
