"""Statistics of runs, and Datasets of several cases, for summaries."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from gdjax.plots.sweeps import quantiles


def medians(values: xr.DataArray) -> xr.DataArray:
    """Return medians over the dimension `seed`, with +inf as the largest value."""

    def over(array, axis):
        return quantiles(np.moveaxis(array, axis, 0)[None], (0.5,))[0, 0]

    return values.reduce(over, "seed").reset_coords(drop=True)


def joined(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return one Dataset of several cases, with names prefixed by the number of the case.

    Args:
        parts: name of each case and its results; the names become the attribute `cases`.
    """
    numbered = [
        part.rename({str(n): f"{number}_{n}" for n in {*part.variables, *part.dims}})
        for number, part in enumerate(parts.values())
    ]
    dataset = xr.merge(numbered, join="exact", compat="no_conflicts")
    return dataset.assign_attrs(cases=list(parts))


def case(dataset: xr.Dataset, number: int) -> xr.Dataset:
    """Return the variables of one case, without the prefix of their names."""
    start = f"{number}_"
    part = dataset[[n for n in map(str, dataset.data_vars) if n.startswith(start)]]
    every = {*map(str, part.variables), *map(str, part.dims)}
    return part.rename({n: n.removeprefix(start) for n in every})
