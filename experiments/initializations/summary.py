"""Summary of training from initializations of different scales."""

import numpy as np
import xarray as xr

from experiments.shared.statistics import medians
from gdjax.plots.sweeps import quantiles
from gdjax.statistics import median

from . import figures as plots


def at_best_rate(dataset: xr.Dataset) -> xr.Dataset:
    """Return the runs at the rate with the lowest median cost, by initialization."""
    cost = medians(dataset.cost.isel(step=-1))
    return dataset.isel(learning_rate=cost.argmin("learning_rate"))


def epochs_to(cost: np.ndarray, epoch: np.ndarray, level: float) -> np.ndarray:
    """Return the first epoch with a cost of at most `level`, or +inf."""
    reached = cost <= level
    return np.where(reached.any(axis=-1), epoch[np.argmax(reached, axis=-1)], np.inf)


def by_initializer(dataset: xr.Dataset) -> dict[str, plots.Starts]:
    """Return the results of each initializer by scale."""
    best = at_best_rate(dataset)
    half = dataset.attrs["baseline"] / 2
    starts = {}
    for index, name in enumerate(dataset.attrs["initializers"]):
        runs = best.isel(initializer=index).transpose("init_scale", "seed", "step")
        cost, accuracy = runs.cost.values, runs.test_accuracy.values
        slope = (runs.slope_1 + runs.slope_2).values[..., 0] / 2
        starts[name] = plots.Starts(
            scale=runs.init_scale.values,
            accuracy_before=accuracy[..., 0],
            accuracy_after=accuracy[..., -1],
            cost_before=cost[..., 0],
            epochs=epochs_to(cost, dataset.epoch.values, half),
            slope=slope,
        )
    return starts


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies before and after training, at the best and at extreme scales."""
    summary: dict = {}
    best = at_best_rate(dataset)
    for index, (name, starts) in enumerate(by_initializer(dataset).items()):
        final = best.cost.isel(initializer=index, step=-1).transpose("init_scale", "seed").values
        best_index = int(np.argmin(quantiles(final)[1]))
        after = quantiles(starts.accuracy_after)[1]
        good = starts.scale[after >= after[best_index] - 0.03]
        summary |= {
            f"{name}_best_scale": float(starts.scale[best_index]),
            f"{name}_accuracy_at_best": median(starts.accuracy_after[best_index])[:3],
            f"{name}_within_3_points_from": float(good.min()),
            f"{name}_within_3_points_to": float(good.max()),
            f"{name}_accuracy_at_largest": median(starts.accuracy_after[-1])[:3],
            f"{name}_accuracy_at_smallest": median(starts.accuracy_after[0])[:3],
            f"{name}_slope_at_best": median(starts.slope[best_index])[:3],
            f"{name}_slope_at_largest": median(starts.slope[-1])[:3],
            f"{name}_epochs_at_best": median(starts.epochs[best_index])[:3],
        }
    before = dataset.test_accuracy.isel(step=0)
    summary["accuracy_before_mean"] = float(before.mean())
    summary["accuracy_before_most"] = float(before.max())
    summary["cost_before_smallest"] = float(dataset.cost.isel(step=0, init_scale=0).mean())
    summary["cost_before_largest"] = float(dataset.cost.isel(step=0, init_scale=-1).mean())
    return summary
