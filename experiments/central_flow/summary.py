"""Summary of the errors with which flows predict the smoothed cost of descent."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from experiments.shared.trees import datasets
from gdjax.statistics import median


def smoothed(values: xr.DataArray, width: float) -> np.ndarray:
    """Return values smoothed over the steps, NaN close to values that are not finite."""
    finite = np.where(np.isfinite(values.values), values.values, np.nan)
    return gaussian_filter1d(finite, width, axis=-1, mode="nearest")


def deviation(part: xr.Dataset, name: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the largest |prediction / descent - 1|.

    The first and the last tenth of the records are excluded. Both values are +inf for a run with a
    cost that is not finite.
    """
    off = np.abs(smoothed(part[name], width) / smoothed(part.cost, width) - 1)
    length = off.shape[-1] - 1
    off = off[..., length // 10 : length - length // 10 + 1]
    diverged = ~np.all(np.isfinite(off), axis=-1)
    off = np.where(diverged[..., None], np.inf, off)
    return np.median(off, axis=-1), np.max(off, axis=-1)


def numbers(tree: xr.DataTree) -> dict:
    """Return deviations with intervals over starts, and distances from the limit 2."""
    summary: dict = {}
    for case, part in datasets(tree).items():
        deviations = {
            average: deviation(part, average, tree.attrs["smoothing"])
            for average in ("mean", "center", "plain")
        }
        name, products = case.replace(" ", "_"), part["product"].values
        for index, rate in enumerate(part.learning_rate.values):
            label = f"{name}_rate_{rate:g}"
            for average, (middle, largest) in deviations.items():
                summary[f"{label}_{average}_median"] = list(median(middle[index])[:3])
                summary[f"{label}_{average}_largest"] = list(median(largest[index])[:3])
            distances = [at_edge(one) for one in products[index, ..., 0]]
            summary[f"{label}_at_edge"] = sum(a is not None for a in distances)
            summary[f"{label}_from_2"] = max((a for a in distances if a is not None), default=None)
            summary[f"{label}_most_at_edge"] = int(np.max(np.sum(products[index] > 1.99, axis=-1)))
        summary[f"{name}_runs"] = products.shape[0] * products.shape[1]
        summary[f"{name}_processor_seconds"] = float(part.seconds)
        summary[f"{name}_arrived"] = int(part.arrived.sum())
        summary[f"{name}_residual"] = float(part.residual.max())
    return summary


def at_edge(product: np.ndarray) -> float | None:
    """Return the largest |product - 2| after `product` first reaches 2, or None.

    The product is the learning rate times the sharpness. The maximum is over the records from the
    fifth after the first one within 1e-3 of 2 to the last one within 1e-3 of 2. The result is None
    if fewer than 10 records are within 1e-3 of 2.
    """
    indices = np.flatnonzero(np.abs(product - 2) < 1e-3)
    if indices.size < 10:
        return None
    return float(np.max(np.abs(product[indices[0] + 5 : indices[-1] + 1] - 2)))
