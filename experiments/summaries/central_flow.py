"""Summary of the errors of flows as predictions of the average of a descent."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from gdjax.statistics import median


def case(dataset: xr.Dataset, number: int) -> xr.Dataset:
    """Return one case without its prefix."""
    start = f"{number}_"
    part = dataset[[n for n in map(str, dataset.data_vars) if n.startswith(start)]]
    every = {*map(str, part.variables), *map(str, part.dims)}
    return part.rename({n: n.removeprefix(start) for n in every})


def smoothed(dataset: xr.Dataset, values: xr.DataArray) -> np.ndarray:
    """Return averages over time, NaN from the first record that is not finite."""
    width = dataset.attrs["smoothing"]
    finite = np.where(np.isfinite(values.values), values.values, np.nan)
    return gaussian_filter1d(finite, width, axis=-1, mode="nearest")


def deviation(dataset: xr.Dataset, part: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return median and largest |prediction / descent - 1| away from both ends."""
    off = np.abs(smoothed(dataset, part[name]) / smoothed(dataset, part.cost) - 1)
    length = off.shape[-1] - 1
    off = off[..., length // 10 : length - length // 10 + 1]
    lost = ~np.all(np.isfinite(off), axis=-1)
    off = np.where(lost[..., None], np.inf, off)
    return np.median(off, axis=-1), np.max(off, axis=-1)


def numbers(dataset: xr.Dataset) -> dict:
    """Return deviations with intervals over starts, and distances from the limit."""
    found: dict = {}
    for number, name in enumerate(dataset.attrs["cases"]):
        part = case(dataset, number)
        told = {which: deviation(dataset, part, which) for which in ("mean", "center", "plain")}
        top = part["product"].values[..., 0]
        for index, rate in enumerate(part.learning_rate.values):
            label = f"{name.replace(' ', '_')}_rate_{rate:g}"
            for which, (middle, largest) in told.items():
                found[f"{label}_{which}_median"] = list(median(middle[index])[:3])
                found[f"{label}_{which}_largest"] = list(median(largest[index])[:3])
            apart = [at_edge(one) for one in top[index]]
            found[f"{label}_at_edge"] = sum(a is not None for a in apart)
            found[f"{label}_from_2"] = max((a for a in apart if a is not None), default=None)
            found[f"{label}_most_at_edge"] = int(
                np.max(np.sum(part["product"].values[index] > 1.99, axis=-1))
            )
        found[f"{name.replace(' ', '_')}_runs"] = int(top.shape[0] * top.shape[1])
        found[f"{name.replace(' ', '_')}_processor_seconds"] = float(part.seconds)
        found[f"{name.replace(' ', '_')}_arrived"] = int(part.arrived.sum())
        found[f"{name.replace(' ', '_')}_residual"] = float(part.residual.max())
    return found


def at_edge(product: np.ndarray) -> float | None:
    """Return the largest distance of eta times sharpness from 2 after reaching it.

    The range ends at the last record within 1e-3 of 2.
    """
    near = np.flatnonzero(np.abs(product - 2) < 1e-3)
    if near.size < 10:
        return None
    return float(np.max(np.abs(product[near[0] + 5 : near[-1] + 1] - 2)))
