"""Comparison of two stored sweeps, run by run.

first_difference = first recorded step at which any record of a run differs
largest(name)    = max over steps |a - b|, in float64
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gdjax.errors import InputError
from gdjax.stores import open_dataset
from gdjax.sweeps.axes import axes_along, value_tuples


def compare_stores(
    a: str | Path | xr.Dataset,
    b: str | Path | xr.Dataset,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return the differences between the common runs of two sweeps.

    Runs are matched by their values along every axis, and records by name and step. NaN equals NaN:
    in a record it denotes a value that was not recorded, and in parameters a run that diverged.

    Args:
        a: path or URL of a store, or a Dataset from `gd.sweep` or `gd.open_dataset`.
        b: second sweep, in the same form.
        storage_options: keywords of `obstore.store.from_url`, for URLs.

    Returns:
        Dataset over the axes: `first_difference`, the first step recorded in both sweeps at which
        any record differs, or -1 if none differs; `params_differ`, whether the final parameters
        differ; `largest_<record>`, the largest absolute difference over steps, +inf if only one
        value is finite. For runs that are unfinished in either sweep, `first_difference` is -2,
        `params_differ` is False and the largest differences are NaN.

    Raises:
        InputError: if the axes differ, or the sweeps have no runs or steps in common.
        StoreError: if there is no store, or one of its tiles is damaged.

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, divisor in (("a", 1.0), ("b", 2.0)):
        ...         rates = axes(learning_rate=[0.1], seed=[0])
        ...         bowl = problems.bowl([1.0, 9.0 / divisor])
        ...         _ = sweep(bowl, rates, 5, store=f"{folder}/{name}")
        ...     result = compare_stores(f"{folder}/a", f"{folder}/b")
        >>> result.first_difference.item(), result.largest_cost.item() > 0
        (0, True)
    """
    a, b = (
        sweep
        if isinstance(sweep, xr.Dataset)
        else open_dataset(sweep, storage_options=storage_options)
        for sweep in (a, b)
    )
    for name, sweep in (("a", a), ("b", b)):
        if not {"outcome", "step"} <= {*sweep.variables}:
            raise InputError(
                f"{name} = Dataset of {', '.join(map(str, sweep.data_vars))} without `outcome` or "
                f"`step`, expected that of gd.sweep or gd.open_dataset"
            )
    with a, b:
        dims = a["outcome"].dims
        if b["outcome"].dims != dims:
            raise InputError(
                f"compare_stores: b has the axes {b['outcome'].dims}, expected those of a: {dims}; "
                f"compare sweeps over the same axes"
            )
        a, b = xr.align(*_matched(a, b, dims), join="inner")
        if not all(a.sizes[name] for name in (*dims, "step")):
            empty = next(name for name in (*dims, "step") if not a.sizes[name])
            raise InputError(
                f"compare_stores: a and b have no value of {empty!r} in common, expected at least "
                f"one"
            )
        return _differences(a.load(), b.load(), dims)


def _matched(a, b, dims):
    """Return both sweeps with equal runs at equal positions along dimensions of several axes.

    The coordinate of such a dimension is a number of the run, which may differ between sweeps.
    """
    for dim in dims:
        along, others = (sorted(axes_along(sweep)[dim]) for sweep in (a, b))
        if along != others:
            raise InputError(
                f"compare_stores: b has the axes {', '.join(others)} along {dim!r}, expected "
                f"those of a: {', '.join(along)}; compare sweeps over the same axes"
            )
        if along != [dim]:
            at, other_at = (
                {values: i for i, values in enumerate(value_tuples(columns))}
                for columns in ({axis: sweep[axis].values for axis in along} for sweep in (a, b))
            )
            common = [values for values in at if values in other_at]
            a = a.isel({dim: [at[values] for values in common]})
            b = b.isel({dim: [other_at[values] for values in common]})
            b = b.assign_coords({dim: (dim, a[dim].values)})
    return a, b


def _differences(a, b, dims):
    finished = (a["outcome"] >= 0) & (b["outcome"] >= 0)
    records, params = [], []
    for name, variable in a.data_vars.items():
        same_shape = name in b and b[name].dims == variable.dims and b[name].shape == variable.shape
        if same_shape and variable.dims[: len(dims) + 1] == (*dims, "step"):
            records.append(name)
        elif same_shape and (name == "params" or str(name).startswith("params.")):
            params.append(name)
    result, differs_at = {}, xr.zeros_like(finished)
    for name in records:
        inner = a[name].dims[len(dims) + 1 :]
        one, other = a[name].astype(float), b[name].astype(float)
        equal = _equal(one, other)
        differs_at = differs_at | ~equal.all(inner)
        gap = xr.where(equal, 0.0, abs(one - other)).fillna(np.inf)
        result[f"largest_{name}"] = gap.max((*inner, "step")).where(finished)
    first = a["step"][differs_at.argmax("step")].where(differs_at.any("step"), -1)
    result["first_difference"] = first.where(finished, -2).astype(int)
    differ = xr.zeros_like(finished)
    for name in params:
        differ = differ | ~_equal(a[name], b[name]).all(a[name].dims[len(dims) :])
    result["params_differ"] = differ & finished
    return xr.Dataset(result).drop_vars("step", errors="ignore")


def _equal(a, b):
    return (a == b) | ((a != a) & (b != b))  # NaN != NaN
