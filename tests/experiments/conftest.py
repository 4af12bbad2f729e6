"""Fixtures of the tests of experiments."""

import warnings

import pytest
import xarray as xr
from zarr.errors import UnstableSpecificationWarning

from gdjax.base import results
from gdjax.plots.style import style


@pytest.fixture
def drawn(tmp_path):
    """Return a function that stores results, and draws all figures from what it reads back."""

    def draw(experiment, data):
        with warnings.catch_warnings():
            # Names of fixed length, for which Zarr has no specification yet.
            warnings.simplefilter("ignore", UnstableSpecificationWarning)
            results.save_data(data, tmp_path / "data.zarr")
        is_tree = isinstance(data, xr.DataTree)
        read = xr.open_datatree if is_tree else xr.open_dataset
        stored = read(tmp_path / "data.zarr", engine="zarr", consolidated=False).load()
        with style():
            figures = experiment.plot(stored)
        for figure in figures.values():
            if hasattr(figure, "canvas"):  # an animation has none
                figure.draw_without_rendering()
        return figures

    return draw
