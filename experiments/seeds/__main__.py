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
from scipy import stats

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import shrunk
from experiments.shared.runs import crossed_runs
from experiments.shared.statistics import halves, shares, with_ends
from gdjax.base.statistics import Interval, mean
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, Figure


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training."""

    data: str = "mnist5k"  # name of a data set of 28x28 digits
    learned: int = 2000  # number of training images; all others are test images
    widths: tuple[int, ...] = (16, 16)  # number of neurons in each hidden layer
    starts: int = 64  # number of starting points
    orders: int = 32  # number of orders of the mini-batches, each combined with every start
    learning_rate: float = 5.0  # initial learning rate, with cosine decay to 0
    batch_size: int = 32  # number of images per step
    epochs: tuple[int, ...] = (10, 20, 40)  # numbers of epochs, one for each length of training
    resamples: int = 400  # number of bootstrap resamples


def weighted(right: np.ndarray, weight: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """Return statistics of the accuracies of weighted networks, and on both halves of the images.

    The array `right` has the shape [networks, images]; the weights sum to the number of networks.
    """
    share = weight / weight.sum()
    networks, images = weight.sum(), right.shape[1]
    p = share @ right
    both = [right[:, side].mean(axis=1) for side in (half, ~half)]
    accuracy = right.mean(axis=1)

    def covariance(a, b):
        return (share @ (a * b) - (share @ a) * (share @ b)) * networks / (networks - 1)

    shared = covariance(*both)
    falling = np.argsort(-both[0])
    best = falling[np.cumsum(share[falling]) - share[falling] < 0.01]
    return {
        "accuracy": share @ accuracy,
        "deviation": np.sqrt(covariance(accuracy, accuracy)),
        "luck_of_images": np.sum(p * (1 - p)) / images**2 * networks / (networks - 1)
        / covariance(accuracy, accuracy),
        "correlation_of_halves": shared
        / np.sqrt(covariance(both[0], both[0]) * covariance(both[1], both[1])),
        "deviation_of_quality": np.sqrt(max(shared, 0)),
        "best_on_one_half": np.average(both[0][best], weights=weight[best]) - share @ both[0],
        "the_same_on_the_other": np.average(both[1][best], weights=weight[best]) - share @ both[1],
    }  # fmt: skip


def lucky(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return the statistics of `weighted` for all networks, with bootstrap intervals.

    The bootstrap resamples whole starts and orders, and draws a new half of the images for each
    resample. Each value is the mean over 50 random halves.
    """
    right = dataset.right.values
    starts, orders, images = right.shape
    flat = right.reshape(-1, images).astype(np.float32)
    rng = np.random.default_rng(0)
    one = np.ones(len(flat))
    values = [weighted(flat, one, halves(images, rng)) for _ in range(50)]
    drawn = []
    for _ in range(dataset.attrs["resamples"]):
        counts = [rng.multinomial(n, np.full(n, 1 / n)) for n in (starts, orders)]
        drawn.append(weighted(flat, np.outer(*counts).ravel(), halves(images, rng)))
    intervals = {}
    for name in values[0]:
        value = float(np.mean([one[name] for one in values]))
        low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975]).tolist()
        intervals[name] = Interval(value, low, high, 0.95, len(flat))
    return intervals


