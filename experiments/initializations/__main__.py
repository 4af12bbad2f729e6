"""How must a network be initialized so that gradient descent can train it?

    W_0 = init_scale * draw(initializer),   slope of a sigmoid = 4 s (1 - s), at most 1

    python -m experiments.initializations           (about 2 min on two cores)

Expected: a test accuracy of 10 % before training, for any start; after training, 87 to 91 % for
every initializer at its best scale, and 10 % for every initializer at 100 times its default scale.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import medians
from gdjax.plots.style import CYCLE, style
from gdjax.plots.sweeps import quantiles
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Initializations to compare, and settings of the training.

    Args:
        data: name of the data set.
        initializers: names of the initializers.
        smallest: smallest scale of starting weights, as a multiple of the initializer's default.
        largest: largest scale of starting weights, as a multiple of the initializer's default.
        scales: number of scales, geometrically spaced.
        learning_rates: learning rates; results are reported for the rate with the lowest median
            training cost.
        seeds: number of starting points for each initializer and scale.
        batch_size: number of images per step.
        epochs: number of passes over the training set.
        images: number of training images over which the slopes of the sigmoids are averaged.
    """

    data: str = "mnist5k"
    initializers: tuple[str, ...] = ("normal", "uniform", "fan_in", "glorot", "he")
    smallest: float = 0.01
    largest: float = 100.0
    scales: int = 13
    learning_rates: tuple[float, ...] = (1.0, 3.0, 9.0)
    seeds: int = 8
    batch_size: int = 32
    epochs: int = 10
    images: int = 500


def slope_of_layer(network: gd.problems.Network, layer: int):
    """Return a function that computes the mean slope 4 s (1 - s) of a hidden layer.

    The function takes parameters and images, and averages over the layer's neurons and the images.
    """
    widths = network.widths[: layer + 1]
    inner = dataclasses.replace(network, widths=widths, output_activation=None)

    def slope(params, images):
        s = inner.apply(params[:layer], images)
        return jnp.mean(4 * s * (1 - s))

    return slope


def with_slopes(problem: gd.Problem, images: int) -> dict[str, gd.Metric]:
    """Return the problem's metrics, plus the mean slope of each hidden layer."""
    few = problem.data[0][:images]
    return dict(problem.metrics) | {
        f"slope_{layer}": gd.Metric(
            slope_of_layer(problem.network, layer), few, long_name=f"slope of hidden layer {layer}"
        )
        for layer in range(1, len(problem.network.widths) - 1)
    }


def at_best_rate(dataset: xr.Dataset) -> xr.Dataset:
    """Return the runs at the rate with the lowest median cost, by initialization."""
    cost = medians(dataset.cost.isel(step=-1))
    return dataset.isel(learning_rate=cost.argmin("learning_rate"))


