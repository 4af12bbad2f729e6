"""Runs, their twins at the start and from later steps, and how far apart they end."""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

import gdjax as gd
from experiments.shared.regressions import xor
from experiments.shared.runs import ends_of
from gdjax.minima import matching
from gdjax.sensitivity import lyapunov_exponent, with_tangent
from gdjax.sweeps.branch_spec import direction


@dataclass(frozen=True)
class Config:
    """Runs, twins, and thresholds for the distance between their ends."""

    # learning rates of the factors x and y, whose cost is (1 - x y)^2 / 2
    factor_rates: tuple[float, ...] = (0.5, 0.9, 1.1, 1.2, 1.3, 1.5, 1.65, 1.9)
    factor_steps: int = 1000  # number of steps of the factors
    factor_bases: int = 600  # number of starting points of the factors
    xor_rates: tuple[float, ...] = (2.0, 8.0, 16.0, 32.0, 64.0)  # learning rates of the XOR network
    xor_steps: int = 3000  # number of steps of the XOR network
    xor_bases: int = 100  # number of starting points of the XOR network
    xor_tolerances: tuple[float, ...] = (1e-4, 1e-3, 1e-2)  # thresholds for final costs
    # learning rates of the digit network
    digit_rates: tuple[float, ...] = (1.0, 2.0, 4.0, 5.6, 8.0, 11.0, 16.0, 32.0)
    digit_steps: int = 400  # number of steps of the digit network
    digit_bases: int = 8  # number of starting points of the digit network
    images: int = 128  # number of training images
    batch_size: int = 32  # number of images per step
    # thresholds for distances, relative to the median of those between independent starts
    digit_fractions: tuple[float, ...] = (0.1, 0.25, 0.5)
    distances: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the twins at the start
    first_seed: int = 100  # seed of the first starting point; smaller seeds were used in a pilot
    twins: int = 3  # number of twins at the start, for each starting point and distance
    trunks: int = 2  # number of runs that twins leave at later steps
    late_shares: tuple[float, ...] = (0.0, 0.05, 0.2, 0.6)  # these steps, as shares of all steps
    late_distance: float = 0.1  # distance of the twins that leave at later steps
    late_twins: int = 60  # number of twins for each run and step


class Case(NamedTuple):
    """Problem with the settings of its runs, and how far apart two ends are."""

    problem: gd.Problem
    rates: tuple[float, ...]
    steps: int
    seeds: range  # seeds of the starting points
    thresholds: tuple[float, ...]
    separation: Callable  # (params, cost, first, second) -> separation of the ends of each pair
    batch_size: int | None = None
    is_relative: bool = False  # whether thresholds are shares of the median of independent starts


def cases(config: Config) -> dict[str, Case]:
    """Return the cases by name."""
    factors = gd.Problem(
        init=lambda key: jax.random.normal(key, (2,)),
        cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2,
    )
    digits = gd.problems.few_digits(samples=config.images, widths=(16, 16), decay=0.0)
    counts, first = (config.factor_bases, config.xor_bases, config.digit_bases), config.first_seed
    seeds = [range(first, first + count) for count in counts]
    of_factors = config.factor_rates, config.factor_steps, seeds[0], (0.5,)
    of_xor = config.xor_rates, config.xor_steps, seeds[1], config.xor_tolerances
    of_digits = config.digit_rates, config.digit_steps, seeds[2], config.digit_fractions
    distance = partial(matched_distance, digits.network)
    return {
        "factors": Case(factors, *of_factors, in_other_quadrants),
        "xor": Case(xor(2, 1e-4, 3.0), *of_xor, cost_difference),
        "digits": Case(digits, *of_digits, distance, config.batch_size, True),
    }


def in_other_quadrants(params, cost, first, second) -> np.ndarray:
    """Return 1 for pairs with x + y of other signs, or if only one of both runs diverged."""
    quadrant = np.where(np.isfinite(cost), np.sign(np.sum(params, axis=-1)), 0)
    return (quadrant[first] != quadrant[second]).astype(float)


def cost_difference(params, cost, first, second) -> np.ndarray:
    """Return the absolute differences of the final costs."""
    return np.abs(cost[first] - cost[second])


def matched_distance(network, params, cost, first, second) -> np.ndarray:
    """Return the distances between pairs of networks after matching their neurons."""
    match = matching.match_pairs(network, params, first, second, key=jax.random.key(0))
    return np.asarray(match.matched_distance)


