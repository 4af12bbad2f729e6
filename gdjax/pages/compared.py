"""Several sweeps on one axis of a page, and the run that branches left.

    {"adam": runs, "sgd": more}  ->  one Dataset with the axis `sweep`, of the values they share

Runs of equal settings and seeds are then pairs, whose differences the map shows.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from gdjax.base.arguments import check_text
from gdjax.base.errors import InputError, printable
from gdjax.stores.reader import opened
from gdjax.sweeps.axes import position
from gdjax.sweeps.continued.stored import axes_of, identity_of

SWEEP = "sweep"  # axis of the compared sweeps


def compared_runs(sweeps: Mapping):
    """Return the runs of several sweeps on one axis, their stores, and notes for the page."""
    if len(sweeps) < 2:
        raise InputError(f"explore: runs = {len(sweeps)} sweeps by name, expected at least 2")
    for name in sweeps:
        check_text("explore: name of a sweep in runs", name)
    datasets = {name: opened(runs) for name, runs in sweeps.items()}
    grids = {name: _grid(name, runs) for name, runs in datasets.items()}
    (first_name, first), *others = datasets.items()
    grid = grids[first_name]
    for name, runs in others:
        if {*grids[name]} != {*grid}:
            raise InputError(
                f"explore: runs[{name!r:.80}] has the axes {', '.join(grids[name])}, and "
                f"runs[{first_name!r:.80}] has {', '.join(grid)}, expected the same axes; select "
                f"one value of the other ones with .sel"
            )
        if runs.outcome.attrs.get("flag_meanings") != first.outcome.attrs.get("flag_meanings"):
            raise InputError(f"explore: runs[{name!r:.80}] has other outcomes, expected the same")
    names = [
        key
        for key in map(str, first.data_vars)
        if all(key in one and {*one[key].dims} == {*grid, "step"} for one in datasets.values())
    ]
    kept = [one[[*names, "outcome"]].transpose(*grid, "step") for one in datasets.values()]
    try:
        shared = xr.align(*kept, join="inner")
    except ValueError as error:
        raise InputError(f"explore: runs have different zipped axes ({error})") from error
    if empty := [str(dim) for dim, size in shared[0].sizes.items() if not size]:
        raise InputError(
            f"explore: the sweeps have no values of {', '.join(empty)} in common, by which their "
            f"runs could be paired; compare the sweeps with gd.compare, or repeat one of them"
        )
    for coordinate in shared[0].coords:
        if not all(shared[0][coordinate].equals(one[coordinate]) for one in shared[1:]):
            raise InputError(f"explore: runs have different values of the zipped axis {coordinate}")
    joined = xr.concat(
        shared,
        pd.Index([*datasets], name=SWEEP),
        combine_attrs="drop_conflicts",
        join="exact",
        coords="minimal",
        compat="override",
    ).transpose(*grid, SWEEP, "step")
    for key in joined.data_vars:
        joined[key].attrs = dict(first[key].attrs)
    joined.encoding = {}
    notes = [
        f"{shared[0].sizes[dim]:,} of the {runs.sizes[dim]:,} values of {printable(dim)} in "
        f"{printable(name)} are in all sweeps, and shown."
        for name, runs in datasets.items()
        for dim in (*grid, "step")
        if runs.sizes[dim] > shared[0].sizes[dim]
    ]
    return joined, [store_of(one) for one in datasets.values()], notes


def _grid(name, runs):
    """Return the dimensions of the grid of a sweep that is compared."""
    if not {"outcome", "cost"} <= {*getattr(runs, "variables", ())} or hasattr(runs, "columns"):
        raise InputError(
            f"explore: runs[{name!r:.80}] = {type(runs).__name__}, expected a Dataset of a sweep, "
            f"or the path of its store; rows of several DataFrames are joined with pandas.concat"
        )
    if SWEEP in runs.outcome.dims:
        raise InputError(f"explore: runs[{name!r:.80}] has an axis named {SWEEP}; rename it")
    return tuple(str(dim) for dim in runs.outcome.dims)


def store_of(runs: xr.Dataset) -> str | None:
    """Return the path or URL of the store from which runs were read; None for runs in memory."""
    source = runs.encoding.get("source")
    return source if isinstance(source, str) else None


def parent_run(runs, parent, names):
    """Return the records of the run that branches left, for a page.

    Args:
        runs: Dataset of the branches, from `branch`.
        parent: Dataset of the sweep with their parent run, or path or URL of its store.
        names: metrics of the page.
    """
    parent = opened(parent)
    if not isinstance(parent, xr.Dataset):
        raise InputError(
            f"explore: parent = {type(parent).__name__}, expected a Dataset of a sweep, or the "
            f"path of its store"
        )
    branches = identity_of(runs, "explore: runs", "branches of gd.branch, as parent was passed")
    identity = identity_of(parent, "explore: parent", "the sweep that the branches left")
    trunk = branches.get("trunk")
    if not trunk or branches["data_hash"] != identity["data_hash"]:
        raise InputError(
            "explore: parent is not a sweep whose run the branches in runs left; pass the result "
            "of gd.branch as runs, and the sweep from which it branched as parent"
        )
    grid = axes_of(identity, "explore: parent")
    index = position(grid, trunk)
    run = parent.isel(dict(zip(grid.sizes, index, strict=True)))
    meanings = str(run.outcome.attrs.get("flag_meanings", "")).split()
    code = int(run.outcome)
    return {
        "name": ", ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in trunk.items()),
        "at": dict(trunk),
        "step": run.step.values.astype(np.float64),
        "metrics": {name: run[name].values.astype(np.float32) for name in names if name in run},
        "outcome": meanings[code].replace("_", " ") if 0 <= code < len(meanings) else "",
    }


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
