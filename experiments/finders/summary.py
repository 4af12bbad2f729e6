"""Summary of the comparison of learning-rate finders."""

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
    lowest = cost.argmin("learning_rate")
    best_cost = cost.min("learning_rate")
    best = xr.DataArray(rates[lowest.values], lowest.coords, lowest.dims)
    ratio = np.log2(dataset.rate / best)
    at = np.log2(dataset.rate)
    nearest = np.abs(at.fillna(0).values[..., None] - logs).argmin(-1)
    nearest = xr.DataArray(nearest, at.coords, at.dims)
    inside = at.notnull() & (at > logs[0] - 0.5) & (at < logs[-1] + 0.5)
    trains = dataset.trains.isel(learning_rate=nearest) & inside
    final = dataset.cost.where(np.isfinite(dataset.cost), np.inf).isel(learning_rate=nearest)
    regret = (final - best_cost) / (dataset.start_cost - best_cost)
    regret = regret.where(trains, 1.0).clip(0, 1)
    success = trains & (np.abs(ratio) <= 1)
    return xr.Dataset(
        {
            "ratio": ratio,
            "regret": regret,
            "success": success,
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
        finder_results = results.sel(finder=method)
        summary[f"{method}_evaluations"] = float(dataset.evaluations.sel(finder=method).median())
        summary[f"{method}_share"] = bootstrap(finder_results.success)
        summary[f"{method}_trains"] = bootstrap(finder_results.trains)
        summary[f"{method}_regret"] = bootstrap(finder_results.regret)
        summary[f"{method}_median_regret"] = float(finder_results.regret.median())
        for optimizer in dataset.optimizer.values:
            share = finder_results.success.sel(optimizer=optimizer)
            summary[f"{method}_share_{optimizer}"] = float(share.mean())
        for index, name in enumerate(("without_warmup", "with_warmup")[: dataset.sizes["warmup"]]):
            summary[f"{method}_share_{name}"] = bootstrap(finder_results.success.isel(warmup=index))
    for method in ("search", "short_search"):
        for other in ("ramp_minimum", "ramp_steepest"):
            pair = (results.success.sel(finder=m, drop=True).astype(float) for m in (method, other))
            finder_results, other_results = pair
            summary[f"{method}_minus_{other}"] = bootstrap(finder_results - other_results)
    return summary
