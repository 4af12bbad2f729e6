"""Which learning rate is best, and how much does the starting point matter?

    w_{t+1} = w_t - learning_rate * grad C(w_t)

The digit network (784-16-16-10, quadratic cost, mini-batches of 32) is trained at learning rates
from far too small to far too large, from many starting points each; once with sigmoids and once
with ReLUs. All runs see the same mini-batches in the same order. Sigmoids are bounded, so the cost
cannot blow up: at a huge rate they saturate and the run stalls. ReLUs can do both.

Then, for every starting point, the set of rates that train is looked at on a fine grid around the
largest of them: a run trains if it ends below the cost of the best answer that ignores the image
(0.9). Where rates that train and rates that fail alternate there is no largest one to be found by
bisection; the grid has 40 rates, 4 % apart, and a finer one can only find more that alternate.

    python experiments/learning_rates.py           (about 40 s of processor time)

Expected: about 90 % of test digits right for sigmoids at rate 3, which has the lowest training cost
of rates 3.2 times apart; no run of the sigmoid network ever diverges. About half of 12 starts
alternate between rates of 8 and 40, up to 1.5 times above the first failure. ReLUs need rates a
hundred times smaller, and a third of those beyond 2 diverge. Refuted if each start has one border.
"""

from dataclasses import dataclass

import common
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax import statistics
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
        fine: smallest and largest rate of the fine grid, for each network.
        fine_rates: how many there are, evenly spaced by ratio.
    """

    data: str = "mnist5k"
    activations: tuple[str, ...] = ("sigmoid", "relu")
    lowest: float = 0.0003
    highest: float = 300.0
    rates: int = 13
    seeds: int = 12
    batch_size: int = 32
    epochs: int = 10
    fine: tuple[tuple[float, float], ...] = ((8.0, 40.0), (0.1, 3.0))
    fine_rates: int = 40


def digits(config: Config, activation: str) -> gd.Problem:
    """The digit network with this activation."""
    return gd.problems.digits(
        config.data, activation=activation, initializer=INITIALIZERS.get(activation, "fan_in")
    )


def run(config: Config) -> xr.Dataset:
    """All networks, along a dimension `activation`: the wide grid, and the fine one."""
    if len(config.fine) != len(config.activations):
        raise InputError(
            f"fine = {config.fine}, expected a range of rates for each of the "
            f"{len(config.activations)} activations"
        )
    problems = {name: digits(config, name) for name in config.activations}
    epoch = gd.descent.steps_for(1, next(iter(problems.values())).samples, config.batch_size)
    found = []
    for (name, problem), ends in zip(problems.items(), config.fine, strict=True):
        print(f"{name} ...", flush=True)
        wide = np.geomspace(config.lowest, config.highest, config.rates)
        fine = np.geomspace(*ends, config.fine_rates)
        runs = trained(config, problem, wide, epoch)
        near = trained(config, problem, fine, config.epochs * epoch)
        found.append(
            runs[["cost", "test_accuracy", "outcome", "diverged_at"]]
            .assign(baseline=problem.baseline)
            .assign(
                fine_rate=("fine", fine),
                trains=(("fine", "seed"), near.cost.values[..., -1] < problem.baseline),
            )
        )
    joined = xr.concat(found, "activation", combine_attrs="drop")
    joined = joined.assign_attrs(activations=list(problems))
    return joined.assign_coords(epoch=("step", joined.step.values / epoch))


def trained(config: Config, problem: gd.Problem, rates: np.ndarray, every: int) -> xr.Dataset:
    """A sweep over these rates from all starts, recorded every so many steps."""
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    return gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(config.seeds)),
        config.epochs * epoch,
        batch_size=config.batch_size,
        record_every=every,
    )


def by_activation(dataset):
    """Each network's results by its name."""
    for index, name in enumerate(dataset.attrs["activations"]):
        yield name, dataset.isel(activation=index)


