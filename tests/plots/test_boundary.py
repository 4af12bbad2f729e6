"""Figures of a trainability boundary: colors of both sides, and zooms."""

import numpy as np
import pytest
import xarray as xr

from experiments.trainability_boundary import figures as boundary
from gdjax.plots.style import style


@pytest.fixture(autouse=True)
def _styled():
    with style():
        yield


def whole_and_closer():
    """Return a map of rates from 0.1 to 1000, and a map of its window from 1 to 10."""
    ends = ((0.1, 1000.0), (1.0, 10.0))
    rates = np.array([[np.geomspace(*pair, 8) for pair in ends]])[None]
    trains = np.broadcast_to(np.arange(8)[:, None] < 4, (1, 1, 2, 8, 8))
    speed = np.broadcast_to(np.linspace(0.1, 1.0, 64).reshape(8, 8), trains.shape)
    dims = ("condition", "seed", "map")
    sides = {name: ((*dims, dim), rates) for name, dim in (("across", "column"), ("up", "row"))}
    maps = {"trains": trains, "speed": speed}
    return xr.Dataset(
        sides | {name: ((*dims, "row", "column"), a) for name, a in maps.items()},
        {"condition": ["tanh"]},
    )


def test_a_frame_marks_the_position_of_the_next_map():
    figure = boundary.maps(whole_and_closer(), 0, ["tanh"], title="whole")
    whole, *bars = figure.axes
    assert figure.get_suptitle() == "Trainable settings, whole: 50% to 50% of a map"
    assert whole.get_title("left") == "tanh"
    left, bottom = whole.patches[0].get_xy()
    assert (left, bottom) == pytest.approx((0, 0))
    assert whole.patches[0].get_width() == pytest.approx(1)
    assert len(bars) == 2
    assert not boundary.maps(whole_and_closer(), 1, ["tanh"], title="whole").axes[0].patches
    figure.canvas.draw()


def test_boundary_rates_are_drawn_between_bounded_and_unbounded_runs():
    bounded = np.array([[True, True, False, False], [True, False, True, False]])
    coordinates = {"roughness": [0.01, 0.1], "learning_rate": [1.0, 2.0, 3.0, 4.0]}
    dataset = xr.Dataset({"bounded": (tuple(coordinates), bounded)}, coordinates)
    figure = boundary.boundary_rates(dataset, threshold=0.05)
    top, bottom = figure.axes
    marks = top.lines[0]
    assert list(zip(marks.get_xdata(), marks.get_ydata(), strict=True)) == [
        (0.01, 2.5),
        (0.1, 1.5),
        (0.1, 2.5),
        (0.1, 3.5),
    ]
    assert bottom.lines[0].get_ydata().tolist() == [1, 3]
    title = top.get_title(loc="left")
    assert title == "Boundary rates: at most 1 if the cost is convex, up to 3 if not"
    figure.canvas.draw()
