"""A region of a sweep with more values of its axes, computed alone.

    region of [learning_rate, momentum]  ->  the same region, with middles of neighboring values

The bits of a run depend on its settings alone, so regions can be computed in any order and overlap.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from gdjax.base.errors import InputError
from gdjax.pages.compared import store_of
from gdjax.pages.notebook import SPACING, is_logarithmic, region_values
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import SEEDS, axes, zip_axes
from gdjax.sweeps.check import Asked
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import compute
from gdjax.sweeps.spec import Sweep


def stored_sweep(runs: xr.Dataset, problem: Any, make_optimizer: Any) -> Sweep:
    """Return the specification of the sweep from whose store runs were read."""
    source = store_of(runs)
    if source is None:
        raise InputError(
            "zoom: the runs have no store, which has the settings of their sweep; explore a sweep "
            "with store=..."
        )
    return StoredSweep(source, problem, make_optimizer).sweep


def compute_region(
    spec: Sweep, runs: xr.Dataset, mask: xr.DataArray, points: int, to: StoreLike | None
) -> tuple[xr.Dataset, Sweep]:
    """Return the runs of the region of a selection, and their specification.

    Where a run that `runs` has gets other bits, the attribute `bits_checked` is "false".
    """
    if not mask.any():
        raise InputError("zoom: no runs are selected; drag over cells of the map first")
    chosen = dict(zip(mask.dims, map(np.unique, np.nonzero(mask.values)), strict=True))
    dims, before, again, spacing = {}, {}, {}, {}
    for dim, along in spec.axes.dimensions.items():
        values = {axis: runs[axis].values[chosen[dim]] for axis in along}
        before[dim] = chosen[dim]
        again[dim] = np.arange(len(chosen[dim]))
        if len(along) == 1 and not {*SEEDS} & {*along} and runs[dim].dtype.kind == "f":
            is_log, old = is_logarithmic(runs[dim]), runs[dim].values
            (axis,) = along
            values = {axis: region_values(old, values[axis].tolist(), is_log, points)}
            before[dim] = np.flatnonzero(np.isin(old, values[axis]))
            again[dim] = np.searchsorted(values[axis], old[before[dim]])
            spacing[dim] = "logarithmic" if is_log else "linear"
        dims[dim] = zip_axes(**values)
    finer = replace(spec, axes=axes(**dims))
    if all(finer.axes.sizes[dim] == len(before[dim]) for dim in dims):
        raise InputError(
            "zoom: no numbers can be added between those of the region, which float32 could not "
            "tell apart, or which number at least points; select another region or more points"
        )
    region = compute(Asked(finer, to))
    if to is not None:
        region.encoding["source"] = str(to)
    for dim, rule in spacing.items():
        region[dim].attrs[SPACING] = rule
    if not _is_equal(runs.cost.isel(before), region.cost.isel(again)):
        region.attrs["bits_checked"] = "false"
    return region, finer


def _is_equal(first, second):
    """Return whether costs have the same bits at the steps that both have."""
    steps = np.intersect1d(first.step, second.step)
    second = second.transpose(*first.dims)
    a, b = (one.sel(step=steps).values for one in (first, second))
    return np.array_equal(a, b, equal_nan=True)
