"""How much of the variance of test accuracy is due to chance, and how much to quality?

    Var(accuracy) over seeds against sum_i p_i (1 - p_i) / n^2, p_i: share of networks that
    classify image i correctly

    python -m experiments.seeds           (about 3.5 min of processor time)

Expected: the share of luck increases with the length of training, and after the longest training it
is most of the variance (published for CIFAR-10: arXiv 2304.01910). The best 1 % of the networks on
one half of the images are then little better than the other networks on the other half. This is
refuted if the share of luck does not rise from one length of training to the next (the intervals
overlap), or if its last interval lies below a half. Starts and orders are considered to have equal
effects if the intervals of their shares of the variance overlap.
"""

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.crossed_runs import crossed_runs
from experiments.shared.images import shrunk

from . import figures as plots
from .summary import halves, intervals, numbers


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training.

    Args:
        data: name of a data set of 28x28 digits.
        learned: number of training images; all others are test images.
        widths: number of neurons in each hidden layer.
        starts: number of starting points.
        orders: number of orders of the mini-batches, each combined with every start.
        learning_rate: initial learning rate, with cosine decay to 0.
        batch_size: number of images per step.
        epochs: numbers of passes over the training images, one for each length of training.
        resamples: number of bootstrap resamples.
    """

    data: str = "mnist5k"
    learned: int = 2000
    widths: tuple[int, ...] = (16, 16)
    starts: int = 64
    orders: int = 32
    learning_rate: float = 5.0
    batch_size: int = 32
    epochs: tuple[int, ...] = (10, 20, 40)
    resamples: int = 400


def run(config: Config) -> xr.Dataset:
    """Return which images each network classifies correctly, by length of training."""
    problem = gd.problems.digits(shrunk(config.data, config.learned), widths=config.widths)
    trained = [train(config, problem, epochs) for epochs in config.epochs]
    return xr.concat(trained, "epochs").assign_coords(epochs=list(config.epochs)).assign_attrs(
        resamples=config.resamples
    )  # fmt: skip


def train(config: Config, problem: gd.Problem, epochs: int) -> xr.Dataset:
    """Return the costs of all networks, and which images each classifies correctly."""
    runs = crossed_runs(config, problem, epochs, config.learning_rate)
    like = jax.eval_shape(problem.init, jax.random.key(0))
    images, labels = problem.metrics["test_accuracy"].data
    assert problem.predict is not None  # never None for this problem
    read = jax.jit(jax.vmap(problem.predict, in_axes=(0, None)))
    right = [
        np.asarray(read(gd.params_of(runs, like, {"seed": seed}), images)).argmax(-1) == labels
        for seed in range(config.starts)
    ]
    return xr.Dataset(
        {
            "right": (("start", "order", "image"), np.array(right)),
            "cost": (("start", "order"), runs.cost.isel(step=-1).values),
        }
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies, accuracies on both halves, and shares, by length of training."""
    half = halves(dataset.sizes["image"], np.random.default_rng(0))
    rows = {}
    for epochs in dataset.epochs.values:
        one = dataset.sel(epochs=epochs)
        right = one.right.values
        rows[f"{epochs} epochs"] = plots.Trained(
            right.mean(axis=2).ravel(),
            tuple(right[..., side].mean(axis=2).ravel() for side in (half, ~half)),
            intervals(one),
        )
    return {"luck": plots.accuracy_over_seeds(rows)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
