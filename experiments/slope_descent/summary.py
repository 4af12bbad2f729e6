"""Summary of the end points of descents on curves."""

from itertools import pairwise

import numpy as np
import xarray as xr


def by_function(dataset):
    """Yield the name and the Dataset of each curve, without NaN padding."""
    for index, name in enumerate(dataset.attrs["functions"]):
        curve = dataset.isel(function=index)
        yield name, curve.dropna("minimum").dropna("maximum")


def numbers(dataset: xr.Dataset) -> dict:
    """Return the results of the descents, and their predicted values."""
    summary: dict = {}
    step = dataset.position.diff("step").values
    slope = dataset.slope.values[..., :-1]
    moved = step != 0
    summary["steps_looked_at"] = int(moved.sum())
    summary["share_of_steps_against_slope"] = float(np.mean((step * slope < 0)[moved]))
    summary["share_of_steps_that_lower_cost"] = float(
        np.mean((dataset.cost.diff("step").values <= 0)[np.abs(step) > 1e-6])
    )
    summary["share_in_predicted_valley"] = float(
        np.mean(dataset.valley.values == dataset.predicted_valley.values)
    )
    distances, errors = [], []
    for name, curve in by_function(dataset):
        valley = curve.valley.values
        at = curve.minimum_x.values[valley]
        distances.append(np.max(np.abs(curve.position.values[:, -1] - at)))
        errors.append(np.max(np.abs(contraction(curve) - shrinks_by(curve)[valley])))
        lowest = int(np.argmin(curve.minimum_cost.values))
        summary[f"{name}_learning_rate"] = float(curve.learning_rate)
        summary[f"{name}_share_at_lowest"] = float(np.mean(valley == lowest))
        summary[f"{name}_width_of_lowest"] = width(curve, lowest)
    summary["largest_distance_to_minimum"] = float(max(distances))
    summary["largest_error_of_contraction"] = float(max(errors))
    return summary


def shrinks_by(curve):
    """Return 1 - learning_rate * f'' at each minimum, the predicted contraction."""
    return 1 - float(curve.learning_rate) * curve.minimum_curvature.values


def contraction(curve):
    """Return the measured contraction of each descent.

    The contraction is the ratio of the length of the first step shorter than 1e-8 to that of the
    step before it.
    """
    length = np.abs(curve.position.diff("step").values)
    late = np.argmax(length < 1e-8, axis=1)
    rows = np.arange(len(length))
    return length[rows, late] / length[rows, late - 1]


def width(curve, valley):
    """Return the width of a valley as a share of the domain.

    A valley is bounded by maxima or by the ends of the domain.
    """
    edges = [curve.curve_x.values[0], *curve.maximum_x.values, curve.curve_x.values[-1]]
    low, high = list(pairwise(edges))[valley]
    return float((high - low) / (edges[-1] - edges[0]))