def alternates(trains: np.ndarray) -> np.ndarray:
    """Whether a rate trains above one that fails, for each seed: then there is no single limit.

    Args:
        trains: [rates, seeds], rates ascending.
    """
    return np.any(trains[1:] & ~trains[:-1], axis=0)


def borders(rates: np.ndarray, trains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each seed the smallest rate that fails, and the largest that trains; NaN without any.

    Args:
        rates: ascending.
        trains: [rates, seeds].
    """
    failure = np.where(trains.all(axis=0), np.nan, rates[np.argmin(trains, axis=0)])
    last = rates[len(rates) - 1 - np.argmax(trains[::-1], axis=0)]
    return failure, np.where(trains.any(axis=0), last, np.nan)


def numbers(dataset: xr.Dataset) -> dict:
    """The best rate by training cost, what it reaches, where it ends, and how the others end."""
    found: dict = {}
    rates = dataset.learning_rate.values
    for name, runs in by_activation(dataset):
        cost, accuracy = runs.cost.values[..., -1], runs.test_accuracy.values[..., -1]
        half, low, high = statistics.medians(accuracy)
        best = int(np.argmin(statistics.medians(cost)[0]))
        good = rates[half >= half[best] - 0.02]
        trains = runs.trains.values.astype(bool)
        failure, last = borders(runs.fine_rate.values, trains)
        alternate = int(np.sum(alternates(trains)))
        found |= {
            f"{name}_best_rate": float(rates[best]),
            f"{name}_accuracy_at_best": float(half[best]),
            f"{name}_accuracy_at_best_interval": [float(low[best]), float(high[best])],
            f"{name}_accuracy_within_2_points_from": float(good.min()),
            f"{name}_accuracy_within_2_points_to": float(good.max()),
            f"{name}_accuracy_at_lowest_rate": float(half[0]),
            f"{name}_fine_rates": [float(runs.fine_rate[0]), float(runs.fine_rate[-1])],
            f"{name}_first_failure": statistics.median(failure)[:3],
            f"{name}_first_failure_least": float(np.nanmin(failure)),
            f"{name}_last_that_trains": statistics.median(last)[:3],
            f"{name}_last_that_trains_most": float(np.nanmax(last)),
            f"{name}_last_over_first_failure_most": float(np.nanmax(last / failure)),
            f"{name}_starts_that_alternate": alternate,
            f"{name}_share_that_alternates": statistics.share(alternate, trains.shape[1])[:3],
        }
        for code, outcome in enumerate(OUTCOMES):
            shares = np.mean(runs.outcome.values == code, axis=1)
            if outcome in ("stalled", "diverged"):
                found[f"{name}_share_{outcome}_at_most"] = float(shares.max())
                found[f"{name}_runs_{outcome}"] = int(np.sum(runs.outcome.values == code))
    return found


def plot(dataset: xr.Dataset) -> dict:
    """How runs end and how they get there, for each network; and every start's own rates."""
    pictures = {}
    rates = dataset.learning_rate.values
    sets = {}
    for name, runs in by_activation(dataset):
        pictures[f"ends_{name}"] = plots.ends_by_setting(
            plots.Setting("learning_rate", rates),
            runs.test_accuracy.values[..., -1],
            runs.cost.values[..., -1],
            runs.outcome.values,
            outcomes=OUTCOMES,
            baseline=float(runs.baseline),
        )
        pictures[f"curves_{name}"] = plots.curves_by_setting(
            dataset.epoch.values, rates, runs.cost.values
        )
        best = rates[np.argmin(statistics.medians(runs.cost.values[..., -1])[0])]
        sets[name] = plots.Trained(runs.fine_rate.values, runs.trains.values.astype(bool), best)
    return pictures | {"rates_that_train": plots.trained_sets(sets)}


if __name__ == "__main__":
    common.main("learning_rates", Config, run, plot, numbers)
