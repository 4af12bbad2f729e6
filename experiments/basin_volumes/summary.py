"""Summary of basin volumes by the coordinates in which they are measured."""

import itertools

import xarray as xr

from gdjax.statistics import Interval, mean, median, paired

KNOWN = ("nothing", "layers", "diagonal", "Hessian")  # information about the basin's shape


def gains(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return paired differences of the log volume from the previous coordinates."""
    return {
        b: paired(dataset.log_volume.sel(known=a).values, dataset.log_volume.sel(known=b).values)
        for a, b in itertools.pairwise(KNOWN)
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return log volumes in nats, and differences between kinds of coordinates."""
    summary: dict = {
        "parameters": dataset.attrs["parameters"],
        "test_accuracy": median(dataset.test_accuracy.values)[:3],
        "cost": median(dataset.cost.values)[:3],
    }
    for name in KNOWN:
        one = dataset.sel(known=name).dropna("network")
        summary |= {
            f"{name}_log_volume": mean(one.log_volume.values)[:3],
            f"{name}_effective_directions": float(one.effective_directions.median()),
            f"{name}_lower_bounds": float(one.lower_bound.mean()),
            f"{name}_standard_error": float(one.standard_error.median()),
        }
    for name, one in gains(dataset).items():
        summary[f"{name}_gain"] = one[:3]
    return summary
