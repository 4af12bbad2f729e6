"""Pictures of minima: what they show is what they were given."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

from gdjax.plots import minima
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
MAPS = minima.Maps(END, ARRIVED, ["rate 0.1", "rate 0.2"], diverged=DIVERGED, not_arrived=MOVING)


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
    surface, maps = minima.of_basins(basins(), [(1, 0)])
    assert surface.saddles.tolist() == [[0, 0]]
    assert surface.maxima.shape == (0, 2)
    assert maps.titles == ["rate 0.25, momentum 0.9"]
    assert (maps.diverged, maps.not_arrived) == (DIVERGED, MOVING)
    assert np.array_equal(maps.end, END[1:])
    minima.basin_maps(surface, maps).canvas.draw()


def test_maps_have_a_colour_a_minimum_and_codes_of_their_own():
    figure = minima.basin_maps(SURFACE, MAPS, title="Who ends where")
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
    maps = minima.Maps(end[None], 0 * end[None], ["rate 1"], diverged=-2, not_arrived=-1)
    image = np.asarray(minima.basin_maps(surface, maps).axes[0].images[0].get_array())
    cells = image[1::3, 1::3]
    assert np.all(np.abs(np.diff(cells, axis=0)).max(axis=-1) > 0.05)
    assert np.all(np.abs(np.diff(cells, axis=1)).max(axis=-1) > 0.05)


def test_shares_end_at_their_limits():
    rate = np.array([0.1, 0.2, 0.4])
    share = np.array([[0.6, 0.4], [0.7, 0.3], [0.0, 0.2]])
    figure = minima.shares_by_rate(
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


SHARE = np.array([0.5, 0.3, 0.1])


def test_frequencies_have_intervals_and_the_rest_beside_them():
    figure = minima.frequencies(
        SHARE, SHARE - 0.05, SHARE + 0.1, np.array([1e-31, 2.0, 3.0]), rest={"saddle": 0.1}, most=2
    )
    (axes,) = figure.axes
    bars, interval, rest = axes.containers
    np.testing.assert_allclose([bar.get_height() for bar in bars], [0.5, 0.3])
    np.testing.assert_allclose([bar.get_height() for bar in rest], [0.1])
    ends = [path.vertices[:, 1] for path in interval.lines[2][0].get_paths()]
    np.testing.assert_allclose(ends, [[0.45, 0.6], [0.25, 0.4]])
    # A cost that is rounding of the largest is 0.
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "2", "saddle"]
    assert "(1 costlier ones not drawn)" in axes.get_xlabel()


def test_a_map_has_places_sizes_colours_and_the_lowest():
    position = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    figure = minima.located(position, 0.8, SHARE, np.array([2.0, 1.0, 3.0]), title="Three")
    axes, bar = figure.axes
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), position)
    assert np.all(np.diff(points.get_sizes()) < 0)
    np.testing.assert_allclose(points.get_array(), [2, 1, 3])
    assert bar.get_ylabel() == "cost"
    (lowest,) = axes.texts
    assert lowest.xy == (3.0, 0.0)
    assert "80%" in axes.get_xlabel()
    figure.canvas.draw()


def test_minima_that_cost_the_same_have_no_lowest():
    """Differences of rounding are none."""
    position = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    figure = minima.located(position, 1.0, SHARE, np.array([7e-31, 2e-24, 0.0]))
    (axes,) = figure.axes
    assert not axes.texts
    assert axes.get_title(loc="right") == "cost: 0 everywhere"


def test_counts_fall_as_the_tolerance_grows():
    tolerance = np.geomspace(1e-3, 1e1, 5)
    figure = minima.counts_by_tolerance(
        tolerance, {"a": np.array([9, 5, 5, 2, 1]), "b": np.array([3, 3, 3, 3, 1])}, 1e-1
    )
    (axes,) = figure.axes
    a, b, chosen = axes.lines
    assert a.get_ydata().tolist() == [9, 5, 5, 2, 1]
    assert a.get_drawstyle() == b.get_drawstyle() == "steps-post"
    assert chosen.get_xdata()[0] == 1e-1
    assert axes.get_xscale() == "log"
    figure.canvas.draw()


@pytest.mark.parametrize("networks", [1, 2])
def test_worth_marks_the_lowest(networks):
    cost, right = np.array([0.3, 0.2, 0.4]), np.array([0.9, 0.8, 0.7])
    found = {f"network {k}": (cost, right, np.array([1, 2, 3])) for k in range(networks)}
    figure = minima.worth(found)
    assert len(figure.axes) == networks
    points, star = figure.axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), np.stack([cost, right], 1))
    assert np.all(np.diff(points.get_sizes()) > 0)
    np.testing.assert_allclose(star.get_offsets(), [[0.2, 0.8]])
    figure.canvas.draw()
