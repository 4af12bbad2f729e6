"""Concatenation of the sweeps of several problems along a new dimension.

The result has cost[width, axes, step] = sweeps[width].cost[axes, step].
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from gdjax.base import documents
from gdjax.base.arrays import check_name
from gdjax.base.errors import InputError
from gdjax.sweeps.dataset import PREFIXES


def concat(sweeps: Mapping[str, xr.Dataset], dim: str) -> xr.Dataset:
    """Join the sweeps of several problems along a new dimension.

    Problems of different widths have the same records and metrics, and parameters of different
    shapes. The records and the metrics of all problems are joined. Parameters, snapshots and states
    are omitted, and so are metrics that are missing from some problems or differ in shape. The
    attribute `left_out` lists the omitted arrays, which remain in `sweeps`.

    Args:
        sweeps: results of `sweep` by name, over the same axes and recorded steps.
        dim: name of the new dimension. Its coordinate contains the names of the problems as text.
            Convert widths to numbers by `runs.assign_coords(width=runs.width.astype(int))`.

    Returns:
        Dataset with the dimensions `dim`, the axes and `step`, which `plot` and `table` accept. Its
        attribute `baseline` is the baseline of the problems, if it is equal for all of them.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> rates = axes(learning_rate=[0.1, 0.2])
        >>> runs = concat(
        ...     {str(n): sweep(problems.bowl([1.0] * n), rates, 5) for n in (2, 4)}, "width")
        >>> runs.cost.dims, runs.width.values.tolist()
        (('width', 'learning_rate', 'step'), ['2', '4'])
    """
    _check_sweeps(sweeps)
    check_name(dim, "concat")
    for name, runs in sweeps.items():
        if dim in {*runs.variables, *runs.dims}:
            raise InputError(
                f"dim = {dim!r} is an array or a dimension of {name!r}; expected a new name"
            )
    every = dict.fromkeys(str(name) for runs in sweeps.values() for name in runs.data_vars)
    common = [name for name in every if _is_common(name, sweeps.values())]
    parts: dict[str, xr.Dataset] = {name: runs[common] for name, runs in sweeps.items()}
    first_name, first = next(iter(parts.items()))
    for name, runs in parts.items():
        if not runs.coords.equals(first.coords):
            raise InputError(
                f"sweeps: axes or recorded steps of {name!r} differ from those of {first_name!r}, "
                f"expected the same for all problems; select common ones first, such as "
                f"runs.sel(step=...)"
            )
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
    baselines = {documents.recorded_identity(runs)["baseline"] for runs in sweeps.values()}
    if len(baselines) == 1 and baselines != {None}:
        joined.attrs["baseline"] = baselines.pop()
    return joined


def _check_sweeps(sweeps):
    """Check that an argument contains the Datasets of sweeps by name."""
    values = list(sweeps.values()) if isinstance(sweeps, Mapping) else []
    if not values or not all("identity" in getattr(runs, "attrs", ()) for runs in values):
        raise InputError(
            f"sweeps = {sweeps!r:.80}, expected the Datasets of gd.sweep by name, such as "
            f"{{'16': gd.sweep(...), '64': gd.sweep(...)}}"
        )


def _is_common(name, sweeps):
    """Return whether all sweeps have this array, in one shape; False for parameters."""
    if name.split(".")[0] in PREFIXES:
        return False
    # Lengths of axes and steps are not compared here: `concat` raises an error if they differ.
    shapes = {
        tuple((d, None if d in runs.coords else runs.sizes[d]) for d in runs[name].dims)
        if name in runs
        else None
        for runs in sweeps
    }
    return len(shapes) == 1 and shapes != {None}
