"""Statistics that the summaries of several experiments take of their runs."""

import numpy as np
import xarray as xr

from gdjax.plots.sweeps import quantiles


def medians(values: xr.DataArray) -> xr.DataArray:
    """Return medians over the dimension `seed`: the usual ones where they are finite, else +inf."""

    def over(array, axis):
        return quantiles(np.moveaxis(array, axis, 0)[None], (0.5,))[0, 0]

    return values.reduce(over, "seed").reset_coords(drop=True)
