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

# Experiments some of whose figures still have a legend over data, a text on another, or a log axis
# with one number.
DEFECTIVE = {
    "accuracy", "edge_of_stability", "flatness",
    "gradient_anatomy", "grokking", "guessing", "local_minima", "loss_landscape",
    "mode_connectivity", "river_valleys", "schedules", "search", "seeds", "smoothness",
    "steepest_descent", "widths_of_valleys",
}  # fmt: skip


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
        for name, figure in figures.items():
            is_checked = isinstance(figure, Figure)  # not an animation
            if is_checked and experiment.__name__.split(".")[1] not in DEFECTIVE:
                assert defects(figure) == [], name
        return figures

    return draw
