"""Statuses in attributes, as the CF conventions want them."""

from enum import IntEnum

import numpy as np
import xarray as xr

from gdjax.descent.outcome import Outcome
from gdjax.flags import flags
from gdjax.geometry.certificates import Kind


class Odd(IntEnum):
    """Values that are no row of whole numbers from 0."""

    UP = 7
    SIDE_WAYS = -1


def test_values_and_meanings_stand_in_one_order():
    assert flags(Odd) == {"flag_values": [7, -1], "flag_meanings": "up side_ways"}


def test_what_is_written_says_what_every_number_means(tmp_path):
    for statuses in (Outcome, Kind, Odd):
        codes = np.array([int(s) for s in statuses], np.int8)
        xr.Dataset({"status": ("run", codes, flags(statuses))}).to_zarr(
            tmp_path / statuses.__name__, zarr_format=3, consolidated=False
        )
        read = xr.open_zarr(tmp_path / statuses.__name__, consolidated=False).status
        meaning = dict(
            zip(read.attrs["flag_values"], read.attrs["flag_meanings"].split(), strict=True)
        )
        assert [meaning[code] for code in read.values.tolist()] == [
            status.name.lower() for status in statuses
        ]
