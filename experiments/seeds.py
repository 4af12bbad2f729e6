"""How much of a network's test accuracy is luck, and does a lucky network stay lucky?

    Var(accuracy) over seeds   against   sum_i p_i (1 - p_i) / n^2,   p_i: who reads image i right

2,048 networks 100-16-16-10 are trained by one recipe on 2,000 digits of 10x10 pixels and read the
other 3,000: 64 starting points crossed with 32 orders of the mini-batches; for 10, 20 and 40
epochs, each a descent of its own. If every image were read right or wrong by a coin of its own,
accuracies would still differ, by the right-hand side; what they differ by beyond it is quality.
Then a network that is good on one half of the images is good on the other. And are networks of one
start alike, or those of one order?

    python experiments/seeds.py           (about 3.5 min of processor time)

Expected: the longer the training the more of the variance is the images' coins, and after the
longest most of it (published for CIFAR-10: arXiv 2304.01910), so that the best hundredth on one
half is little better than the others on the other half. Refuted by a share of luck that does not
rise from one length to the next, its intervals overlapping, or that in the end has an interval
below a half. Starts and orders decide alike if the intervals of their shares of the variance
overlap.
"""

from dataclasses import dataclass

import common
import jax
import numpy as np
import optax
import xarray as xr
from drawings import luck as plots
from scipy import stats
from variants.images import shrunk

import gdjax as gd
from gdjax.statistics import Interval, mean


@dataclass(frozen=True)
class Config:
    """Which networks, and how they are trained.

    Args:
        data: name of the data set, of 28x28 digits.
        learned: images to learn from; all others are read.
        widths: hidden neurons a layer.
        starts: starting points.
        orders: orders of the mini-batches, each with every start.
        learning_rate: at the beginning; it falls to 0 along half a cosine.
        batch_size: images a step.
        epochs: passes over the images, of several trainings.
        resamples: of the bootstrap.
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
    """Which image is read right by which network, after each length of training."""
    problem = gd.problems.digits(shrunk(config.data, config.learned), widths=config.widths)
    trained = [train(config, problem, epochs) for epochs in config.epochs]
    return xr.concat(trained, "epochs").assign_coords(epochs=list(config.epochs)).assign_attrs(
        resamples=config.resamples
    )  # fmt: skip


def train(config: Config, problem: gd.Problem, epochs: int) -> xr.Dataset:
    """Networks of all starts and orders, and what each reads."""
    steps = gd.descent.steps_for(epochs, problem.samples, config.batch_size)
    falling = optax.cosine_decay_schedule(config.learning_rate, steps)
    runs = gd.sweep(
        problem,
        gd.axes(seed=range(config.starts), data_seed=range(config.orders)),
        steps,
        batch_size=config.batch_size,
        record_every=steps,
        make_optimizer=lambda: optax.sgd(falling),
    )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    images, labels = problem.metrics["test_accuracy"].data
    assert problem.predict is not None  # this problem always has one
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


def weighted(right: np.ndarray, weight: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """Variance, luck and halves of networks that count so many times each.

    Args:
        right: [networks, images].
        weight: of each network; their sum is what they stand for.
        half: of each image, whether it is in the first half.
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


def halves(images: int, rng: np.random.Generator) -> np.ndarray:
    """A random half of the images."""
    return rng.permutation(images) < images // 2


def lucky(dataset: xr.Dataset) -> dict[str, Interval]:
    """What `weighted` says of all networks, with bootstrap intervals.

    Starts and orders are drawn anew, each with all its networks, and so are the halves. The value
    is the mean over 50 cuts of the images into halves.
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
    found = {}
    for name in values[0]:
        low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975])
        value = float(np.mean([one[name] for one in values]))
        found[name] = Interval(value, float(low), float(high), 0.95, len(flat))
    return found


def shares(accuracy: np.ndarray) -> dict[str, Interval]:
    """Shares of the variance of [starts, orders] that starts and orders have for themselves.

        accuracy = mean + start + order + remainder,   MS_start / MS_remainder ~ (1 + b theta) F

    theta is the start's variance over the remainder's, b the number of orders. Intervals are exact
    for theta; for the share the other axis's theta is held.

    Source: Searle, Casella and McCulloch 1992, *Variance components*, 4.5.
    """
    a, b = accuracy.shape
    away = accuracy - accuracy.mean()
    rows, columns = away.mean(axis=1), away.mean(axis=0)
    rest = away - rows[:, None] - columns
    square = np.sum(rest**2) / ((a - 1) * (b - 1))
    ratios = {}
    for name, means, across in (("start", rows, b), ("order", columns, a)):
        freedom = len(means) - 1
        F = across * np.sum(means**2) / freedom / square
        ends = [F / stats.f.ppf(q, freedom, (a - 1) * (b - 1)) for q in (0.975, 0.025)]
        ratios[name] = [max((x - 1) / across, 0.0) for x in (F, *ends)]
    found = {}
    for name, other in (("start", "order"), ("order", "start")):
        value, low, high = (float(x / (1 + x + ratios[other][0])) for x in ratios[name])
        found[f"share_of_{name}"] = Interval(value, low, high, 0.95, a * b)
    return found


def apart(dataset: xr.Dataset) -> dict[str, Interval]:
    """Share of images that one of two networks reads and the other does not, by what they share.

    With Student's intervals over the starts.
    """
    x = dataset.right.values.astype(np.float32)
    a, b = x.shape[:2]
    of_start, of_order = x.sum(axis=1, keepdims=True), x.sum(axis=0, keepdims=True)
    # How many of those that a network is compared with read each image.
    others = {
        "one_start": (of_start - x) / (b - 1),
        "one_order": (of_order - x) / (a - 1),
        "neither": (x.sum(axis=(0, 1)) - of_start - of_order + x) / ((a - 1) * (b - 1)),
    }
    return {
        f"apart_of_{name}": mean((x + p - 2 * x * p).mean(axis=(1, 2)))
        for name, p in others.items()
    }


def intervals(dataset: xr.Dataset) -> dict[str, Interval]:
    """Everything that is asked of one length of training, with intervals."""
    accuracy = dataset.right.values.mean(axis=2)
    return lucky(dataset) | shares(accuracy) | apart(dataset)


def numbers(dataset: xr.Dataset) -> dict:
    """Accuracies, what of their variance is luck, and of what networks are alike."""
    found: dict = {
        "networks": dataset.sizes["start"] * dataset.sizes["order"],
        "images": dataset.sizes["image"],
    }
    for epochs in dataset.epochs.values:
        one = dataset.sel(epochs=epochs)
        accuracy = one.right.values.mean(axis=2).ravel()
        told: dict = {
            "accuracy_least": float(accuracy.min()),
            "accuracy_most": float(accuracy.max()),
            "cost_most": float(one.cost.max()),
            "skewness": float(stats.skew(accuracy)),
            "excess_kurtosis": float(stats.kurtosis(accuracy)),
        }
        for name, interval in intervals(one).items():
            told |= {name: interval.value, f"{name}_interval": [interval.low, interval.high]}
        found |= {f"{name}_after_{epochs}": value for name, value in told.items()}
    return found


def plot(dataset: xr.Dataset) -> dict:
    """The distribution, half against half, and what is whose doing, after each length."""
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
    return {"luck": plots.of_seeds(rows)}


if __name__ == "__main__":
    common.main("seeds", Config, run, plot, numbers)
