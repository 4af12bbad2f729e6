"""Explorer in a notebook: the page in a frame, whose selection comes back to Python.

    page in a frame  --message-->  widget (anywidget)  --trait-->  view.selection

The frame has no access to the notebook, and sends only positions of runs.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

SPACING = "spacing"  # attribute of an axis of a region: "linear" or "logarithmic"


@dataclass(frozen=True)
class Selection:
    """Runs that were selected in a page.

    Args:
        box: values by axis for `runs.sel`, which contain all selected runs.
        mask: whether a run is selected, with the dimensions of the grid.
    """

    box: dict[str, list]
    mask: xr.DataArray


def selection_of(outcome: xr.DataArray, indices: dict[str, np.ndarray], flat: list) -> Selection:
    """Return the selection of runs by their positions among the shown ones."""
    mask = np.zeros(outcome.shape, bool)
    shape = tuple(len(index) for index in indices.values())
    flat = [i for i in flat if 0 <= i < np.prod(shape)]
    shown = np.unravel_index(np.array(flat, int), shape)
    places = [index[at] for index, at in zip(indices.values(), shown, strict=True)]
    mask[tuple(places)] = len(flat) > 0
    box = {
        str(dim): outcome[dim].values[np.unique(at)].tolist()
        for dim, at in zip(outcome.dims, places, strict=True)
    }
    return Selection(box, xr.DataArray(mask, outcome.coords, outcome.dims, "selected"))


def is_logarithmic(axis: xr.DataArray) -> bool:
    """Return whether numbers between two values of an axis are geometric means.

    A region of an axis keeps the rule of the whole axis, so that all zooms have the same numbers.
    """
    if SPACING in axis.attrs:
        return axis.attrs[SPACING] == "logarithmic"
    if axis.dtype.kind not in "iuf" or not axis.size:
        return False
    return bool(axis.min() > 0 and axis.max() > 8 * axis.min())


def finer_values(values: np.ndarray, chosen: list, is_log: bool) -> np.ndarray:
    """Return values with a number between each two from one before to one after the chosen ones.

    No number is added where it could not be told from its neighbors in float32, nor to words and
    axes of seeds with all integers.

    Examples:
        >>> finer_values(np.array([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0], False).tolist()
        [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
        >>> finer_values(np.array([1e-3, 1e-2, 1e-1]), [0.01], True).round(5).tolist()
        [0.001, 0.00316, 0.01, 0.03162, 0.1]
    """
    if values.dtype.kind != "f" or not chosen:
        return values
    ordered = np.sort(values)
    low = max(np.searchsorted(ordered, min(chosen)) - 1, 0)
    near = ordered[low : np.searchsorted(ordered, max(chosen)) + 2]
    return np.union1d(values, _with_middles(near, is_log))


def region_values(values: np.ndarray, chosen: list, is_log: bool, points: int) -> np.ndarray:
    """Return at least `points` values from the least to the greatest chosen one, if there are.

    The values between are middles of neighbors, middles of these, and so on, so that two regions
    share all numbers of their intersection. One chosen value stands for itself and its neighbors.

    Examples:
        >>> region_values(np.array([1.0, 2.0, 3.0, 4.0]), [2.0, 3.0], False, 4).tolist()
        [2.0, 2.25, 2.5, 2.75, 3.0]
        >>> region_values(np.array([1.0, np.nextafter(1, 2)]), [1.0], False, 4).size
        2
    """
    if values.dtype.kind != "f":
        return np.array(chosen, values.dtype)
    ordered = np.sort(values)
    low, high = np.searchsorted(ordered, [min(chosen), max(chosen)])
    if low == high:
        low, high = max(low - 1, 0), high + 1
    inside, size = ordered[low : high + 1], 0
    while size < len(inside) < points:
        size = len(inside)
        inside = _with_middles(inside, is_log)
    return inside


def _with_middles(ordered, is_log):
    """Return values and the numbers between them that float32 can tell from both neighbors."""
    low, high = ordered[:-1], ordered[1:]
    middle = np.sqrt(low * high) if is_log else (low + high) / 2
    middle = np.array([float(f"{v:.8g}") for v in middle])
    ends = np.stack([low, high]).astype(np.float32)
    return np.union1d(ordered, middle[(ends != middle.astype(np.float32)).all(axis=0)])
