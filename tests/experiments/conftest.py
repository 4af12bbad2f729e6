"""Fixtures of the tests of experiments."""

import warnings

import pytest
import xarray as xr
from matplotlib.figure import Figure
from zarr.errors import UnstableSpecificationWarning

from experiments.shared.figures import legible
from gdjax.base import results
from gdjax.plots.style import style
from tests.figures import defects


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
            figures = {name: legible(figure) for name, figure in experiment.plot(stored).items()}
        still = {name: f for name, f in figures.items() if isinstance(f, Figure)}  # no animations
        found = {name: defects(figure) for name, figure in still.items()}
        assert not any(found.values()), found
        return figures

    return draw
