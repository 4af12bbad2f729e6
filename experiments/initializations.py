"""How must a network be initialized, so that descent can train it?

    W_0 = init_scale * draw(initializer),   slope of a sigmoid = 4 s (1 - s), 1 in its middle

The digit network starts from five initialisers at scales from a hundredth to a hundred times their
own, from several seeds, and is trained with three learning rates, of which the one with the lowest
median training cost is shown. Too small, and all neurons of a layer say the same, to every image:
the cost stays for long where it is best to ignore the image (0.9). Too large, and every sigmoid is
saturated: its slope, and with it the gradient, is gone.

    python experiments/initializations.py           (about 2 min on two cores)

Expected: before training 10 % of test digits right, whatever the start; afterwards 87 to 91 % for
every initialiser at its best scale, and 10 % for every one at a hundred times its own.
"""

import dataclasses
from dataclasses import dataclass

import common
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import starts as plots

import gdjax as gd
from gdjax.plots.sweeps import quantiles
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Which starts are compared, and how they are trained.

    Args:
        data: name of the data set.
        initializers: names of them.
        smallest: scale of the starting weights, as a multiple of the initialiser's own.
        largest: the same, at the other end.
        scales: how many, evenly spaced by ratio.
        learning_rates: all are tried, the best by training cost is shown.
        seeds: starting points.
        batch_size: images a step.
        epochs: passes over the training set.
        images: of the training set, on which the slopes of sigmoids are measured.
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
    """The mean over neurons and images of 4 s (1 - s) in a hidden layer, the first is 1."""
    widths = network.widths[: layer + 1]
    inner = dataclasses.replace(network, widths=widths, output_activation=None)

    def slope(params, images):
        s = inner.apply(params[:layer], images)
        return jnp.mean(4 * s * (1 - s))

    return slope


def with_slopes(problem: gd.Problem, images: int) -> dict[str, gd.Metric]:
    """The problem's metrics, and how steep each hidden layer's sigmoids are."""
    few = problem.data[0][:images]
    return dict(problem.metrics) | {
        f"slope_{layer}": gd.Metric(
            slope_of_layer(problem.network, layer), few, long_name=f"slope of hidden layer {layer}"
        )
        for layer in range(1, len(problem.network.widths) - 1)
    }


def run(config: Config) -> xr.Dataset:
    """All starts, along a dimension `initializer` in the order of the config."""
    problems = {
        name: gd.problems.digits(config.data, initializer=name) for name in config.initializers
    }
    any_problem = next(iter(problems.values()))
    epoch = gd.descent.steps_for(1, any_problem.samples, config.batch_size)
    tree = gd.compare(
        {
            name: (problem, {"metrics": with_slopes(problem, config.images)})
            for name, problem in problems.items()
        },
        gd.axes(
            init_scale=np.geomspace(config.smallest, config.largest, config.scales),
            learning_rate=config.learning_rates,
            seed=range(config.seeds),
        ),
        config.epochs * epoch,
        batch_size=config.batch_size,
        record_every=epoch,
    )
    kept = ["cost", "test_accuracy", "slope_1", "slope_2", "outcome"]
    joined = xr.concat([tree[name].to_dataset()[kept] for name in problems], "initializer")
    return joined.assign_coords(epoch=("step", joined.step.values / epoch)).assign_attrs(
        initializers=list(problems), baseline=any_problem.baseline
    )


def at_best_rate(dataset: xr.Dataset) -> xr.Dataset:
    """Every start's runs at the learning rate with the lowest median training cost."""
    cost = common.medians(dataset.cost.isel(step=-1))
    return dataset.isel(learning_rate=cost.argmin("learning_rate"))


def epochs_to(cost: np.ndarray, epoch: np.ndarray, level: float) -> np.ndarray:
    """The first epoch, [..., records] -> [...], whose cost is at or below a level; inf if none."""
    there = cost <= level
    return np.where(there.any(axis=-1), epoch[np.argmax(there, axis=-1)], np.inf)


def by_initializer(dataset: xr.Dataset) -> dict[str, plots.Starts]:
    """What each initialiser does at each scale."""
    best = at_best_rate(dataset)
    half = dataset.attrs["baseline"] / 2
    found = {}
    for index, name in enumerate(dataset.attrs["initializers"]):
        runs = best.isel(initializer=index).transpose("init_scale", "seed", "step")
        cost, accuracy = runs.cost.values, runs.test_accuracy.values
        slope = (runs.slope_1 + runs.slope_2).values[..., 0] / 2
        found[name] = plots.Starts(
            scale=runs.init_scale.values,
            accuracy_before=accuracy[..., 0],
            accuracy_after=accuracy[..., -1],
            cost_before=cost[..., 0],
            epochs=epochs_to(cost, dataset.epoch.values, half),
            slope=slope,
        )
    return found


def numbers(dataset: xr.Dataset) -> dict:
    """Before and after, at each initialiser's best scale and at the ends."""
    found: dict = {}
    best = at_best_rate(dataset)
    for index, (name, starts) in enumerate(by_initializer(dataset).items()):
        final = best.cost.isel(initializer=index, step=-1).transpose("init_scale", "seed").values
        chosen = int(np.argmin(quantiles(final)[1]))
        after = quantiles(starts.accuracy_after)[1]
        good = starts.scale[after >= after[chosen] - 0.03]
        found |= {
            f"{name}_best_scale": float(starts.scale[chosen]),
            f"{name}_accuracy_at_best": median(starts.accuracy_after[chosen])[:3],
            f"{name}_within_3_points_from": float(good.min()),
            f"{name}_within_3_points_to": float(good.max()),
            f"{name}_accuracy_at_largest": median(starts.accuracy_after[-1])[:3],
            f"{name}_accuracy_at_smallest": median(starts.accuracy_after[0])[:3],
            f"{name}_slope_at_best": median(starts.slope[chosen])[:3],
            f"{name}_slope_at_largest": median(starts.slope[-1])[:3],
            f"{name}_epochs_at_best": median(starts.epochs[chosen])[:3],
        }
    before = dataset.test_accuracy.isel(step=0)
    found["accuracy_before_mean"] = float(before.mean())
    found["accuracy_before_most"] = float(before.max())
    found["cost_before_smallest"] = float(dataset.cost.isel(step=0, init_scale=0).mean())
    found["cost_before_largest"] = float(dataset.cost.isel(step=0, init_scale=-1).mean())
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Everything against scale, in one picture."""
    return {"starts": plots.by_scale(by_initializer(dataset), epochs=float(dataset.epoch[-1]))}


if __name__ == "__main__":
    common.main("initializations", Config, run, plot, numbers)
