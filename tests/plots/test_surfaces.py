"""Figures of costs of two parameters: paths, contours and maps of basins."""

import numpy as np
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, CYCLE
from gdjax.plots.surfaces import Surface, basin_maps, contours, paths


def two_wells(x, y):
    """Return the surface of (x^2 - 1)^2 + y^2, which has two minima and a saddle."""
    cost = (x**2 - 1) ** 2 + y[:, None] ** 2
    minima = np.array([[-1.0, 0.0], [1.0, 0.0]])
    return Surface("two wells", x, y, cost, minima, np.zeros((1, 2)), np.zeros((0, 2)))


TWO_WELLS = two_wells(np.linspace(-2, 2, 41), np.linspace(-1, 1, 31))


def test_paths_have_the_color_of_their_minimum():
    shrinking = 0.5 ** np.arange(12)[:, None]
    starts, ends = np.array([[1.8, 0.8], [-0.5, 0.9], [0.3, -0.7]]), np.array([1, 0, 1])
    minima = TWO_WELLS.minima[ends]
    positions = minima[:, None] + (starts - minima)[:, None] * shrinking
    field_at = np.array([[1.5, 0.5], [0.0, 0.0]])
    field = np.array([[-7.5, -1.0], [0.0, 0.0]])  # zero at the saddle
    axes = paths(TWO_WELLS, positions, ends, field_at=field_at, field=field)
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 12]
    assert [line.get_color() for line in drawn] == [CYCLE[end] for end in ends]
    assert axes.get_aspect() == 1  # gradients are perpendicular to contours
    arrows = next(c for c in axes.collections if hasattr(c, "U"))
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), [1, 0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("parameter x", "parameter y")
    axes.figure.canvas.draw()


def test_contours_are_dense_where_the_cost_is_low():
    axes = Figure().subplots()
    assert contours(TWO_WELLS, ax=axes) is axes
    levels = axes.collections[0].levels
    assert np.all(np.diff(levels, 2) > 0)
    assert levels[0] > TWO_WELLS.cost.min()
    assert levels[-1] < TWO_WELLS.cost.max()


# -- maps of basins, whose colors, codes and settings are those of the Dataset

COARSE = two_wells(np.linspace(-1.5, 1.5, 4), np.linspace(-1.0, 1.0, 3))
DIVERGED, MOVING = -2, -1
END = np.array([[[0, 0, 1, 1], [0, MOVING, 1, 1], [0, 0, 1, DIVERGED]]] * 2)


def basins(end=END, surface=COARSE, rates=(0.1, 0.25), momentum=0.9):
    """Return a Dataset like that of `gdjax.minima.basins_of_attraction`."""
    codes = {"flag_values": [-1, -2, -3], "flag_meanings": "not_arrived diverged at_no_minimum"}
    kinds = {"flag_values": [0, 1, 2], "flag_meanings": "saddle maximum degenerate"}
    dims = ("learning_rate", "momentum", "y", "x")
    arrived_at = np.where(end >= 0, np.arange(end[0].size).reshape(end[0].shape), -1)
    return xr.Dataset(
        {
            "end": (dims, end[:, None], codes),
            "arrived_at": (dims, arrived_at[:, None]),
            "cost": (("y", "x"), surface.cost),
            "position": (("minimum", "coordinate"), surface.minima),
            "other_position": (("point", "coordinate"), surface.saddles),
            "other_kind": ("point", np.zeros(len(surface.saddles), int), kinds),
        },
        {"learning_rate": list(rates), "momentum": [momentum], "x": surface.x, "y": surface.y},
        {"formula": "toy"},
    )


def test_selected_settings_are_drawn_and_shown_in_titles():
    figure = basin_maps(basins(), settings=[(1, 0)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rate 0.25, momentum 0.9"]
    plain = [axes.get_title(loc="left") for axes in basin_maps(basins(momentum=0.0)).axes]
    assert plain == ["rate 0.1", "rate 0.25"]
    # Two minima, one saddle and no maximum.
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert markers == ["*", "*", "X", "^"]
    sizes = [line.get_markersize() for line in figure.axes[0].lines]
    assert sizes[0] == sizes[1] > sizes[2] == sizes[3]
    assert len(figure.axes[0].lines[-1].get_xdata()) == 0
    figure.canvas.draw()


def test_each_minimum_and_each_code_has_a_color():
    figure = basin_maps(basins(), title="Where a start ends")
    image = np.asarray(figure.axes[0].images[0].get_array())
    left, right = (image[END[0] == number] for number in (0, 1))
    # Each minimum has one hue; later arrival scales all channels by a common factor below 1.
    for cells in (left, right):
        ratio = cells / cells[0]
        np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3))
    np.testing.assert_allclose(image[2, 3], to_rgb(BLACK))
    np.testing.assert_allclose(image[1, 1], 1)
    assert np.all(np.diff(right.sum(axis=1)) < 0)  # cells are in the order of their arrival
    # Cells are centered at the starts, and as wide as the distance between starts.
    np.testing.assert_allclose(figure.axes[0].images[0].get_extent(), (-2, 2, -1.5, 1.5))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:2] == ["minimum", "saddle"]
    assert {"diverged", "not arrived"} <= set(names)
    assert "at no minimum" not in names
    names = [text.get_text() for text in basin_maps(basins(end=END - 1)).legends[0].get_texts()]
    assert "at no minimum" in names
    figure.canvas.draw()


def test_many_minima_have_neighbors_of_other_colors():
    """There are 121 minima, more than there are colors."""
    side = np.arange(11.0)
    places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    end = np.repeat(np.repeat(np.arange(121).reshape(11, 11), 3, 0), 3, 1)
    fine = np.linspace(0, 10, 33)
    board = Surface("board", fine, fine, np.zeros((33, 33)), places, places[:0], places[:0])
    dataset = basins(end[None], board, rates=[1.0]).assign(arrived_at=lambda d: 0 * d.arrived_at)
    image = np.asarray(basin_maps(dataset).axes[0].images[0].get_array())
    cells = image[1::3, 1::3]
    assert np.all(np.abs(np.diff(cells, axis=0)).max(axis=-1) > 0.05)
    assert np.all(np.abs(np.diff(cells, axis=1)).max(axis=-1) > 0.05)
