"""How must a network be initialized so that gradient descent can train it?

    W_0 = init_scale * draw(initializer),   slope of a sigmoid = 4 s (1 - s), at most 1

    python -m experiments.initializations           (about 2 min on two cores)

Expected: a test accuracy of 10 % before training, for any start; after training, 87 to 91 % for
every initializer at its best scale, and 10 % for every initializer at 100 times its default scale.
"""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import first_at, medians
from gdjax.base.statistics import median
from gdjax.plots.style import CYCLE
from gdjax.plots.sweeps import quantiles


@dataclass(frozen=True)
class Config:
    """Initializations to compare, and settings of the training."""

    data: str = "mnist5k"  # name of the data set
    # names of the initializers
    initializers: tuple[str, ...] = ("normal", "uniform", "fan_in", "glorot", "he")
    smallest: float = 0.01  # smallest scale of starting weights; 1 is the initializer's default
    largest: float = 100.0  # largest scale of starting weights; 1 is the initializer's default
    scales: int = 13  # number of scales, geometrically spaced
    learning_rates: tuple[float, ...] = (1.0, 3.0, 9.0)  # learning rates; the best one is reported
    seeds: int = 8  # number of starting points for each initializer and scale
    batch_size: int = 32  # number of images per step
    epochs: int = 10  # number of passes over the training set
    images: int = 500  # number of training images over which slopes of sigmoids are averaged


def slope_of_layer(network: gd.problems.Network, layer: int):
    """Return a function that computes the mean slope 4 s (1 - s) of a hidden layer.

    It averages over the layer's neurons and the images, the data of the problem.
    """
    widths = network.widths[: layer + 1]
    inner = dataclasses.replace(network, widths=widths, output_activation=None)

    def slope(problem, params):
        s = inner.apply(params[:layer], problem.data)
        return jnp.mean(4 * s * (1 - s))

    return slope


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies before and after training, at the best and at extreme scales."""
    initializers = {}
    for name, runs in by_initializer(dataset).items():
        scale, accuracy = runs.init_scale.values, runs.accuracy_after.values
        best = int(np.argmin(quantiles(runs.cost_after.values)[1]))
        after = quantiles(accuracy)[1]
        good = scale[after >= after[best] - 0.03]
        initializers[name] = {
            "accuracy_at_best": median(accuracy[best])[:3],
            "within_3_points_from": good.min(),
            "within_3_points_to": good.max(),
            "accuracy_at_largest": median(accuracy[-1])[:3],
            "accuracy_at_smallest": median(accuracy[0])[:3],
            "slope_at_largest": median(runs.slope.values[-1])[:3],
        }
    before = dataset.isel(step=0)
    return {
        "accuracy_before_mean": float(before.test_accuracy.mean()),
        "accuracy_before_most": float(before.test_accuracy.max()),
        "cost_before_smallest": float(before.cost.isel(init_scale=0).mean()),
        "cost_before_largest": float(before.cost.isel(init_scale=-1).mean()),
        "initializer": initializers,
    }


def by_initializer(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the runs of each initializer at the best rates, [scales, seeds].

    They are the costs and accuracies before and after training, the mean slope of the hidden
    sigmoids before it, and the number of epochs to half the cost of the best constant prediction.
    """
    cost = medians(dataset.cost.isel(step=-1))
    runs = dataset.isel(learning_rate=cost.argmin("learning_rate")).transpose(
        "initializer", "init_scale", "seed", "step"
    )
    before, after = (runs.isel(step=step, drop=True) for step in (0, -1))
    is_half = runs.cost.values <= dataset.attrs["baseline"] / 2
    epochs = first_at(dataset.epoch.values, is_half)
    results = xr.Dataset(
        {
            "accuracy_before": before.test_accuracy,
            "accuracy_after": after.test_accuracy,
            "cost_before": before.cost,
            "cost_after": after.cost,
            "slope": (before.slope_1 + before.slope_2) / 2,
            "epochs": (before.cost.dims, epochs),
        }
    )
    return {name: results.sel(initializer=name) for name in dataset.initializer.values}


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies, numbers of epochs, costs and slopes against the initial scale.

    Infinite medians of epochs are drawn above the number of epochs of the runs.
    """
    epochs = float(dataset.epoch[-1])
    figure = Figure(figsize=(12, 8.5))
    (after, fast), (before, slope) = figure.subplots(2, 2, sharex=True)
    panels = {"accuracy_after": after, "epochs": fast, "cost_before": before, "slope": slope}
    never = 1.15 * epochs
    for number, (name, runs) in enumerate(by_initializer(dataset).items()):
        middle = {key: quantiles(values.values, (0.5,))[0] for key, values in runs.items()}
        middle["epochs"] = np.minimum(middle["epochs"], never)
        scale, color = runs.init_scale.values, CYCLE[number % len(CYCLE)]
        look: dict = {"marker": "os^DvPX"[number % 7], "label": name.replace("_", "-")}
        for key, axes in panels.items():
            axes.plot(scale, middle[key], color=color, **look)
        after.plot(scale, middle["accuracy_before"], ":", color=color)
    after.set(title="After training", ylabel="test accuracy\n(dotted: before training)")
    after.yaxis.set_major_formatter(PercentFormatter(1.0))
    after.set_ylim(0, 1)
    fast.set_title("Epochs to half the baseline cost")
    fast.set_ylabel("epochs to half the cost of\nthe best constant prediction")
    fast.set_ylim(0, 1.25 * epochs)
    ticks = [tick for tick in fast.get_yticks() if tick <= epochs]
    fast.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
    before.set(title="Cost before training", ylabel="training cost")
    slope.set_title("Saturation before training")
    slope.set_ylabel("mean slope of hidden sigmoids\n(1: largest, 0: saturated)")
    slope.set_ylim(0, 1.05)
    for axes in (before, slope):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("scale of starting weights (1: the initializer's default)")
    slope.legend(loc="lower left")
    figure.suptitle("Effect of the initial scale (medians over seeds)")
    return {"starts": figure}


def run(config: Config) -> xr.Dataset:
    """Return all runs, with a dimension `initializer` in the order of the config."""
    names = list(config.initializers)
    problems = [gd.problems.digits(config.data, initializer=name) for name in names]
    epoch = gd.descent.steps_for(1, problems[0].samples, config.batch_size)
    axes = gd.axes(
        init_scale=np.geomspace(config.smallest, config.largest, config.scales),
        learning_rate=config.learning_rates,
        seed=range(config.seeds),
    )
    steps, sweeps = config.epochs * epoch, []
    for problem in problems:
        slopes = {}
        for n in (1, 2):
            function, images = slope_of_layer(problem.network, n), problem.data[0][: config.images]
            name = f"slope of hidden layer {n}"
            slopes[f"slope_{n}"] = gd.Metric(function, data=images, long_name=name)
        options: dict = {"record_every": epoch, "metrics": dict(problem.metrics) | slopes}
        runs = gd.sweep(problem, axes, steps, batch_size=config.batch_size, **options)
        sweeps.append(runs[["cost", "test_accuracy", *slopes]])
    joined = xr.concat(sweeps, "initializer").assign_attrs(baseline=problems[0].baseline)
    epochs = joined.step.values / epoch
    return joined.assign_coords(initializer=names, epoch=("step", epochs))


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
