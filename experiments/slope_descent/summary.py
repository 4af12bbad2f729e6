"""Summary of the end points of descents on curves."""

from itertools import pairwise

import numpy as np
import xarray as xr

from experiments.shared.trees import datasets


def shares(curve: xr.Dataset) -> np.ndarray:
    """Return the share of the starts that lead to each minimum."""
    return np.bincount(curve.valley, minlength=curve.sizes["minimum"]) / curve.sizes["start"]


def numbers(tree: xr.DataTree) -> dict:
    """Return the results of the descents, and their predicted values."""
    curves = datasets(tree)

    def every(values):
        return np.stack([values(curve) for curve in curves.values()])

    step = every(lambda curve: curve.position.diff("step"))
    slope = every(lambda curve: curve.slope[:, :-1])
    cost_change = every(lambda curve: curve.cost.diff("step"))
    summary: dict = {
        "steps_looked_at": int(np.sum(step != 0)),
        "share_of_steps_against_slope": float(np.mean((step * slope < 0)[step != 0])),
        "share_of_steps_that_lower_cost": float(np.mean((cost_change <= 0)[np.abs(step) > 1e-6])),
        "share_in_predicted_valley": float(
            np.mean(every(lambda curve: curve.valley == curve.predicted_valley))
        ),
    }
    distances, errors = [], []
    for name, curve in curves.items():
        valley = curve.valley.values
        at = curve.minimum_x.values[valley]
        distances.append(np.max(np.abs(curve.position.values[:, -1] - at)))
        errors.append(np.max(np.abs(contraction(curve) - shrinks_by(curve)[valley])))
        lowest = int(np.argmin(curve.minimum_cost.values))
        summary[f"{name}_learning_rate"] = float(curve.learning_rate)
        summary[f"{name}_share_at_lowest"] = float(shares(curve)[lowest])
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
