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
from itertools import cycle

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import first_at, medians
from gdjax.base.statistics import median
from gdjax.plots.style import CYCLE


@dataclass(frozen=True)
class Config:
    """Batch sizes to compare, and their numbers of epochs."""

    data: str = "mnist5k"  # name of the data set
    batch_sizes: tuple[int, ...] = (8, 32, 128, 512, 4000)  # images per step; the last means all
    epochs: tuple[int, ...] = (60, 60, 60, 60, 300)  # number of epochs for each batch size
    lowest: float = 0.3  # smallest learning rate
    highest: float = 30.0  # largest learning rate
    rates: int = 7  # number of learning rates, geometrically spaced
    seeds: int = 16  # number of starting points; half of them choose a rate for the other half
    timed_epochs: int = 20  # number of epochs of the sweeps that are timed
    repeats: int = 3  # number of times that each sweep is timed


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


def last_epochs(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of epochs for which each batch size was run."""
    return dataset.cost.notnull().any(("learning_rate", "seed")).sum("epoch").values - 1


def ends(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the epoch at which each batch size is compared, for both budgets.

    The budgets are an equal number of epochs, and an equal training time.
    """
    epochs, seconds = last_epochs(dataset), dataset.seconds_an_epoch.values
    time = np.min(epochs * seconds)
    # With the tolerance, the batch size with the shortest total time is compared at its last epoch.
    return {
        "epochs": np.full(len(epochs), epochs.min()),
        "time": np.floor(time / seconds + 1e-9).astype(int),
    }


def compared(dataset: xr.Dataset, end: np.ndarray) -> gd.search.Comparison:
    """Return the comparison of the batch sizes at given epochs, each at its own learning rate."""
    costs = dataset.cost.isel(epoch=xr.DataArray(end, dims="batch_size"))
    return gd.compare(costs.to_dataframe("cost").reset_index(), "batch_size", tune="learning_rate")


def accuracies(dataset: xr.Dataset, end: int, setting: pd.Series) -> np.ndarray:
    """Return the accuracy of each seed at the rate that the other half of the seeds has chosen."""
    values = dataset.test_accuracy.sel(batch_size=setting.name).isel(epoch=end)
    first, second = (
        values.sel(learning_rate=setting[f"learning_rate_{half}"]).values for half in (1, 2)
    )
    return np.where(np.arange(len(first)) % 2 == 0, second, first)


def runs_at_best_rate(dataset: xr.Dataset, index: int, end: int) -> xr.Dataset:
    """Return the runs of a batch size at its best learning rate, for the figure.

    The best rate has the lowest median training cost over seeds at epoch `end`.
    """
    runs = dataset.isel(batch_size=index, epoch=slice(0, last_epochs(dataset)[index] + 1))
    cost = medians(runs.cost.isel(epoch=end))
    return runs.isel(learning_rate=int(cost.argmin("learning_rate"))).transpose("seed", "epoch")


def epochs_to_half_baseline(dataset: xr.Dataset, index: int) -> float:
    """Return the first epoch at which some rate halves the baseline cost, or +inf.

    The cost at a rate is the median over seeds.
    """
    half = medians(dataset.cost.isel(batch_size=index)) <= dataset.attrs["baseline"] / 2
    return float(first_at(dataset.epoch.values, half.any("learning_rate").values))


def numbers(dataset: xr.Dataset) -> dict:
    """Return times per epoch, results of each batch size for both budgets, and comparisons."""
    by_size: dict = {
        str(size): {
            "milliseconds_an_epoch": float(1e3 * dataset.seconds_an_epoch[index]),
            "epochs_to_half": epochs_to_half_baseline(dataset, index),
        }
        for index, size in enumerate(dataset.batch_size.values)
    }
    comparisons: dict = {}
    for budget, end in ends(dataset).items():
        result = compared(dataset, end)
        for (size, setting), last in zip(result.settings.iterrows(), end, strict=True):
            by_size[str(size)][f"equal_{budget}"] = {
                "epochs": int(last),
                "rates": sorted({setting.learning_rate_1, setting.learning_rate_2}),
                "cost": [setting["median"], setting.low, setting.high],
                "accuracy": median(accuracies(dataset, last, setting))[:3],
            }
        comparisons[f"equal_{budget}"] = {
            "methods": result.methods,
            "tied": list(result.tied),
            "pairs": {
                f"{first} and {second}": {
                    "verdict": pair["verdict"],
                    "ratio": [pair["ratio"], pair["ratio_low"], pair["ratio_high"]],
                }
                for (first, second), pair in result.pairs.to_dict("index").items()
            },
        }
    return {"batch_size": by_size, "comparison": comparisons}


def plot(dataset: xr.Dataset) -> dict:
    """Draw median cost and accuracy over seeds, against epochs and against time."""
    figure = Figure(figsize=(12, 8.5))
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    sizes, epochs_at_end, cheapest = dataset.batch_size.values, ends(dataset), []
    for (top, bottom), budget, label in zip(
        grid.T, epochs_at_end, ("epochs", "computation time per run, s"), strict=True
    ):
        at_end = []
        for index, (size, color) in enumerate(zip(sizes, cycle(CYCLE), strict=False)):
            end = epochs_at_end[budget][index]
            runs = runs_at_best_rate(dataset, index, end)
            unit = 1.0 if budget == "epochs" else float(dataset.seconds_an_epoch[index])
            spent = runs.epoch.values * unit
            name = f"all {size}" if size == sizes.max() else f"{size}"
            text = f"{name}  (rate {float(runs.learning_rate):.2g})"
            for axes, values in ((top, runs.cost), (bottom, runs.test_accuracy)):
                half = medians(values).values
                # Lines start at the first epoch, since a logarithmic axis has no 0.
                axes.plot(spent[1 : end + 1], half[1 : end + 1], color=color, label=text)
                axes.plot(spent[end:], half[end:], color=color, linewidth=1)
                axes.plot(spent[end], half[end], "o", color=color)
            at_end.append((medians(runs.cost).values[end], name))
        cheapest.append(min(at_end)[1])
        top.set(title=f"Equal {budget}", xscale="log", yscale="log")
        bottom.set_xlabel(label)
        bottom.xaxis.set_major_formatter("{x:g}")
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
        top.legend(title="images per step", loc="lower left", title_fontsize=12)
    grid[0, 0].set_ylabel("training cost")
    grid[1, 0].set_ylabel("test accuracy")
    figure.suptitle(
        f"Lowest cost (dots): {cheapest[0]} images per step for equal epochs, "
        f"{cheapest[1]} for equal time"
    )
    return {"budgets": figure}


def run(config: Config) -> xr.Dataset:
    """Return the records of all batch sizes, padded with NaN, and times per epoch."""
    problem = gd.problems.digits(config.data)
    axes = gd.axes(
        learning_rate=np.geomspace(config.lowest, config.highest, config.rates),
        seed=range(config.seeds),
    )
    sizes = [*config.batch_sizes[:-1], None]
    epoch = [gd.descent.steps_for(1, problem.samples, size) for size in sizes]
    parts = [
        gd.sweep(problem, axes, epochs * per, batch_size=size, record_every=per)[
            ["cost", "test_accuracy"]
        ]
        .assign_coords(step=lambda runs, per=per: runs.step // per)
        .rename(step="epoch")
        for size, epochs, per in zip(sizes, config.epochs, epoch, strict=True)
    ]
    batch_sizes = [size or problem.samples for size in sizes]
    seconds = seconds_an_epoch(problem, axes, sizes, config)
    joined = xr.concat(parts, xr.Variable("batch_size", batch_sizes), join="outer")
    return joined.assign(seconds_an_epoch=("batch_size", seconds)).assign_attrs(
        baseline=problem.baseline
    )


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
