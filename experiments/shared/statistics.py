"""Statistics of runs for summaries."""

import numpy as np
import xarray as xr

from gdjax.plots.sweeps import quantiles


def medians(values: xr.DataArray) -> xr.DataArray:
    """Return medians over the dimension `seed`, with +inf as the largest value."""

    def over(array, axis):
        return quantiles(np.moveaxis(array, axis, 0)[None], (0.5,))[0, 0]

    return values.reduce(over, "seed").reset_coords(drop=True)
