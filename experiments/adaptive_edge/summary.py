"""Summary of the preconditioned sharpness at the end of descents."""

import numpy as np
import xarray as xr

from experiments.shared.panels import panel
from gdjax.statistics import median


def late(part: xr.Dataset) -> np.ndarray:
    """Return rate times preconditioned sharpness at the end of each run.

    The values [rates, starts] are medians over the last quarter of the records.
    """
    product = part["product"].values
    return np.nanmedian(product[..., -(product.shape[-1] // 4) :], axis=-1)


def numbers(dataset: xr.Dataset) -> dict:
    """Return eta times final sharpness with intervals, and final cost, by panel."""
    summary: dict = {}
    for name in dataset.attrs["panels"]:
        part = panel(dataset, name)
        ratios, product = late(part), part["product"].values
        summary[f"{name}_limit"] = float(part.limit)
        summary[f"{name}_rates"] = part.learning_rate.values.tolist()
        summary[f"{name}_late"] = [list(median(row)[:3]) for row in ratios]
        summary[f"{name}_all_late"] = list(median(ratios)[:3])
        summary[f"{name}_highest"] = [float(np.nanmax(row)) for row in product]
        summary[f"{name}_not_found"] = int(np.isnan(product).sum())
        summary[f"{name}_cost_at_end"] = [float(np.median(row[:, -1])) for row in part.cost.values]
    return summary
