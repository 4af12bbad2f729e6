"""Concatenation of the sweeps of several problems along a new dimension.

    cost[width, axes, step] = tree[width].cost[axes, step]

>>> from gdjax import problems
>>> from gdjax.sweeps import axes, compare
>>> bowls = {str(width): problems.bowl([1.0] * width) for width in (2, 4)}
>>> runs = concat(compare(bowls, axes(learning_rate=[0.1, 0.2]), 5), "width")
>>> runs.cost.dims, runs.width.values.tolist()
(('width', 'learning_rate', 'step'), ['2', '4'])
"""

import json

import numpy as np
import xarray as xr

from gdjax.errors import InputError
from gdjax.stores.schema import check_name
from gdjax.sweeps.dataset import PREFIXES


def concat(tree: xr.DataTree, dim: str) -> xr.Dataset:
    """Join the problems of a comparison along a new dimension.

    Problems of different widths have the same records and metrics, and parameters of different
    shapes. The records and the metrics of all problems are joined. Parameters, snapshots and states
    are omitted, and so are metrics that are missing from some problems or differ in shape. The
    attribute `left_out` lists the omitted arrays, which remain in `tree`.

    Args:
        tree: result of `compare`.
        dim: name of the new dimension. Its coordinate contains the names of the problems as text.
            Convert widths to numbers by `runs.assign_coords(width=runs.width.astype(int))`.

    Returns:
        Dataset with the dimensions `dim`, the axes and `step`, which `plot` and `table` accept. Its
        attribute `baseline` is the baseline of the problems, if it is equal for all of them.

    Raises:
        InputError: if `tree` is not a comparison, if `dim` is the name of one of its arrays or
            dimensions, or if the axes or the recorded steps differ between the problems.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, compare
        >>> bowls = {"round": problems.bowl([1.0, 1.0]), "long": problems.bowl([1.0, 9.0, 9.0])}
        >>> runs = concat(compare(bowls, axes(learning_rate=[0.1]), 5), "shape")
        >>> runs.outcome.dims, runs.attrs["left_out"]
        (('shape', 'learning_rate'), 'params')
    """
    sweeps = _sweeps_of(tree)
    check_name(dim, "concat")
    for name, runs in sweeps.items():
        if dim in {*runs.variables, *runs.dims}:
            raise InputError(
                f"dim = {dim!r} is an array or a dimension of {name!r}; expected a new name"
            )
    every = dict.fromkeys(str(name) for runs in sweeps.values() for name in runs.data_vars)
    common = [name for name in every if _is_common(name, sweeps.values())]
    parts: dict[str, xr.Dataset] = {name: runs[common] for name, runs in sweeps.items()}
    _check_coordinates(parts)
    joined = xr.concat(
        list(parts.values()),
        xr.Variable(dim, np.array([*parts], object), {"long_name": dim.replace("_", " ")}),
        data_vars="all",
        coords="minimal",
        compat="override",
        join="exact",
    )
    joined.attrs = {
        "result": "comparison",
        "left_out": ", ".join(name for name in every if name not in common),
    }
    baselines = {json.loads(runs.attrs["identity"])["baseline"] for runs in sweeps.values()}
    if len(baselines) == 1 and baselines != {None}:
        joined.attrs["baseline"] = baselines.pop()
    return joined


def _sweeps_of(tree):
    """Return the sweeps of a comparison by name, or raise InputError."""
    sweeps = {}
    if isinstance(tree, xr.DataTree):
        sweeps = {str(name): node.to_dataset() for name, node in tree.children.items()}
    if not sweeps or not all("identity" in runs.attrs for runs in sweeps.values()):
        raise InputError(
            f"tree = {type(tree).__name__}, expected the DataTree of several sweeps that "
            f"gd.compare returned"
        )
    return sweeps


def _is_common(name, sweeps):
    """Return whether an array of equal shape, not a parameter, is in all sweeps."""
    if name.split(".")[0] in PREFIXES:
        return False
    # Lengths of axes and steps are not compared here: `_check_coordinates` raises if they differ.
    shapes = {
        tuple((d, None if d in runs.coords else runs.sizes[d]) for d in runs[name].dims)
        if name in runs
        else None
        for runs in sweeps
    }
    return len(shapes) == 1 and shapes != {None}


def _check_coordinates(parts):
    """Check that all problems have the same axes and recorded steps."""
    (first_name, first), *others = parts.items()
    for name, runs in others:
        for coordinate in dict.fromkeys((*first.coords, *runs.coords)):
            a, b = (part.coords.get(coordinate) for part in (first, runs))
            if a is None or b is None or not a.equals(b):
                raise InputError(
                    f"tree: {coordinate!r} of {name!r} differs from that of {first_name!r}, "
                    f"expected the same axes and recorded steps for all problems; select common "
                    f"ones first: tree.sel({coordinate}=...)"
                )