def epochs_to(cost: np.ndarray, epoch: np.ndarray, level: float) -> np.ndarray:
    """Return the first epoch with a cost of at most `level`, or +inf."""
    reached = cost <= level
    return np.where(reached.any(axis=-1), epoch[np.argmax(reached, axis=-1)], np.inf)


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies before and after training, at the best and at extreme scales."""
    summary: dict = {}
    best = at_best_rate(dataset)
    for index, (name, starts) in enumerate(by_initializer(dataset).items()):
        final = best.cost.isel(initializer=index, step=-1).transpose("init_scale", "seed").values
        best_index = int(np.argmin(quantiles(final)[1]))
        after = quantiles(starts.accuracy_after)[1]
        good = starts.scale[after >= after[best_index] - 0.03]
        summary |= {
            f"{name}_best_scale": float(starts.scale[best_index]),
            f"{name}_accuracy_at_best": median(starts.accuracy_after[best_index])[:3],
            f"{name}_within_3_points_from": float(good.min()),
            f"{name}_within_3_points_to": float(good.max()),
            f"{name}_accuracy_at_largest": median(starts.accuracy_after[-1])[:3],
            f"{name}_accuracy_at_smallest": median(starts.accuracy_after[0])[:3],
            f"{name}_slope_at_best": median(starts.slope[best_index])[:3],
            f"{name}_slope_at_largest": median(starts.slope[-1])[:3],
            f"{name}_epochs_at_best": median(starts.epochs[best_index])[:3],
        }
    before = dataset.test_accuracy.isel(step=0)
    summary["accuracy_before_mean"] = float(before.mean())
    summary["accuracy_before_most"] = float(before.max())
    summary["cost_before_smallest"] = float(dataset.cost.isel(step=0, init_scale=0).mean())
    summary["cost_before_largest"] = float(dataset.cost.isel(step=0, init_scale=-1).mean())
    return summary


MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Starts(NamedTuple):
    """Results of one initializer at each scale.

    Args:
        scale: factors by which the initializer's starting weights are multiplied.
        accuracy_before: test accuracy of each run before training, in [0, 1].
        accuracy_after: test accuracy of each run after training, in [0, 1].
        cost_before: training cost before training.
        epochs: number of epochs until the cost is at most half that of the best constant
            prediction; +inf if it never is.
        slope: mean of 4 s (1 - s) over the hidden sigmoids before training.
    """

    scale: Float[np.ndarray, " scales"]
    accuracy_before: Float[np.ndarray, "scales seeds"]
    accuracy_after: Float[np.ndarray, "scales seeds"]
    cost_before: Float[np.ndarray, "scales seeds"]
    epochs: Float[np.ndarray, "scales seeds"]
    slope: Float[np.ndarray, "scales seeds"]


def by_initializer(dataset: xr.Dataset) -> dict[str, Starts]:
    """Return the results of each initializer by scale."""
    best = at_best_rate(dataset)
    half = dataset.attrs["baseline"] / 2
    starts = {}
    for index, name in enumerate(dataset.attrs["initializers"]):
        runs = best.isel(initializer=index).transpose("init_scale", "seed", "step")
        cost, accuracy = runs.cost.values, runs.test_accuracy.values
        slope = (runs.slope_1 + runs.slope_2).values[..., 0] / 2
        starts[name] = Starts(
            scale=runs.init_scale.values,
            accuracy_before=accuracy[..., 0],
            accuracy_after=accuracy[..., -1],
            cost_before=cost[..., 0],
            epochs=epochs_to(cost, dataset.epoch.values, half),
            slope=slope,
        )
    return starts


def by_scale(initializers: Mapping[str, Starts], epochs: float) -> Figure:
    """Draw accuracies, numbers of epochs, costs and slopes against the initial scale.

    Args:
        initializers: results by initializer name.
        epochs: number of epochs of the runs; infinite medians of `Starts.epochs` are drawn above
            it.
    """
    with style():
        figure = Figure(figsize=(12, 8.5))
        (after, fast), (before, slope) = figure.subplots(2, 2, sharex=True)
        never = 1.15 * epochs
        for number, (name, starts) in enumerate(initializers.items()):
            look = {
                "color": CYCLE[number % len(CYCLE)],
                "marker": MARKERS[number % len(MARKERS)],
                "label": name.replace("_", "-"),
            }
            after.plot(starts.scale, _median(starts.accuracy_after), **look)
            after.plot(
                starts.scale,
                _median(starts.accuracy_before),
                **(look | {"marker": "", "linestyle": ":", "label": None}),
            )
            epochs_needed = _median(starts.epochs)
            fast.plot(
                starts.scale, np.where(np.isfinite(epochs_needed), epochs_needed, never), **look
            )
            before.plot(starts.scale, _median(starts.cost_before), **look)
            slope.plot(starts.scale, _median(starts.slope), **look)
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
    return figure


def _median(values):
    """Return the median over seeds, which is +inf if half of the values are infinite."""
    return quantiles(values, (0.5,))[0]


def run(config: Config) -> xr.Dataset:
    """Return all runs, with a dimension `initializer` in the order of the config."""
    problems = {
        name: gd.problems.digits(config.data, initializer=name) for name in config.initializers
    }
    any_problem = next(iter(problems.values()))
    epoch = gd.descent.steps_for(1, any_problem.samples, config.batch_size)
    axes = gd.axes(
        init_scale=np.geomspace(config.smallest, config.largest, config.scales),
        learning_rate=config.learning_rates,
        seed=range(config.seeds),
    )
    sweeps = [
        gd.sweep(
            problem,
            axes,
            config.epochs * epoch,
            batch_size=config.batch_size,
            record_every=epoch,
            metrics=with_slopes(problem, config.images),
        )
        for problem in problems.values()
    ]
    names = ["cost", "test_accuracy", "slope_1", "slope_2", "outcome"]
    joined = xr.concat([runs[names] for runs in sweeps], "initializer")
    return joined.assign_coords(epoch=("step", joined.step.values / epoch)).assign_attrs(
        initializers=list(problems), baseline=any_problem.baseline
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies, numbers of epochs, costs and slopes against scale."""
    return {"starts": by_scale(by_initializer(dataset), epochs=float(dataset.epoch[-1]))}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
