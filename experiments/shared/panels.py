"""Several Datasets in one, with a case name as the prefix of each variable."""

from collections.abc import Mapping

import xarray as xr


def merge(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Merge the Datasets of all cases, with names prefixed by the case."""
    renamed = [
        part.rename({str(name): f"{case}.{name}" for name in {*part.variables, *part.dims}})
        for case, part in parts.items()
    ]
    return xr.merge(renamed, join="exact", compat="no_conflicts")


def panel(dataset: xr.Dataset, case: str) -> xr.Dataset:
    """Return the Dataset of one case, without the prefix of its names."""
    start = f"{case}."
    part = dataset[[n for n in map(str, dataset.data_vars) if n.startswith(start)]]
    every = {*map(str, part.variables), *map(str, part.dims)}
    return part.rename({n: n.removeprefix(start) for n in every})
