"""Pictures of basins: what they show is what they were given."""

import numpy as np
import xarray as xr
from matplotlib.colors import to_rgb

from gdjax.plots import basin_maps
from gdjax.plots.style import BLACK
from gdjax.plots.surfaces import Surface

X = np.linspace(-1.5, 1.5, 4)
Y = np.linspace(-1.0, 1.0, 3)
SURFACE = Surface(
    title="toy",
    x=X,
    y=Y,
    cost=(X**2 - 1) ** 2 + Y[:, None] ** 2,
    minima=np.array([[-1.0, 0.0], [1.0, 0.0]]),
    saddles=np.array([[0.0, 0.0]]),
    maxima=np.zeros((0, 2)),
)
DIVERGED, MOVING, ELSEWHERE = -2, -1, -3
END = np.array([[[0, 0, 1, 1], [0, MOVING, 1, 1], [0, 0, 1, DIVERGED]]] * 2)
ARRIVED = np.where(END >= 0, np.arange(12).reshape(3, 4), -1)
MAPS = basin_maps.Maps(
    END, ARRIVED, ["rate 0.1", "rate 0.2"], diverged=DIVERGED, not_arrived=MOVING
)


def basins():
    """As `gdjax.minima.basins` gives it, with two rates and no momentum."""
    codes = {"flag_values": [-1, -2, -3], "flag_meanings": "not_arrived diverged at_no_minimum"}
    kinds = {"flag_values": [0, 1, 2], "flag_meanings": "saddle maximum degenerate"}
    dims = ("learning_rate", "momentum", "y", "x")
    return xr.Dataset(
        {
            "end": (dims, END[:, None], codes),
            "arrived_at": (dims, ARRIVED[:, None]),
            "cost": (("y", "x"), SURFACE.cost),
            "position": (("minimum", "coordinate"), SURFACE.minima),
            "other": (("point", "coordinate"), SURFACE.saddles),
            "other_kind": ("point", [0], kinds),
        },
        {"learning_rate": [0.1, 0.25], "momentum": [0.9], "x": X, "y": Y},
        {"formula": "toy"},
    )


def test_a_dataset_of_basins_becomes_what_is_drawn():
    surface, maps = basin_maps.from_dataset(basins(), [(1, 0)])
    assert surface.saddles.tolist() == [[0, 0]]
    assert surface.maxima.shape == (0, 2)
    assert maps.titles == ["rate 0.25, momentum 0.9"]
    assert (maps.diverged, maps.not_arrived) == (DIVERGED, MOVING)
    assert np.array_equal(maps.end, END[1:])
    basin_maps.maps_of(surface, maps).canvas.draw()


def test_maps_have_a_colour_a_minimum_and_codes_of_their_own():
    figure = basin_maps.maps_of(SURFACE, MAPS, title="Who ends where")
    image = np.asarray(figure.axes[0].images[0].get_array())
    left, right = (image[END[0] == number] for number in (0, 1))
    # One hue each: what is later is darker, in all three parts by one factor.
    for cells in (left, right):
        ratio = cells / cells[0]
        np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3))
    np.testing.assert_allclose(image[2, 3], to_rgb(BLACK))
    np.testing.assert_allclose(image[1, 1], 1)
    order = np.argsort(ARRIVED[0][END[0] == 1])
    assert np.all(np.diff(right[order].sum(axis=1)) < 0)
    # Cells are as wide as the grid's steps: the outermost starts stand in their middle.
    np.testing.assert_allclose(figure.axes[0].images[0].get_extent(), (-2, 2, -1.5, 1.5))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rate 0.1", "rate 0.2"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["minimum", "saddle"]
    assert {"diverged", "still moving"} <= set(names)
    assert "at no minimum" not in names
    figure.canvas.draw()


def test_many_minima_have_neighbours_of_other_colours():
    """121 cells of a chess board, more than there are colours."""
    side = np.arange(11.0)
    places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    end = np.repeat(np.repeat(np.arange(121).reshape(11, 11), 3, 0), 3, 1)
    fine = np.linspace(0, 10, 33)
    surface = Surface("board", fine, fine, np.zeros((33, 33)), places, places[:0], places[:0])
    maps = basin_maps.Maps(end[None], 0 * end[None], ["rate 1"], diverged=-2, not_arrived=-1)
    image = np.asarray(basin_maps.maps_of(surface, maps).axes[0].images[0].get_array())
    cells = image[1::3, 1::3]
    assert np.all(np.abs(np.diff(cells, axis=0)).max(axis=-1) > 0.05)
    assert np.all(np.abs(np.diff(cells, axis=1)).max(axis=-1) > 0.05)


def test_shares_end_at_their_limits():
    rate = np.array([0.1, 0.2, 0.4])
    share = np.array([[0.6, 0.4], [0.7, 0.3], [0.0, 0.2]])
    figure = basin_maps.shares_by_rate(
        rate,
        [share],
        [np.array([0.3, 0.5])],
        ["left", "right"],
        colors=[0, 1],
        others=[{"diverged": np.array([0, 0, 0.8]), "still moving": np.zeros(3)}],
        titles=["no momentum"],
    )
    (axes,) = figure.axes
    left, left_limit, right, right_limit, diverged = axes.lines
    np.testing.assert_allclose(left.get_ydata(), share[:, 0])
    np.testing.assert_allclose(right.get_ydata(), share[:, 1])
    assert [line.get_xdata()[0] for line in (left_limit, right_limit)] == [0.3, 0.5]
    assert left_limit.get_color() == left.get_color() != right.get_color()
    assert {left_limit.get_linestyle(), right_limit.get_linestyle()} == {"--"}
    np.testing.assert_allclose(diverged.get_ydata(), [0, 0, 0.8])
    # What never happens has no line and no name.
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["left", "right", "diverged", "not stable beyond"]
    figure.canvas.draw()