def with_twins(problem: gd.Problem) -> gd.Problem:
    """Return the problem with starts at a distance, in one of many random directions."""

    def init(key, *, distance=0.0, twin=0):
        key_start, key_twin = jax.random.split(key)
        return direction(jax.random.fold_in(key_twin, twin), problem.init(key_start), distance)

    return dataclasses.replace(problem, init=init, provenance=None)


def runs_of(config: Config, case: Case) -> xr.Dataset:
    """Return exponents and costs of a case, and the separations of all twins from their runs."""
    problem, half = with_twins(case.problem), case.steps // 2
    sweep = partial(gd.sweep, problem, batch_size=case.batch_size)
    runs = sweep(
        gd.axes(learning_rate=case.rates, seed=case.seeds),
        2 * half,
        record_every=half,
        make_optimizer=with_tangent(optax.sgd, key=jax.random.key(0)),
        metrics={"lyapunov": lyapunov_exponent()},
    )
    middle, end = runs.lyapunov.values[..., 1], runs.lyapunov.values[..., 2]
    sweep = partial(sweep, num_steps=case.steps, record_every=case.steps, metrics={})
    distances = [0.0, *config.distances]
    late_steps = [round(share * case.steps) for share in config.late_shares]
    at_start, independent = twins_at_start(config, case, problem, sweep)
    late = late_twins(config, case, problem, sweep, late_steps)
    return xr.Dataset(
        {
            "exponent": (("learning_rate", "seed"), 2 * end - middle),  # second half of the steps
            "whole_exponent": (("learning_rate", "seed"), end),
            "cost": (("learning_rate", "seed"), runs.cost.values[..., 2]),
            "independent": (("learning_rate", "pair"), independent),
            "at_start": (("learning_rate", "seed", "distance", "twin"), at_start),
            "late": (("learning_rate", "trunk", "late_step", "late_twin"), late),
        },
        {"learning_rate": list(case.rates), "distance": distances, "late_step": late_steps},
        {"steps": case.steps, "thresholds": case.thresholds, "relative": case.is_relative},
    )


def with_costs(problem: gd.Problem, runs: xr.Dataset) -> tuple[PyTree, np.ndarray]:
    """Return the parameters and costs at the ends of runs, with one leading axis for all runs."""
    return ends_of(problem, runs), runs.cost.isel(step=-1).values.ravel()


def twins_at_start(config: Config, case: Case, problem: gd.Problem, sweep: Callable):
    """Return the separations of twins that start at distances, and those of independent starts."""
    distances, twins = (0.0, *config.distances), range(config.twins)
    grid = gd.axes(learning_rate=case.rates, seed=case.seeds, distance=distances, twin=twins)
    ends = with_costs(problem, sweep(grid))
    index = np.arange(len(ends[1])).reshape(grid.shape)
    own = index[:, :, :1, :1]  # twins at distance 0 are the runs themselves
    separation = case.separation(*ends, np.broadcast_to(own, index.shape).ravel(), index.ravel())
    first, second = np.triu_indices(min(len(case.seeds), 8), 1)
    pairs = own[:, first, 0, 0], own[:, second, 0, 0]
    independent = case.separation(*ends, *(pair.ravel() for pair in pairs))
    return separation.reshape(index.shape), independent.reshape(pairs[0].shape)


def late_twins(config: Config, case: Case, problem: gd.Problem, sweep: Callable, steps: list[int]):
    """Return the separations of twins that leave some runs at steps, for each rate and run."""
    seeds = case.seeds[: config.trunks]
    sizes, twins = [config.late_distance], range(config.late_twins)
    leaving = gd.axes(branch_step=steps, perturbation=sizes, perturbation_seed=twins)
    separation = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "trunks"
        starts = gd.axes(learning_rate=case.rates, seed=seeds)
        trunks = with_costs(problem, sweep(starts, store=store).load())
        for index, (rate, seed) in enumerate(product(case.rates, seeds)):
            at = {"learning_rate": rate, "seed": seed}
            others = with_costs(problem, gd.branch(store, at, leaving, problem=problem))
            own = jax.tree.map(lambda a, i=index: a[i : i + 1], trunks)
            ends = jax.tree.map(lambda a, b: np.concatenate([a, b]), own, others)
            second = np.arange(1, len(ends[1]))
            separation.append(case.separation(*ends, np.zeros_like(second), second))
    shape = (len(case.rates), len(seeds), len(steps), config.late_twins)
    return np.reshape(separation, shape)
