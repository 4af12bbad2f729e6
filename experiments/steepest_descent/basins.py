"""Maps of the minimum to which each start leads, by learning rate and momentum.

basin(m) = {x_0 : x_t -> m},   m is stable at rates below (2 + 2 momentum) / lambda_max(m)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from gdjax.minima import basins_of_attraction, learning_rate_limits
from gdjax.plots.surfaces import basin_maps


def maps(
    name: str, rates: Sequence[float], momenta: Sequence[float], side: int, steps: int
) -> xr.Dataset:
    """Return the end points on one surface; rates are in units of the smallest limit."""
    of_limit = np.array(rates)
    basins = basins_of_attraction(
        name, learning_rate_limits(name).min() * of_limit, momentum=momenta, side=side,
        num_steps=steps,
    )  # fmt: skip
    return basins.assign_coords(of_limit=("learning_rate", of_limit))


def beyond(basins: xr.Dataset) -> np.ndarray:
    """Return whether rates exceed stability limits, [rates, momenta, minima]."""
    return basins.learning_rate.values[:, None, None] > basins.limit.values


def numbers(basins: xr.Dataset) -> dict:
    """Return the numbers of one surface."""
    share = basins.share.transpose("learning_rate", "momentum", "minimum").values
    end, of_limit = basins.end.values, basins.of_limit.values
    elsewhere, by_rate, by_momentum = np.mean(end != end[0, 0], axis=(2, 3)), {}, {}
    for fraction in (0.5, 0.9):
        at = int(np.argmin(np.abs(of_limit - fraction)))
        by_rate[f"{fraction:g}"] = {
            "elsewhere": elsewhere[at, 0],
            "diverged": float(basins.share_diverged[at, 0]),
        }
    for at, momentum in enumerate(basins.momentum.values):
        most = np.max(of_limit, where=share[:, at].sum(axis=-1) > 0.5, initial=0.0)
        by_momentum[f"{momentum:g}"] = {
            "elsewhere": elsewhere[0, at],
            "half_arrives_up_to": float(most),
        }
    return {
        "minima": basins.sizes["minimum"],
        "limit_least": float(basins.limit[0].min()),
        "limit_most": float(basins.limit[0].max()),
        "held_beyond_limit_most": float(np.max(share, where=beyond(basins), initial=0.0)),
        "rate": by_rate,
        "momentum": by_momentum,
    }


def plot(surfaces: Mapping[str, xr.Dataset], drawn: Sequence[int]) -> dict:
    """Draw maps at the rates with some indices, by surface."""
    figures = {}
    for name, basins in surfaces.items():
        figures[f"maps_{name}"] = basin_maps(
            basins,
            settings=[(rate, at) for at in range(basins.sizes["momentum"]) for rate in drawn],
            columns=len(drawn),
            title=basins.attrs["formula"] + ": minimum to which each start leads",
        )
    return figures
