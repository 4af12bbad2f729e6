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

import gdjax as gd
from experiments.shared import command

from . import figures as plots
from .summary import by_initializer, numbers


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


def run(config: Config) -> xr.Dataset:
    """Return all runs, with a dimension `initializer` in the order of the config."""
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
    names = ["cost", "test_accuracy", "slope_1", "slope_2", "outcome"]
    joined = xr.concat([tree[name].to_dataset()[names] for name in problems], "initializer")
    return joined.assign_coords(epoch=("step", joined.step.values / epoch)).assign_attrs(
        initializers=list(problems), baseline=any_problem.baseline
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies, numbers of epochs, costs and slopes against scale."""
    return {"starts": plots.by_scale(by_initializer(dataset), epochs=float(dataset.epoch[-1]))}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
