"""Summary of the learning rates at which training succeeds from each start."""

import numpy as np
import xarray as xr

from gdjax import statistics
from gdjax.descent import OUTCOMES


def by_activation(dataset):
    """Yield the name and the results of each network."""
    for index, name in enumerate(dataset.attrs["activations"]):
        yield name, dataset.isel(activation=index)


def alternates(trains: np.ndarray) -> np.ndarray:
    """Return, for each seed, whether some rate succeeds above a rate that fails.

    Args:
        trains: whether each run trains, [rates, seeds], with ascending rates.
    """
    return np.any(trains[1:] & ~trains[:-1], axis=0)


def borders(rates: np.ndarray, trains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest rate that fails and the largest that succeeds, by seed.

    The first is NaN if no rate fails, and the second if no rate succeeds.

    Args:
        rates: learning rates, ascending.
        trains: whether each run trains, [rates, seeds].
    """
    failure = np.where(trains.all(axis=0), np.nan, rates[np.argmin(trains, axis=0)])
    last = rates[len(rates) - 1 - np.argmax(trains[::-1], axis=0)]
    return failure, np.where(trains.any(axis=0), last, np.nan)


def numbers(dataset: xr.Dataset) -> dict:
    """Return the best rate by training cost, its accuracy, and counts of outcomes."""
    summary: dict = {}
    rates = dataset.learning_rate.values
    for name, runs in by_activation(dataset):
        cost, accuracy = runs.cost.values[..., -1], runs.test_accuracy.values[..., -1]
        half, low, high = statistics.medians(accuracy)
        best = int(np.argmin(statistics.medians(cost)[0]))
        good = rates[half >= half[best] - 0.02]
        trains = runs.trains.values.astype(bool)
        failure, last = borders(runs.fine_rate.values, trains)
        alternate = int(np.sum(alternates(trains)))
        summary |= {
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
                summary[f"{name}_share_{outcome}_at_most"] = float(shares.max())
                summary[f"{name}_runs_{outcome}"] = int(np.sum(runs.outcome.values == code))
    return summary
