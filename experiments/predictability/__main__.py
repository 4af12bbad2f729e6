"""When is a run decided, and how far ahead can its end be predicted?

    lambda = 1/T log(|v_T| / |v_0|),   P(a twin at distance eps ends elsewhere) = c eps^alpha
    decided step: from this step on, none of at least 59 twins ends elsewhere

    python -m experiments.predictability           (about 2 min of processor time)

Hypotheses, written before the run (a pilot with other starting points chose sizes and the onset):
1. On (1 - x y)^2 / 2, the median exponent of the second half of the steps is that of the attractor:
   0 at rates below 1, and the larger of log|3 - 2 rate| / 2 and log|9 - 2 (1 + rate)^2| / 2 between
   1 and sqrt(5) - 1. Refuted if one of them differs by more than 0.01.
2. A positive exponent does not imply an undecided end: on the same cost, there is a rate at which
   the median exponent is positive and each branched run is decided. Refuted if there is none.
3. Training is fastest near the onset of chaos (arXiv 2506.08523, with finite perturbations). For
   the digit network, the onset is the smallest rate at which a tenth of the twins at the smallest
   distance end elsewhere, by the smallest threshold. Refuted if the rate with the least median cost
   differs from it by more than a factor of 2, or if there is no onset.
4. The effect of a change diminishes rapidly with its step (arXiv 2506.13234). For the digit
   network, over all rates and by each threshold, fewer twins that leave at the last of the steps
   end elsewhere than of those that leave at the first. Refuted if as many or more do.
5. Basins are riddled, with an uncertainty exponent near 0 (arXiv 2510.05606). Refuted for a case
   and a rate if the interval of the exponent lies above 0.25.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import xor
from experiments.shared.runs import ends_of
from experiments.shared.trees import datasets
from gdjax.base.errors import InputError
from gdjax.base.statistics import median
from gdjax.dynamics import decided_step, lyapunov_exponent, uncertainty_exponent, with_tangent
from gdjax.plots.style import CYCLE, GREY, MAX_WIDTH, Figure

TITLES = {"factors": "(1 - xy)²/2", "xor": "XOR, 2-2-1", "digits": "digits, 784-16-16-10"}


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
    counts = config.factor_bases, config.xor_bases, config.digit_bases
    seeds = [range(100, 100 + count) for count in counts]  # a pilot used smaller seeds
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
    match = gd.minima.match_pairs(network, params, first, second, key=jax.random.key(0))
    return np.asarray(match.matched_distance)


def with_twins(problem: gd.Problem) -> gd.Problem:
    """Return the problem with starts at a distance, in one of many random directions."""

    def init(key, *, distance=0.0, twin=0):
        key_start, key_twin = jax.random.split(key)
        key = jax.random.fold_in(key_twin, twin)
        return gd.sweeps.perturbed(problem.init(key_start), distance, key=key)

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
        metrics={"lyapunov": lyapunov_exponent},
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
            of_twins = with_costs(problem, gd.branch(store, at, leaving, problem=problem))
            own = jax.tree.map(lambda a, i=index: a[i : i + 1], trunks)
            ends = jax.tree.map(lambda a, b: np.concatenate([a, b]), own, of_twins)
            second = np.arange(1, len(ends[1]))
            separation.append(case.separation(*ends, np.zeros_like(second), second))
    shape = (len(case.rates), len(seeds), len(steps), config.late_twins)
    return np.reshape(separation, shape)


def run(config: Config) -> xr.DataTree:
    """Return a tree with the runs and twins of each case with rates; digits are in float32."""
    parts = {}
    for name in TITLES:
        with jax.enable_x64(name != "digits"):
            case = cases(config)[name]
            parts |= {name: runs_of(config, case)} if case.rates else {}
    return xr.DataTree.from_dict(parts)


def exponent_of(part: xr.Dataset, name: str = "exponent") -> list[float]:
    """Return the median exponent, with its interval, of runs at one rate that did not diverge."""
    return list(median(part[name].values[np.isfinite(part.cost.values)])[:3])


def elsewhere(separation: xr.DataArray, part: xr.Dataset, threshold: float) -> xr.DataArray:
    """Return whether twins end elsewhere; distances are relative to those of independent starts."""
    unit = part.independent.median("pair") if part.attrs["relative"] else 1.0
    return separation > threshold * unit


def known_exponent(rate: float) -> float | None:
    """Return the exponent of descent on (1 - x y)^2 / 2, where it is known."""
    along, across = abs(9 - 2 * (1 + rate) ** 2), abs(3 - 2 * rate)
    growth = max(along, across) if rate > 1 else 1.0
    return float(np.log(growth) / 2) if rate < np.sqrt(5) - 1 else None


def uncertainty_of(twins: xr.DataArray) -> list[float] | None:
    """Return the uncertainty exponent with its interval, if enough twins ended elsewhere."""
    twins = twins.isel(distance=slice(1, None))  # without distance 0
    try:
        return list(uncertainty_exponent(twins.values, twins.distance.values).exponent[:3])
    except InputError:
        return None


def by_coordinate(values: xr.DataArray) -> dict[str, Any]:
    """Return the entries of an array by the values of the coordinate of its only dimension."""
    return {str(one.coords[values.dims[0]].values): one.values for one in values}


def numbers_of_rate(part: xr.Dataset) -> dict:
    """Return exponents, and shares and decided steps for each threshold, at one rate."""
    steps, thresholds = part.late_step.values, {}
    for limit in part.attrs["thresholds"]:
        at_start, late = elsewhere(part.at_start, part, limit), elsewhere(part.late, part, limit)
        thresholds[str(limit)] = {
            "elsewhere": by_coordinate(at_start.mean(("seed", "twin"))),
            "uncertainty": uncertainty_of(at_start),
            "elsewhere_later": by_coordinate(late.sum(("trunk", "late_twin"))),
            "decided": [decided_step(twins, steps) for twins in late.values],
        }
    return {
        "exponent": exponent_of(part),
        "whole_exponent": exponent_of(part, "whole_exponent"),
        "cost": float(np.median(part.cost)),
        "trunks_diverged": int(np.isinf(part.cost[: part.sizes["trunk"]]).sum()),
        "threshold": thresholds,
    }


def numbers(tree: xr.DataTree) -> dict:
    """Return the summary of each case and rate, and what the hypotheses are about."""
    summary: dict = {}
    for name, part in datasets(tree, TITLES).items():
        rates, limits = part.learning_rate.values.tolist(), part.attrs["thresholds"]
        nearest = elsewhere(part.at_start, part, limits[0]).isel(distance=1)  # 0 is distance 0
        chaotic = part.learning_rate[nearest.mean(("seed", "twin")) >= 0.1].values.tolist()
        late = ("learning_rate", "trunk", "late_twin")
        summary[name] = {
            "rate": {str(rate): numbers_of_rate(part.sel(learning_rate=rate)) for rate in rates},
            "steps": part.attrs["steps"],
            "late_totals": {
                str(limit): by_coordinate(elsewhere(part.late, part, limit).sum(late))
                for limit in limits
            },
            "onset": min(chaotic, default=None),
            "best_rate": rates[int(np.median(part.cost, axis=1).argmin())],
        }
        if name == "factors":
            for rate, at_rate in summary[name]["rate"].items():
                at_rate["known_exponent"] = known_exponent(float(rate))
    return {"case": summary}


def plot(tree: xr.DataTree) -> dict:
    """Draw exponents, twins at the start and late twins against the rate, for each case."""
    figure = Figure(figsize=(MAX_WIDTH, 11.0))
    parts = datasets(tree, TITLES)
    rows = figure.subplots(3, len(parts), squeeze=False, sharex="col")
    for (top, center, bottom), (name, part) in zip(rows.T, parts.items(), strict=True):
        rates, limits = part.learning_rate.values, part.attrs["thresholds"]
        exponents = [exponent_of(part.isel(learning_rate=r)) for r in range(len(rates))]
        value, low, high = np.array(exponents).T
        top.axhline(0, color=GREY, linewidth=1)
        top.errorbar(rates, value, [value - low, high - value], fmt="o-", color=CYCLE[0])
        if name == "factors":
            known = np.array([known_exponent(rate) for rate in rates], float)
            top.plot(rates, known, "x", color=CYCLE[3], label="exact", markersize=12, zorder=5)
            top.legend()
        else:
            top.set_xscale("log", base=2)
        top.set_title(TITLES[name])
        middle = limits[len(limits) // 2]
        at_start = elsewhere(part.at_start, part, middle).mean(("seed", "twin"))
        late = elsewhere(part.late, part, middle).mean(("trunk", "late_twin"))
        near = at_start.isel(distance=slice(1, None))
        for axes, lines, dim in ((center, near, "distance"), (bottom, late, "late_step")):
            for k, label in enumerate(lines[dim].values):
                line = lines.isel({dim: k})
                axes.plot(rates, line, "o-", color=CYCLE[k], label=f"{label:g}")
            heading = dim.replace("late_", "left at ")
            axes.set_ylim(-0.03, 1.6)  # room for the legend
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
            axes.legend(title=heading, loc="upper left", ncols=2, handlelength=1, labelspacing=0.2)
        bottom.set_xlabel("learning rate")
    for axes, twins in zip(rows[1:, 0], ("twins at the start", "late twins"), strict=True):
        axes.set_ylabel(f"share of {twins}\nthat end elsewhere")
    rows[0, 0].set_ylabel("Lyapunov exponent,\nsecond half of the steps")
    return {"twins": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
