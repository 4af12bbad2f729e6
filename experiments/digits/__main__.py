"""How does a network learn to classify digits, and to which features does it respond?

    minimize C = 1/n sum_i |network(image_i) - onehot(label_i)|^2  by  w <- w - learning_rate grad C

    python -m experiments.digits                  (about 60 s)

Expected: a test accuracy of about 10 % before training (mean over 64 random networks 10 +- 1 %) and
a median of at least 89 % after 30 epochs on 4,000 images; about 94.5 % with `--data mnist --epochs
10`. This is refuted if the interval of the median accuracy after training lies below these values.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.plots import training

from .summary import numbers


@dataclass(frozen=True)
class Config:
    """Network, data and settings of the descent.

    Args:
        data: name of the data set.
        widths: number of neurons in each hidden layer.
        epochs: number of passes over the training images.
        learning_rate: learning rate of plain gradient descent.
        batch_size: number of images per step.
        seed: seed of the starting point in the figures.
        seeds: number of starting points for the statistics.
        random_networks: number of untrained networks whose accuracy is evaluated.
    """

    data: str = "mnist5k"
    widths: tuple[int, ...] = (16, 16)
    epochs: int = 30
    learning_rate: float = 1.0
    batch_size: int = 32
    seed: int = 0
    seeds: int = 16
    random_networks: int = 64


def run(config: Config) -> xr.Dataset:
    """Return results of one descent, of descents by seed, and of untrained networks."""
    problem = gd.problems.digits(config.data, widths=config.widths)
    streams = gd.streams(0, seed=config.seed)
    start = problem.init(streams.init)
    images, labels = tests = problem.metrics["test_accuracy"].data
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    metrics = {**problem.metrics, "test_cost": gd.Metric(problem.cost, tests)}
    descent = gd.descend(
        problem,
        optax.sgd(config.learning_rate),
        start,
        config.epochs * epoch,
        key=streams.order,
        batch_size=config.batch_size,
        record_every=epoch,
        metrics=metrics,
    )
    many = gd.sweep(
        problem,
        gd.axes(learning_rate=[config.learning_rate], seed=range(config.seeds)),
        config.epochs * epoch,
        batch_size=config.batch_size,
        record_every=epoch,
        metrics=metrics,
    )
    assert problem.predict is not None  # never None for this problem
    predict = jax.jit(problem.predict)
    others = [gd.streams(1, seed=s).init for s in range(config.random_networks)]
    guess = jax.jit(
        jax.vmap(
            lambda key, tests: problem.metrics["test_accuracy"].function(problem.init(key), tests),
            in_axes=(0, None),
        )
    )
    return xr.Dataset(
        {
            "cost": ("record", descent.cost),
            "test_cost": ("record", descent.metrics["test_cost"]),
            "test_accuracy": ("record", descent.metrics["test_accuracy"]),
            "image": (("test", "pixel"), images),
            "label": ("test", labels),
            "before": (("test", "class"), np.asarray(predict(start, jnp.asarray(images)))),
            "after": (("test", "class"), np.asarray(predict(descent.params, jnp.asarray(images)))),
            "weight": (("neuron", "pixel"), np.asarray(descent.params[0].weights)),
            "seeds_cost": (("seed", "record"), many.cost.values[0]),
            "seeds_test_cost": (("seed", "record"), many.test_cost.values[0]),
            "seeds_accuracy": (("seed", "record"), many.test_accuracy.values[0]),
            "guess": ("network", np.asarray(guess(jnp.stack(others), tests))),
        },
        {"epoch": ("record", descent.recorded_steps / epoch)},
        {
            "baseline": problem.baseline,
            "outcome": str(descent.outcome),
            "parameters": problem.network.parameter_count,
            "data_hash": (problem.provenance or {})["hash"],
            "seconds": dict(descent.seconds),
        },
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw learning curves, confusion matrices, errors, and first-layer weights."""
    return training.training_figures(
        epoch=dataset.epoch.values,
        cost=dataset.cost.values,
        accuracy=dataset.test_accuracy.values,
        test_cost=dataset.test_cost.values,
        baseline=dataset.attrs["baseline"],
        inputs=dataset.image.values,
        labels=dataset.label.values,
        before=dataset.before.values,
        after=dataset.after.values,
        weights=dataset.weight.values,
    )


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
