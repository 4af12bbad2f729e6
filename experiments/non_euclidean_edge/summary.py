"""Summary of the generalized sharpness at the end of descents."""

import numpy as np
import xarray as xr

from experiments.shared.panels import panel
from gdjax.statistics import median


def late(values: np.ndarray) -> np.ndarray:
    """Return medians over the last quarter of the records, [rates, starts]."""
    return np.median(values[..., -(values.shape[-1] // 4) :], axis=-1)


def numbers(dataset: xr.Dataset) -> dict:
    """Return final sharpness and step curvature, in units of the limit."""
    summary: dict = {}
    for case in dataset.attrs["cases"]:
        part = panel(dataset, case)
        summary[f"{case}_rates"] = part.learning_rate.values.tolist()
        for name in ("sharpness", "step_curvature"):
            ratios = late(part[name].values)
            summary[f"{case}_{name}"] = [list(median(row)[:3]) for row in ratios]
        summary[f"{case}_at_start"] = [float(np.median(row[:, 0])) for row in part.sharpness.values]
        summary[f"{case}_cost_at_end"] = [float(np.median(row[:, -1])) for row in part.cost.values]
        summary[f"{case}_runs_diverged"] = int(np.isnan(part.cost.values[..., -1]).sum())
    return summary
