"""Sweeps as tables: one row per run, with settings and scalars as columns.

row = axes | cost, metrics at a record | outcome, diverged_at
"""

import pandas as pd
import xarray as xr

from gdjax.base.arguments import check_whole
from gdjax.base.arrays import check_sweep_dataset
from gdjax.sweeps.dataset import KNOWN


def table(runs: xr.Dataset, record: int | None = -1) -> pd.DataFrame:
    """Return the scalars of a sweep as a DataFrame.

    Args:
        runs: result of `sweep`, `concat` or `open_dataset`.
        record: index of the record to include, counted from the end if negative; None gives one row
            per record.

    Returns:
        DataFrame with one row per run, or per record of each run. Columns are the axes, `step`,
        and the scalars. `outcome` is a missing value for unfinished runs.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> runs = sweep(problems.bowl([1.0, 9.0]), axes(learning_rate=[0.1, 1.0]), 10)
        >>> table(runs)[["learning_rate", "step", "outcome"]].values.tolist()
        [[0.1, 10, 'not_converged'], [1.0, 10, 'diverged']]
        >>> table(runs, record=None).shape
        (22, 6)
    """
    check_sweep_dataset("runs", runs)
    count = runs.sizes["step"]
    if record is not None:
        check_whole("record", record, -count, count - 1, remedy=", or None for all")
    grid = runs["outcome"].dims
    masks = {f"{name}{KNOWN}" for name in runs.data_vars}
    scalars = [
        name
        for name, variable in runs.data_vars.items()
        if set(variable.dims) <= {*grid, "step"} and name not in masks
    ]
    picked = runs[scalars].drop_vars(("finished", "snapshot_step"), errors="ignore")
    if record is not None:
        picked = picked.isel(step=record)
    meanings = runs["outcome"].attrs["flag_meanings"].split()
    frame = picked.to_dataframe(dim_order=[*grid, *(["step"] if record is None else [])])
    frame = frame.reset_index()
    frame["outcome"] = pd.Categorical.from_codes(
        frame["outcome"].to_numpy().clip(min=-1), categories=meanings
    )
    axes = [c for c in frame if c in picked.coords and c != "step"]
    rest = [c for c in frame if c not in axes and c != "step"]
    return frame[[*axes, "step", *rest]]
