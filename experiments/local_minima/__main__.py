"""How many different minima do random starts find, and is any of them the lowest?

    minimize C(w) + decay * (sum of squared weights);   end points -> census of classified minima

    python -m experiments.local_minima           (about 100 s of processor time)

Expected: the XOR network 2-2-1 with weight decay has six strict minima, two at cost 0.0138 and four
at 0.0929, and manifolds near 0.116. Nearly all end points of the digit network differ, so the
number of its minima cannot be estimated; if 19 end points are different, the birthday bound states
with 95 % confidence that there are at least 64 minima. This is refuted by another strict minimum of
the XOR network, or by a minimum of the digit network that is reached from at least 20 % of the
starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import xor
from experiments.shared.runs import ends_of
from experiments.shared.trees import datasets
from gdjax.base.statistics import median, share
from gdjax.minima import count_kinds, count_minima
from gdjax.plots import minima
from gdjax.plots.barriers import barrier_matrix


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training."""

    seeds: int = 32  # number of starting points of each digit network
    xor_decay: tuple[float, ...] = (0.0, 1e-4)  # weight decays of the XOR networks, a census each
    xor_steps: int = 5_000  # number of descent steps of the XOR networks
    xor_seeds: int = 150  # number of starting points of each XOR network
    data: str = "mnist5k"  # name of the data set of the digits
    images: int = 100  # number of training images of 28x28 digits
    widths: tuple[int, ...] = (16, 16)  # neurons in each hidden layer, for the 28x28 digits
    decay: float = 1e-3  # weight decay of the digit networks
    steps: int = 5000  # number of descent steps of the digit networks


def census(problem: gd.Problem, steps: int, rule: Callable, seeds: int) -> xr.Dataset:
    """Return the census of the minima reached by descents from all starts."""
    grid = gd.axes(seed=range(seeds))
    runs = gd.sweep(problem, grid, steps, make_optimizer=rule, record_every=steps, metrics={})
    result = count_minima(problem, ends_of(problem, runs), key=jax.random.key(0), max_steps=100)
    return result.assign_coords(seed=("run", runs.seed.values))


def run(config: Config) -> xr.DataTree:
    """Return a tree with a census for each case."""
    plain = partial(optax.sgd, learning_rate=2.0)
    heavy = partial(optax.sgd, learning_rate=3.0, momentum=0.9)
    cases = {}
    for decay in config.xor_decay:
        name = "XOR 2-2-1" + (f", decay {decay:g}" if decay else "")
        cases[name] = census(xor(2, decay, 3.0), config.xor_steps, plain, config.xor_seeds)
    digits = gd.problems.few_digits(
        config.data, samples=config.images, widths=config.widths, decay=config.decay
    )
    name = "digits " + "-".join(map(str, (784, *config.widths, 10)))
    cases[name] = census(digits, config.steps, heavy, config.seeds)
    return xr.DataTree.from_dict(cases)


def summary_of(census: xr.Dataset) -> dict[str, Any]:
    """Return counts of end points, and costs, barriers and accuracies of minima."""
    num_minima = census.sizes["minimum"]
    summary: dict[str, Any] = {
        "runs": {kind.replace(" ", "_"): count for kind, count in count_kinds(census).items()},
        "minima": num_minima,
        "manifolds_at_most": census.sizes["manifold"],
    }
    for name in ("unseen_mass_high", "unseen_number_low"):
        if name in census:
            value = float(census[name])
            summary[name] = None if np.isnan(value) else value
    if num_minima:
        inside = census.minimum_of.values >= 0
        runs = int(census["count"][0])
        summary |= {
            "runs_in_the_lowest": runs,
            "share_in_the_lowest": share(runs, census.sizes["run"])[:3],
            "cost_lowest": float(census.minimum_cost[0]),
            "cost_highest": float(census.minimum_cost[-1]),
            "polishing_moved_beyond_1": np.sum(census.moved.values[inside] > 1),
        }
    if num_minima <= 6:
        summary["each_found_by"] = census["count"].values
        summary["each_costs"] = census.minimum_cost.values
    if "test_accuracy" in census and num_minima:
        accuracy = census.test_accuracy.values
        summary |= {
            "accuracy_of_the_lowest": accuracy[0],
            "accuracy_median": median(accuracy)[:3],
            "accuracy_most": accuracy.max(),
        }
    for kind in ("barrier", "matched_barrier"):
        if kind in census and census[kind].notnull().any():
            pairs = census[kind].values[np.triu_indices(len(census[kind]), 1)]
            summary[kind] = {"least": pairs.min(), "median": np.median(pairs)}
    return summary


def numbers(tree: xr.DataTree) -> dict:
    """Return the summary of each census."""
    return {"case": {name: summary_of(census) for name, census in datasets(tree).items()}}


def plot(tree: xr.DataTree) -> dict:
    """Draw frequencies, and the map and barriers of the digit network."""
    cases = datasets(tree)
    figures = {}
    for name, census in cases.items():
        file, count, runs = name.replace(" ", "_"), census.sizes["minimum"], census.sizes["run"]
        if count > 1 and "test_accuracy" in census:
            title = f"{name}: minima of {runs} runs"
            figures[f"map_{file}"] = minima.embedding(census, title=title).figure
            barriers, matched = census.barrier.values, census.matched_barrier.values
            figures[f"barriers_{file}"] = barrier_matrix(
                {"straight": barriers, "after matching": matched},
                unit="minimum",
                title=f"{name}: barriers between pairs of minima",
            )
        elif count > 1:
            title = f"{name}: {count} minima of {runs} runs"
            file = f"frequencies_{file.replace(',', '')}"
            figures[file] = minima.frequencies(census, title=title).figure
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
