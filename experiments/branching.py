"""When is it decided in which valley a descent ends?

    w'_t = w_t + sigma on one weight;   then both go on, with the same mini-batches, to the end

Digit networks are trained on mnist5k, and each is taken again up to some step t, where one weight,
chosen at random, is changed by sigma; nothing else differs. Asked is how far the two ends are
apart, and how high the cost rises between them: on the straight line, and after the neurons of one
are rearranged so that its weights fit the other's. Beside it, the same of independent starts.

    python experiments/branching.py           (about 2 min on two cores)

Expected: an early change of a single weight leads to an end behind a barrier, a late one does not
(published: arXiv 2506.13234, for ResNets on CIFAR, where it is decided within the first few per
cent of training).
"""

from dataclasses import dataclass
from typing import Any

import common
import jax
import numpy as np
import xarray as xr
from drawings import branches as plots

import gdjax as gd
from gdjax import minima, statistics

BETWEEN = ("barrier", "matched_barrier", "distance")


@dataclass(frozen=True)
class Config:
    """Which descents branch, when, and how.

    Args:
        data: name of the data set.
        samples: only the first so many training images; None takes all.
        width: neurons in each of the two hidden layers.
        learning_rate: of plain descent.
        batch_size: images a step.
        epochs: passes over the training set.
        branch_steps: at which steps branches leave; those beyond the end are left out.
        perturbations: sizes of a change.
        perturb: what is changed: "one_weight", or all in a random "direction" of that length.
        trunks: descents that are branched from, of different starts.
        pushes: branches of each, at each step and size.
        slab: runs a device computes at a time: the same for trunks and branches.
        points: along each line, the ends among them.
    """

    data: str = "mnist5k"
    samples: int | None = None
    width: int = 16
    learning_rate: float = 3.0
    batch_size: int = 32
    epochs: int = 15
    branch_steps: tuple[int, ...] = (0, 10, 30, 100, 300, 1000, 2000)
    perturbations: tuple[float, ...] = (0.001, 0.03, 1.0)
    perturb: str = "one_weight"
    trunks: int = 3
    pushes: int = 8
    slab: int = 12
    points: int = 15


def run(config: Config) -> xr.Dataset:
    """Ends of all branches against the ends of their trunks, and trunks against each other."""
    widths = (config.width, config.width)
    problem = gd.problems.digits(config.data, widths=widths, samples=config.samples)
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    asked: dict[str, Any] = {
        "batch_size": config.batch_size,
        "record_every": steps,
        "width": config.slab,
    }
    starts = gd.axes(learning_rate=[config.learning_rate], seed=range(config.trunks))
    trunks = gd.sweep(problem, starts, steps, **asked)
    grid = gd.axes(
        branch_step=[step for step in config.branch_steps if step <= steps],
        perturbation=config.perturbations,
        perturbation_seed=range(config.pushes),
    )
    found = []
    for seed in range(config.trunks):
        trunk = {"learning_rate": config.learning_rate, "seed": seed}
        branches = gd.sweep(problem, grid, steps, trunk=trunk, perturb=config.perturb, **asked)
        found.append(_against(config, problem, grid, branches, trunks.sel(seed=[seed])))
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    independent = _between(config, problem, stacked(problem, trunks), *_pairs(config.trunks))
    beside = {f"independent_{name}": ("pair", value) for name, value in independent.items()}
    beside["trunk_cost"] = ("trunk", trunks.cost.values[0, :, -1])
    joined = xr.concat(found, "trunk").assign(beside)
    return joined.assign_attrs(baseline=problem.baseline, epoch=epoch, steps=steps)


def stacked(problem, runs):
    """Parameters of all runs of a sweep, with one leading axis."""
    like = problem.init(jax.random.key(0))
    ends = gd.params_of(runs, like, {})
    return jax.tree.map(lambda leaf, one: np.asarray(leaf).reshape(-1, *np.shape(one)), ends, like)


def _pairs(count):
    return np.triu_indices(count, 1)


def _against(config, problem, grid, branches, trunk):
    """Each branch's end against its trunk's."""
    ends = jax.tree.map(
        lambda one, many: np.concatenate([one, many]),
        stacked(problem, trunk),
        stacked(problem, branches),
    )
    count = grid.runs
    between = _between(config, problem, ends, np.arange(1, count + 1), np.zeros(count, int))
    dims = tuple(grid.sizes)
    shaped = {name: (dims, value.reshape(grid.shape)) for name, value in between.items()}
    for name in ("cost", "test_accuracy"):
        shaped[name] = (dims, branches[name].values[..., -1].reshape(grid.shape))
    return xr.Dataset(shaped, {dim: branches[dim] for dim in dims})


def _between(config, problem, ends, first, second):
    """Barriers between pairs of ends, straight and matched, and their distance."""
    matched = minima.match_pairs(problem.network, ends, first, second, key=jax.random.key(1))
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], ends) for k in (first, second))

    @jax.jit
    def look(a, b, how, problem):
        def one(pair):
            a, b, how = pair
            arranged = minima.arrange(problem.network, a, how)
            return tuple(
                minima.barrier(
                    minima.along(problem, minima.between(start, b), points=config.points)
                )
                for start in (a, arranged)
            )

        return jax.lax.map(one, (a, b, how))

    straight, after = look(a, b, matched.arrangement, problem)
    squares = jax.tree.map(lambda x, y: np.sum((x - y) ** 2, axis=tuple(range(1, x.ndim))), a, b)
    distance = np.sqrt(sum(jax.tree.leaves(squares)))
    return dict(zip(BETWEEN, map(np.asarray, (straight, after, distance)), strict=True))


def by_size(dataset: xr.Dataset, name: str) -> dict[float, list[statistics.Interval]]:
    """Medians over trunks and pushes at each step, with intervals, by the size of the change."""
    runs = dataset[name].stack(run=("trunk", "perturbation_seed"))
    return {
        float(size): [
            statistics.median(runs.sel(perturbation=size, branch_step=step).values)
            for step in dataset.branch_step.values
        ]
        for size in dataset.perturbation.values
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Medians over trunks and pushes, with intervals, and the same of independent starts."""
    found: dict = {}
    for name in BETWEEN:
        found[f"independent_{name}"] = float(dataset[f"independent_{name}"].median())
        for size, medians in by_size(dataset, name).items():
            for step, one in zip(dataset.branch_step.values, medians, strict=True):
                place = f"{name}_{size:g}_at_{step}"
                found[place] = one.value
                found[f"{place}_interval"] = [one.low, one.high]
    found["trunk_cost"] = float(dataset.trunk_cost.median())
    found["test_accuracy"] = float(dataset.test_accuracy.median())
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Distance and barriers against the step of the change."""
    return {
        "branches": plots.by_step(
            dataset.branch_step.values,
            {name: by_size(dataset, name) for name in BETWEEN},
            {name: float(dataset[f"independent_{name}"].median()) for name in BETWEEN},
            epoch=dataset.attrs["epoch"],
            steps=dataset.attrs["steps"],
        )
    }


if __name__ == "__main__":
    common.main("branching", Config, run, plot, numbers)
