"""Which learning rate, and how much does the starting point change the answer?

    w_{t+1} = w_t - learning_rate * grad C(w_t)

The digit network (784-16-16-10, quadratic cost, mini-batches of 32) is trained at learning rates
from far too small to far too large, from many starting points each; once with sigmoids and once
with ReLUs. All runs see the same mini-batches in the same order. Sigmoids are bounded, so the cost
cannot blow up: at a huge rate they saturate and the run is dead. ReLUs can do both.

Then, for every starting point, the largest rate that still ends below the cost of the best answer
that ignores the image (0.9) is bracketed between two rates of the grid, and the bracket is halved
again and again: one sweep a halving, in which every starting point has a rate of its own. Where
rates that train and rates that fail alternate, this finds one of the borders between them.

    python experiments/learning_rates.py           (about 90 s on two cores)

Expected: about 90 % of test digits right for sigmoids at all rates from 0.5 to 10, with the lowest
training cost at 3 and limits between 10 and 22; no run of the sigmoid network ever diverges. ReLUs
need rates a hundred times smaller, and a third of those beyond 2 diverge.
"""

from dataclasses import dataclass

import common
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax.descent import OUTCOMES
from gdjax.errors import InputError
from gdjax.plots import sweeps as plots

INITIALIZERS = {"relu": "he"}  # the others start with the fan-in's


@dataclass(frozen=True)
class Config:
    """Which networks are trained, and how.

    Args:
        data: name of the data set.
        activations: of the networks that are compared.
        lowest: smallest learning rate.
        highest: largest one.
        rates: how many, evenly spaced by ratio.
        seeds: starting points.
        batch_size: images a step.
        epochs: passes over the training set.
        halvings: of each starting point's bracket.
    """

    data: str = "mnist5k"
    activations: tuple[str, ...] = ("sigmoid", "relu")
    lowest: float = 0.0003
    highest: float = 300.0
    rates: int = 25
    seeds: int = 12
    batch_size: int = 32
    epochs: int = 20
    halvings: int = 8


def digits(config: Config, activation: str) -> gd.Problem:
    """The digit network with this activation."""
    return gd.problems.digits(
        config.data, activation=activation, initializer=INITIALIZERS.get(activation, "fan_in")
    )


