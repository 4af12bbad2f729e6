"""Summary of results by batch size, at equal epochs and at equal training time."""

import numpy as np
import xarray as xr

from experiments.shared.statistics import medians
from gdjax.statistics import median


def last_epochs(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of epochs for which each batch size was run."""
    return dataset.cost.notnull().any(("learning_rate", "seed")).sum("epoch").values - 1


def ends(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the epoch at which each batch size is compared, for both budgets.

    The budgets are an equal number of epochs, and an equal training time.
    """
    epochs, seconds = last_epochs(dataset), dataset.seconds_an_epoch.values
    time = np.min(epochs * seconds)
    # With the tolerance, the batch size with the shortest total time is compared at its last epoch.
    return {
        "epochs": np.full(len(epochs), epochs.min()),
        "time": np.floor(time / seconds + 1e-9).astype(int),
    }


def runs_at_best_rate(dataset: xr.Dataset, index: int, end: int) -> xr.Dataset:
    """Return the runs of a batch size at its best learning rate.

    The best rate has the lowest median training cost over seeds at epoch `end`.
    """
    runs = dataset.isel(batch_size=index, epoch=slice(0, last_epochs(dataset)[index] + 1))
    cost = medians(runs.cost.isel(epoch=end))
    return runs.isel(learning_rate=int(cost.argmin("learning_rate"))).transpose("seed", "epoch")


def epochs_to_half_baseline(dataset: xr.Dataset, index: int) -> float:
    """Return the first epoch at which some rate halves the baseline cost, or +inf.

    The cost at a rate is the median over seeds."""
    half = medians(dataset.cost.isel(batch_size=index)) <= dataset.attrs["baseline"] / 2
    indices = np.nonzero(half.any("learning_rate").values)[0]
    return float(dataset.epoch[indices[0]]) if len(indices) else float("inf")


def numbers(dataset: xr.Dataset) -> dict:
    """Return times per epoch, and results of each batch size for both budgets."""
    summary: dict = {}
    sizes, seconds = dataset.batch_size.values, dataset.seconds_an_epoch.values
    for index, size in enumerate(sizes):
        summary[f"milliseconds_an_epoch_{size}"] = float(1e3 * seconds[index])
    for budget, end in ends(dataset).items():
        for index, size in enumerate(sizes):
            runs = runs_at_best_rate(dataset, index, end[index])
            at_end = runs.isel(epoch=end[index])
            summary |= {
                f"equal_{budget}_{size}_epochs": int(end[index]),
                f"equal_{budget}_{size}_rate": float(runs.learning_rate),
                f"equal_{budget}_{size}_cost": median(at_end.cost.values)[:3],
                f"equal_{budget}_{size}_accuracy": median(at_end.test_accuracy.values)[:3],
            }
    for index, size in enumerate(sizes):
        summary[f"epochs_to_half_{size}"] = epochs_to_half_baseline(dataset, index)
    return summary