def disagreement(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return the share of images that only one of two networks classifies correctly.

    Pairs are grouped by a common start, a common order, or neither. The intervals are Student's t
    intervals over starts.
    """
    x = dataset.right.values.astype(np.float32)
    a, b = x.shape[:2]
    start_sums, order_sums = x.sum(axis=1, keepdims=True), x.sum(axis=0, keepdims=True)
    # For each network and image: the share of the networks paired with it that classify the image
    # correctly.
    paired = {
        "one_start": (start_sums - x) / (b - 1),
        "one_order": (order_sums - x) / (a - 1),
        "neither": (x.sum(axis=(0, 1)) - start_sums - order_sums + x) / ((a - 1) * (b - 1)),
    }
    return {f"apart_of_{n}": mean((x + p - 2 * x * p).mean(axis=(1, 2))) for n, p in paired.items()}


def intervals(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return all statistics with intervals, for one length of training."""
    accuracy = dataset.right.values.mean(axis=2)
    return lucky(dataset) | shares(accuracy) | disagreement(dataset)


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies, the share of luck, and pairwise differences, by length of training."""
    by_epochs = {
        str(epochs): {name: one[:3] for name, one in intervals(dataset.sel(epochs=epochs)).items()}
        for epochs in dataset.epochs.values
    }
    networks = dataset.sizes["start"] * dataset.sizes["order"]
    return {"networks": networks, "images": dataset.sizes["image"], "epochs": by_epochs}


def run(config: Config) -> xr.Dataset:
    """Return which images each network classifies correctly, by length of training."""
    problem = gd.problems.digits(shrunk(config.data, config.learned), widths=config.widths)
    trained = xr.concat([train(config, problem, epochs) for epochs in config.epochs], "epochs")
    return trained.assign_coords(epochs=[*config.epochs]).assign_attrs(resamples=config.resamples)


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
    cost = (("start", "order"), runs.cost.isel(step=-1).values)
    return xr.Dataset({"right": (("start", "order", "image"), np.array(right)), "cost": cost})


COMMON_PARTS = {"neither": "nothing", "one_order": "the order", "one_start": "the start"}


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies, accuracies on both halves, and shares, by length of training."""
    half = halves(dataset.sizes["image"], np.random.default_rng(0))
    lengths = dataset.epochs.values
    statistics = [intervals(dataset.sel(epochs=epochs)) for epochs in lengths]
    figure = Figure(figsize=(13, 0.6 + 4.2 * len(lengths)))
    rows = figure.subplots(len(lengths), 3, squeeze=False)
    for epochs, one, (spread, against, pairs) in zip(lengths, statistics, rows, strict=True):
        right = dataset.right.sel(epochs=epochs).values
        draw_spread(spread, 100 * right.mean(axis=2).ravel(), one)
        spread.set_title(f"{epochs} epochs")
        both = (100 * right[..., side].mean(axis=2).ravel() for side in (half, ~half))
        draw_halves(against, *both, one["correlation_of_halves"])
        draw_pairs(pairs, [one[f"apart_of_{name}"] for name in COMMON_PARTS])
    shares = ", ".join(f"{one['luck_of_images'].value:.0%}" for one in statistics)
    figure.suptitle(
        f"Chance in single images accounts for {shares} of the variance "
        f"of the accuracies of {dataset.sizes['start'] * dataset.sizes['order']:,} networks"
    )
    return {"luck": figure}


def draw_spread(axes, percent, statistics):
    """Draw the distribution of accuracies, and that expected from chance alone."""
    luck = np.sqrt(statistics["luck_of_images"].value) * statistics["deviation"].value * 100
    axes.hist(percent, bins=40, density=True, color=BLUE, alpha=0.5, label="networks")
    x = np.linspace(percent.min(), percent.max(), 200)
    for width, color, name in (
        (percent.std(), BLUE, "normal"),
        (luck, VERMILLION, "chance alone"),
    ):
        label = rf"{name}, $\sigma$ = {width:.2f}"
        axes.plot(x, stats.norm.pdf(x, percent.mean(), width), color=color, label=label)
    axes.set(xlabel="test accuracy, %", ylabel="density of networks")
    axes.set_ylim(top=1.45 * axes.get_ylim()[1])
    axes.legend(loc="upper left", handlelength=1)


def draw_halves(axes, first, second, r):
    """Draw accuracies on one half of the images against those on the other."""
    axes.plot(first, second, ".", color=GREY, markersize=2, rasterized=True)
    best = np.argsort(first)[-max(len(first) // 100, 1) :]
    label = "best 1 % on this half"
    axes.plot(first[best], second[best], "o", color=VERMILLION, markersize=3, label=label)
    axes.axhline(second.mean(), color=BLUE, linewidth=1, label="mean on the other half")
    axes.set_title(f"correlation {with_ends(r)}")
    axes.set(xlabel="accuracy on one half, %", ylabel="accuracy on the other half, %")
    low, high = axes.get_ylim()
    axes.set_ylim(top=high + 0.25 * (high - low))  # space for the legend
    axes.legend(loc="upper left", handlelength=1)


def draw_pairs(axes, disagreements):
    """Draw how many images only one of two networks classifies correctly."""
    height, low, high = 100 * np.array([one[:3] for one in disagreements]).T
    error, positions = [height - low, high - height], np.arange(len(height))
    axes.barh(positions, height, 0.6, color=[GREY, GREEN, BLUE], xerr=error, capsize=4)
    axes.set_yticks(positions, list(COMMON_PARTS.values()))
    axes.invert_yaxis()
    axes.set_ylabel("common part of two networks")
    axes.set_xlabel("images that one of two\nnetworks misclassifies, %")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
