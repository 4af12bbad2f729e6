"""How does a network learn to classify digits, and to which features does it respond?

    minimize C = 1/n sum_i |network(image_i) - onehot(label_i)|^2  by  w <- w - learning_rate grad C

    python -m experiments.digits                  (about 60 s)

Expected: a test accuracy of about 10 % before training (mean over 64 random networks 10 +- 1 %) and
a median of at least 89 % after 30 epochs on 4,000 images; about 94.5 % with `--data mnist --epochs
10`. This is refuted if the interval of the median accuracy after training lies below these values.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax import statistics
from gdjax.plots import training


@dataclass(frozen=True)
class Config:
    """Network, data and settings of the descent."""

    data: str = "mnist5k"  # name of the data set
    widths: tuple[int, ...] = (16, 16)  # number of neurons in each hidden layer
    epochs: int = 30  # number of passes over the training images
    learning_rate: float = 1.0  # learning rate of plain gradient descent
    batch_size: int = 32  # number of images per step
    seeds: int = 16  # number of starting points; the figures show the first one
    random_networks: int = 64  # number of untrained networks whose accuracy is evaluated


def run(config: Config) -> xr.Dataset:
    """Return results of one descent, of descents by seed, and of untrained networks."""
    problem = gd.problems.digits(config.data, widths=config.widths)
    streams = gd.run_keys(0)
    start = problem.init(streams.init)
    images, labels = tests = problem.metrics["test_accuracy"].data
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    settings: dict = {
        "batch_size": config.batch_size,
        "record_every": epoch,
        "metrics": {**problem.metrics, "test_cost": gd.Metric(gd.problems.evaluate, data=tests)},
    }
    steps, sgd = config.epochs * epoch, optax.sgd(config.learning_rate)
    descent = gd.descend(problem, sgd, start, steps, key=streams.order, **settings)
    axes = gd.axes(learning_rate=[config.learning_rate], seed=range(config.seeds))
    many = gd.sweep(problem, axes, steps, **settings).isel(learning_rate=0)
    assert problem.predict is not None  # never None for this problem
    predict = jax.jit(problem.predict)
    keys = gd.run_keys(1, seed=np.arange(config.random_networks)).init
    accuracy, unseen = problem.metrics["test_accuracy"].measure, replace(problem, data=tests)
    guess = jax.jit(jax.vmap(lambda key, unseen: accuracy(unseen, problem.init(key)), (0, None)))
    return xr.Dataset(
        {
            "cost": ("record", descent.cost),
            "test_cost": ("record", descent.metrics["test_cost"]),
            "test_accuracy": ("record", descent.metrics["test_accuracy"]),
            "image": (("test", "pixel"), images),
            "label": ("test", labels),
            "before": (("test", "class"), np.asarray(predict(start, images))),
            "after": (("test", "class"), np.asarray(predict(descent.params, images))),
            "weight": (("neuron", "pixel"), np.asarray(descent.params[0].weights)),
            "seeds_cost": (("seed", "record"), many.cost.values),
            "seeds_test_cost": (("seed", "record"), many.test_cost.values),
            "seeds_accuracy": (("seed", "record"), many.test_accuracy.values),
            "guess": ("network", np.asarray(guess(keys, unseen))),
        },
        {"epoch": ("record", descent.recorded_steps / epoch)},
        {"baseline": problem.baseline, "parameters": problem.network.parameter_count},
    )


def numbers(dataset: xr.Dataset) -> dict:
    """Return costs and accuracies before and after training, and the errors after it."""
    matrix = training.confusion_matrix(
        dataset.label.values, np.argmax(dataset.after.values, axis=1), dataset.sizes["class"]
    )
    errors = matrix - np.diag(np.diag(matrix))
    true_digit, read_digit = np.unravel_index(np.argmax(errors), errors.shape)
    right = np.diag(matrix) / matrix.sum(axis=1)
    cost, test_cost, accuracy = (
        dataset[f"seeds_{name}"].values.T for name in ("cost", "test_cost", "accuracy")
    )
    return {
        "parameters": dataset.attrs["parameters"],
        "baseline_cost": dataset.attrs["baseline"],
        "seeds": dataset.sizes["seed"],
        "epoch": {
            f"{dataset.epoch.values[record]:g}": {
                "test_accuracy": statistics.median(accuracy[record])[:3],
                "cost": statistics.median(cost[record])[:3],
            }
            for record in (1, -1)
        },
        "test_accuracy_least": float(accuracy[-1].min()),
        "test_accuracy_most": float(accuracy[-1].max()),
        "test_minus_training_cost": statistics.paired(cost[-1], test_cost[-1])[:3],
        "random_networks_mean_accuracy": statistics.mean(dataset.guess.values)[:3],
        "most_frequent_error": f"{true_digit} taken for {read_digit}, {errors.max()} times",
        "worst_read": int(np.argmin(right)),
        "worst_read_share": float(right.min()),
    }


plot = training.training_figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
