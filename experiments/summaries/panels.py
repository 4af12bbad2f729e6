"""Datasets of several cases in one Dataset, with the case as a prefix of each name."""

from collections.abc import Mapping

import xarray as xr


def merge(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the Datasets of all cases as one, each name prefixed with its case."""
    renamed = [
        part.rename({str(name): f"{case}.{name}" for name in {*part.variables, *part.dims}})
        for case, part in parts.items()
    ]
    return xr.merge(renamed, join="exact", compat="no_conflicts")


def panel(dataset: xr.Dataset, case: str) -> xr.Dataset:
    """Return the Dataset of one case, without its prefix."""
    start = f"{case}."
    part = dataset[[n for n in map(str, dataset.data_vars) if n.startswith(start)]]
    every = {*map(str, part.variables), *map(str, part.dims)}
    return part.rename({n: n.removeprefix(start) for n in every})