def bracket(rates: np.ndarray, works: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each seed the largest rate that works, and the next one.

    Args:
        rates: ascending.
        works: [rates, seeds].
    """
    last = len(rates) - 1 - np.argmax(works[::-1], axis=0)
    if np.any(works[-1]) or not np.all(works.any(axis=0)):
        raise InputError(
            f"learning rates from {rates[0]:g} to {rates[-1]:g}: expected that every start trains "
            f"at one of them and none at the largest; widen the range, or give more epochs"
        )
    return rates[last], rates[last + 1]


def bisect(trained, halvings: int, lower: np.ndarray, upper: np.ndarray) -> xr.Dataset:
    """Halve every seed's bracket in the ratio of rates, all of them in one sweep a halving.

    Args:
        trained: `rates [seeds] -> whether each seed's run ends below the baseline`.
        halvings: how often.
        lower: rates that work.
        upper: rates that do not.
    """
    tested, worked = [], []
    for _ in range(halvings):
        rate = np.sqrt(lower * upper)
        works = trained(rate)
        lower, upper = np.where(works, rate, lower), np.where(works, upper, rate)
        tested.append(rate)
        worked.append(works)
    return xr.Dataset(
        {
            "tested": (("halving", "seed"), np.array(tested)),
            "worked": (("halving", "seed"), np.array(worked)),
            "largest_rate": ("seed", lower),
            "smallest_failure": ("seed", upper),
        }
    )


def one(config: Config, runs: xr.Dataset, problem: gd.Problem) -> xr.Dataset:
    """What a sweep found, and the largest rate of each of its seeds."""
    steps = int(runs.step[-1])

    def trained(rate):
        ends = gd.sweep(
            problem,
            gd.axes(run=gd.together(learning_rate=rate, seed=runs.seed.values)),
            steps,
            batch_size=config.batch_size,
            record_every=steps,
            measures={},
        )
        return ends.cost.values[:, -1] < problem.baseline

    works = runs.cost.values[..., -1] < problem.baseline
    found = bisect(trained, config.halvings, *bracket(runs.learning_rate.values, works))
    kept = runs[["cost", "test_accuracy", "outcome", "diverged_at"]]
    return xr.merge([kept, found.assign(baseline=problem.baseline)], combine_attrs="drop")


def run(config: Config) -> xr.Dataset:
    """All networks, along a dimension `activation`."""
    problems = {name: digits(config, name) for name in config.activations}
    epoch = gd.descent.steps_for(1, next(iter(problems.values())).samples, config.batch_size)
    tree = gd.compare(
        problems,
        gd.axes(
            learning_rate=np.geomspace(config.lowest, config.highest, config.rates),
            seed=range(config.seeds),
        ),
        config.epochs * epoch,
        batch_size=config.batch_size,
        record_every=epoch,
    )
    found = [one(config, tree[name].to_dataset(), problems[name]) for name in problems]
    joined = xr.concat(found, "activation").assign_attrs(activations=list(problems))
    return joined.assign_coords(epoch=("step", joined.step.values / epoch))


def by_activation(dataset):
    """Each network's results by its name."""
    for index, name in enumerate(dataset.attrs["activations"]):
        yield name, dataset.isel(activation=index)


def stretches(works: np.ndarray) -> np.ndarray:
    """How many separate stretches of rates work, for each seed; more than 1 is no single limit."""
    before = np.concatenate([np.zeros((1, works.shape[1]), bool), works[:-1]])
    return np.sum(works & ~before, axis=0)


def numbers(dataset: xr.Dataset) -> dict:
    """The best rate by training cost, what it reaches, where it ends, and how the others end."""
    found: dict = {}
    rates = dataset.learning_rate.values
    for name, runs in by_activation(dataset):
        cost, accuracy = runs.cost.values[..., -1], runs.test_accuracy.values[..., -1]
        low, half, high = plots.quantiles(accuracy)
        best = int(np.argmin(plots.quantiles(cost)[1]))
        good = rates[half >= half[best] - 0.02]
        limits = runs.largest_rate.values
        works = cost < float(runs.baseline)
        found |= {
            f"{name}_best_rate": float(rates[best]),
            f"{name}_accuracy_at_best": float(half[best]),
            f"{name}_accuracy_at_best_quartiles": [float(low[best]), float(high[best])],
            f"{name}_accuracy_within_2_points_from": float(good.min()),
            f"{name}_accuracy_within_2_points_to": float(good.max()),
            f"{name}_accuracy_at_lowest_rate": float(half[0]),
            f"{name}_largest_rate_median": float(np.quantile(limits, 0.5, method="inverted_cdf")),
            f"{name}_largest_rate_least": float(limits.min()),
            f"{name}_largest_rate_most": float(limits.max()),
            f"{name}_largest_rate_uncertainty": float(
                np.max(runs.smallest_failure.values / limits) - 1
            ),
            f"{name}_seeds_with_gaps": int(np.sum(stretches(works) > 1)),
        }
        for code, outcome in enumerate(OUTCOMES):
            shares = np.mean(runs.outcome.values == code, axis=1)
            if outcome in ("dead", "diverged"):
                found[f"{name}_share_{outcome}_at_most"] = float(shares.max())
                found[f"{name}_runs_{outcome}"] = int(np.sum(runs.outcome.values == code))
    return found


def plot(dataset: xr.Dataset) -> dict:
    """How runs end and how they get there, for each network; and every start's own limit."""
    pictures = {}
    rates = dataset.learning_rate.values
    limits = {}
    for name, runs in by_activation(dataset):
        pictures[f"ends_{name}"] = plots.ends_by_setting(
            rates,
            runs.test_accuracy.values[..., -1],
            runs.cost.values[..., -1],
            runs.outcome.values,
            outcomes=OUTCOMES,
            baseline=float(runs.baseline),
        )
        pictures[f"curves_{name}"] = plots.curves_by_setting(
            dataset.epoch.values, rates, runs.cost.values
        )
        best = rates[np.argmin(plots.quantiles(runs.cost.values[..., -1])[1])]
        limits[f"{name} network"] = plots.Bisection(runs.tested.values, runs.worked.values, best)
    return pictures | {"largest_rates": plots.bisections(limits)}


if __name__ == "__main__":
    common.main("learning_rates", Config, run, plot, numbers)
