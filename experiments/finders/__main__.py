"""How often does a learning-rate finder recommend a good rate, and at what cost?

    regret = (C(eta) - C(best)) / (C(start) - C(best)),   C(eta) = median final cost over 8 starts

    python -m experiments.finders        (about 50 min of processor time, mostly compilation)

Expected: `gd.find_learning_rate` recommends a rate within a factor of 2 of the best rate more often
than the classical finder, with at most as many evaluations. This is refuted if the interval of the
difference (bootstrap over problems) contains 0. With the default number of evaluations the
expectation is confirmed; with equal numbers it is refuted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.descent import Outcome
from gdjax.plots.style import BLACK, BLUE, GREEN, ORANGE, VERMILLION, Figure, label_log_axis

from .problems import HELD_OUT, PROBLEMS, Case
from .ramp import STEPS, ramp_costs, suggestions, swept

OPTIMIZERS: dict[str, Callable] = {
    "sgd": optax.sgd,
    "momentum": partial(optax.sgd, momentum=0.9),
    "adam": optax.adam,
    "lion": optax.lion,
}
METHODS = {
    "search": "gd.find_learning_rate",
    "short_search": "gd.find_learning_rate, short",
    "ramp_minimum": "ramp, minimum / 10",
    "ramp_steepest": "ramp, steepest",
}
DRAWS = 2000  # number of bootstrap samples
COLORS = (BLUE, GREEN, ORANGE, VERMILLION)
ROOT_SEED = 1000  # root seed of the finders; that of the truth is 0


@dataclass(frozen=True)
class Config:
    """Problems, optimizers, reference sweeps and finders."""

    problems: tuple[str, ...] = (*PROBLEMS, *HELD_OUT)  # names of the problems
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)  # names of the optimizers
    horizon: int = 192  # number of training steps
    warmups: tuple[int, ...] = (1, 20)  # numbers of warm-up steps; 1 means none, as for the finders
    lowest: float = 2.0**-15  # smallest rate of the reference sweep
    highest: float = 2.0**6.6  # largest rate of the reference sweep
    rates: int = 55  # number of rates of the reference sweep, geometrically spaced
    starts: int = 8  # number of starting points of the reference sweep
    seeds: int = 8  # number of seeds of each finder
    num_starts: int = 2  # number of starting points of a search with the full horizon
    short_horizon: int = 16  # number of steps per run of the short search, from one starting point


def truth(config: Config, case: Case, make_optimizer: Callable) -> xr.Dataset:
    """Return median final costs, whether each rate trains, and the median initial cost."""
    rates = np.geomspace(config.lowest, config.highest, config.rates)
    warmups = np.array(config.warmups, float)
    schedules = {"warmup": warmups, "learning_rate": rates, "growth": [1.0]}
    options: dict = {"seeds": config.starts, "record_every": config.horizon}
    runs = swept(case, make_optimizer, schedules, steps=config.horizon, **options)
    runs = runs.isel(growth=0).transpose("warmup", "learning_rate", "start", ...)
    first, last = (runs.cost.values[..., record] for record in (0, -1))
    fails = np.isin(runs.outcome, (Outcome.DIVERGED, Outcome.STALLED))
    dims = ("warmup", "learning_rate")
    return xr.Dataset(
        {
            "cost": (dims, np.median(last, axis=-1)),
            "trains": (dims, np.all((last < first) & ~fails, axis=-1)),
            "start_cost": np.median(first[0, 0]),
        },
        {"learning_rate": rates, "warmup": list(config.warmups)},
    )


def recommended(config: Config, case: Case, make_optimizer: Callable) -> dict:
    """Return the recommended rate and the number of evaluations, by method and seed."""
    rates = np.full((len(METHODS), config.seeds, 2), np.nan)
    searches = (config.horizon, config.num_starts), (config.short_horizon, 1)
    for seed in range(config.seeds):
        for column, (horizon, starts) in enumerate(searches):
            options: dict = {"horizon": horizon, "num_starts": starts}
            options |= {"root_seed": ROOT_SEED + seed, "batch_size": case.batch_size}
            result = gd.find_learning_rate(case.problem, make_optimizer, **options)
            rates[column, seed] = result.learning_rate, result.num_evaluations
    ramps = ramp_costs(case, make_optimizer, config.seeds, root_seed=ROOT_SEED)
    rates[2:, :, 0] = np.array([suggestions(costs) for costs in ramps]).T
    rates[2:, :, 1] = 3 * STEPS
    dims = ("finder", "finder_seed")
    return {"rate": (dims, rates[..., 0]), "evaluations": (dims, rates[..., 1])}


def run(config: Config) -> xr.Dataset:
    """Return reference sweeps and recommendations for all problems and optimizers."""
    rows = []
    for name in config.problems:
        case, parts = (PROBLEMS | HELD_OUT)[name](), []
        for optimizer in config.optimizers:
            print(f"{name}, {optimizer} ...", flush=True)
            factory = OPTIMIZERS[optimizer]
            part = truth(config, case, factory).assign(recommended(config, case, factory))
            parts.append(part.expand_dims(problem=[name], optimizer=[optimizer]))
        rows.append(xr.concat(parts, "optimizer"))
    return xr.concat(rows, "problem").assign_coords(finder=list(METHODS))


def evaluate_recommendations(dataset: xr.Dataset) -> xr.Dataset:
    """Return log2(rate / best rate), regret and success of each recommendation.

    A recommendation that is missing or outside the grid of the reference counts as a failure with
    regret 1. The result also contains whether each recommended rate trains, and whether the best
    rate is at an end of the grid.
    """
    rates = dataset.learning_rate.values
    logs = np.log2(rates)
    cost = dataset.cost.where(dataset.trains, np.inf)
    best_rate, best_cost = cost.idxmin("learning_rate"), cost.min("learning_rate")
    at, ratio = np.log2(dataset.rate), np.log2(dataset.rate / best_rate)
    nearest = at.copy(data=np.abs(at.fillna(0).values[..., None] - logs).argmin(-1))
    inside = at.notnull() & (at > logs[0] - 0.5) & (at < logs[-1] + 0.5)
    trains = dataset.trains.isel(learning_rate=nearest) & inside
    final = dataset.cost.isel(learning_rate=nearest)
    regret = (final - best_cost) / (dataset.start_cost - best_cost)
    return xr.Dataset(
        {
            "ratio": ratio,
            "regret": regret.where(trains, 1.0).clip(0, 1),
            "success": trains & (np.abs(ratio) <= 1),
            "trains": trains,
            "at_end": best_rate.isin(rates[[0, -1]]),
        }
    ).drop_vars("learning_rate", errors="ignore")


def bootstrap(values: xr.DataArray) -> list[float]:
    """Return the mean, and a 95 % interval from bootstrap samples of the problems."""
    by_problem = values.astype(float).mean([d for d in values.dims if d != "problem"]).values
    rng = np.random.default_rng(0)
    draws = rng.integers(len(by_problem), size=(DRAWS, len(by_problem)))
    low, high = np.quantile(by_problem[draws].mean(axis=1), (0.025, 0.975))
    return [float(by_problem.mean()), float(low), float(high)]


def numbers(dataset: xr.Dataset) -> dict:
    """Return success rate, regret and number of evaluations of each finder."""
    results = evaluate_recommendations(dataset)
    names, finders = dataset.problem.values.tolist(), {}
    halves = {"no": [n for n in names if n in PROBLEMS], "yes": [n for n in names if n in HELD_OUT]}
    groups = {group: chosen for group, chosen in halves.items() if chosen}
    for finder in METHODS:
        of_finder = results.sel(finder=finder)
        success = of_finder.success.astype(float)
        finders[finder] = {
            "evaluations": float(dataset.evaluations.sel(finder=finder).median()),
            "share": bootstrap(success),
            "trains": bootstrap(of_finder.trains),
            "regret": bootstrap(of_finder.regret),
            "median_regret": float(of_finder.regret.median()),
            "held_out": {
                group: {"share": bootstrap(success.sel(problem=names))}
                for group, names in groups.items()
            },
            "problem": {
                str(name): float(success.sel(problem=name).mean())
                for name in dataset.problem.values
            },
            "optimizer": {
                str(optimizer): {"share": float(success.sel(optimizer=optimizer).mean())}
                for optimizer in dataset.optimizer.values
            },
            "warmup": {
                str(warmup): {"share": bootstrap(success.sel(warmup=warmup))}
                for warmup in dataset.warmup.values
            },
        }
        # Misses with a regret below 1 % lie where neighboring rates lead to nearly equal costs.
        missed = of_finder.regret.where(~of_finder.success)
        at_equal_cost = float((missed < 0.01).sum() / missed.notnull().sum())
        finders[finder]["misses_at_equal_cost"] = at_equal_cost
        if not finder.startswith("ramp"):
            finders[finder]["minus"] = {
                ramp: bootstrap(success - results.success.sel(finder=ramp, drop=True))
                for ramp in ("ramp_minimum", "ramp_steepest")
            }
    at_end = int(results.at_end.sum())
    return {"truth_at_end_of_grid": at_end, "held_out": [*HELD_OUT], "finder": finders}


def plot(dataset: xr.Dataset) -> dict:
    """Draw success rates by number of evaluations, and ratios to the best rate."""
    results = evaluate_recommendations(dataset)
    figure = Figure(figsize=(13, 5.2))
    left, right = figure.subplots(1, 2)
    edges = np.arange(-8.25, 8.5, 0.5)
    for i, (color, (method, label)) in enumerate(zip(COLORS, METHODS.items(), strict=True)):
        of_method = results.sel(finder=method)
        share, low, high = bootstrap(of_method.success)
        # The factor separates points of equal cost.
        at = float(dataset.evaluations.sel(finder=method).median()) * 1.03 ** (i - 1.5)
        look: dict = {"fmt": "o", "color": color, "capsize": 4, "label": label}
        left.errorbar(at, share, [[share - low], [high - share]], **look)
        ratios = of_method.ratio.values[np.isfinite(of_method.ratio.values)]
        counts, _ = np.histogram(np.clip(ratios, -8, 8), edges)
        right.stairs(np.cumsum(counts) / of_method.ratio.size, edges, color=color, label=label)
    left.set_xscale("log")
    label_log_axis(left.xaxis, form="{:,.0f}".format)
    left.set(ylim=(0, 1), xlabel="number of cost evaluations")
    left.set_ylabel("share within a factor of 2 of the best rate")
    left.legend(loc="best")
    right.axvspan(-1, 1, color=BLACK, alpha=0.08, linewidth=0)
    right.set(ylim=(0, 1), xlabel="log2 (recommended rate / best rate)")
    right.set_ylabel("cumulative share of recommendations")
    figure.suptitle("Recommended learning rates")
    return {"finders": figure}


if __name__ == "__main__":
    # Compilation takes most of the time, since the programs are small and run briefly.
    jax.config.update("jax_disable_most_optimizations", True)
    command.main(Config, run, plot, numbers)
