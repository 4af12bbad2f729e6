"""Explorer in a notebook: the page in a frame, whose selection comes back to Python.

    page in a frame  --message-->  widget (anywidget)  --trait-->  view.selection

The frame has no access to the notebook, and sends only positions of runs.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr


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


def finer_values(values: np.ndarray, chosen: list) -> np.ndarray:
    """Return values with a number between each two from one before to one after the chosen ones.

    No number is added where it could not be told from its neighbors in float32, nor to words and
    axes of seeds with all integers.

    Examples:
        >>> finer_values(np.array([1.0, 2.0, 3.0, 4.0]), [1.0, 2.0]).tolist()
        [1.0, 1.5, 2.0, 2.5, 3.0, 4.0]
        >>> finer_values(np.array([1e-3, 1e-2, 1e-1]), [0.01]).round(5).tolist()
        [0.001, 0.00316, 0.01, 0.03162, 0.1]
    """
    if values.dtype.kind != "f" or not chosen:
        return values
    ordered = np.sort(values)
    low = max(np.searchsorted(ordered, min(chosen)) - 1, 0)
    near = ordered[low : np.searchsorted(ordered, max(chosen)) + 2]
    is_log = near[0] > 0 and near[-1] / near[0] > 8
    middle = np.sqrt(near[:-1] * near[1:]) if is_log else (near[:-1] + near[1:]) / 2
    middle = np.array([float(f"{v:.8g}") for v in middle])
    ends = np.stack([near[:-1], near[1:]]).astype(np.float32)
    return np.sort(
        np.concatenate([values, middle[(ends != middle.astype(np.float32)).all(axis=0)]])
    )
