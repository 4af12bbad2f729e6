"""Summary of the comparison of learning-rate finders."""

from itertools import product

import numpy as np
import xarray as xr

METHODS = {
    "search": "gd.find_learning_rate",
    "short_search": "gd.find_learning_rate, short",
    "ramp_minimum": "ramp, minimum / 10",
    "ramp_steepest": "ramp, steepest",
}
DRAWS = 2000  # number of bootstrap samples


def evaluate_recommendations(dataset: xr.Dataset) -> xr.Dataset:
    """Return log2(rate / best rate), regret and success of each recommendation.

    A recommendation that is missing or outside the grid of the reference counts as a failure with
    regret 1. The result also contains whether each recommended rate trains, and whether the best
    rate is at an end of the grid.
    """
    rates = dataset.learning_rate.values
    logs = np.log2(rates)
    cost = dataset.cost.where(dataset.trains, np.inf)
    lowest, best_cost = cost.argmin("learning_rate"), cost.min("learning_rate")
    at = np.log2(dataset.rate)
    ratio = np.log2(dataset.rate / lowest.copy(data=rates[lowest.values]))
    nearest = at.copy(data=np.abs(at.fillna(0).values[..., None] - logs).argmin(-1))
    inside = at.notnull() & (at > logs[0] - 0.5) & (at < logs[-1] + 0.5)
    trains = dataset.trains.isel(learning_rate=nearest) & inside
    final = dataset.cost.where(np.isfinite(dataset.cost), np.inf).isel(learning_rate=nearest)
    regret = (final - best_cost) / (dataset.start_cost - best_cost)
    return xr.Dataset(
        {
            "ratio": ratio,
            "regret": regret.where(trains, 1.0).clip(0, 1),
            "success": trains & (np.abs(ratio) <= 1),
            "trains": trains,
            "at_end": (lowest == 0) | (lowest == len(rates) - 1),
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
    """Return success rate, regret and number of evaluations of each method."""
    results = evaluate_recommendations(dataset)
    summary: dict = {"truth_at_end_of_grid": int(results.at_end.sum())}
    for method in METHODS:
        found = results.sel(finder=method)
        summary |= {
            f"{method}_evaluations": float(dataset.evaluations.sel(finder=method).median()),
            f"{method}_share": bootstrap(found.success),
            f"{method}_trains": bootstrap(found.trains),
            f"{method}_regret": bootstrap(found.regret),
            f"{method}_median_regret": float(found.regret.median()),
        }
        for optimizer in dataset.optimizer.values:
            share = found.success.sel(optimizer=optimizer).mean()
            summary[f"{method}_share_{optimizer}"] = float(share)
        for index, name in enumerate(("without_warmup", "with_warmup")[: dataset.sizes["warmup"]]):
            summary[f"{method}_share_{name}"] = bootstrap(found.success.isel(warmup=index))
    success = {m: results.success.sel(finder=m, drop=True).astype(float) for m in METHODS}
    for method, other in product(("search", "short_search"), ("ramp_minimum", "ramp_steepest")):
        summary[f"{method}_minus_{other}"] = bootstrap(success[method] - success[other])
    return summary
