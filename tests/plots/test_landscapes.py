"""Figures of slices: scales, contours, descents, and costs that are not finite."""

import inspect

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from plane_of_a_bowl import SIDE, plane

from gdjax.plots import landscapes


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def test_planes_share_a_color_scale_and_show_their_ranges_of_cost():
    flat = plane(np.full((9, 9), 4.0))
    figure = landscapes.planes({"one": {"bowl": plane(), "flat": flat}, "two": {"bowl": plane()}})
    figure.canvas.draw()
    assert texts(figure) == ["cost 0.01 to 5.01", "cost 4 everywhere", "cost 0.01 to 5.01"]
    bowl, level, hidden = figure.axes[0], figure.axes[1], figure.axes[3]
    assert not hidden.get_visible()
    filled = [axes.collections[0] for axes in (bowl, level, figure.axes[2])]
    assert len({(c.norm.vmin, c.norm.vmax) for c in filled}) == 1
    assert isinstance(filled[0].norm, LogNorm)
    assert bowl.get_title(loc="left") == "one\nbowl"
    assert (bowl.get_xlabel(), bowl.get_ylabel()) == ("first direction", "second direction")
    # Contour lines are drawn only where costs differ.
    assert len(bowl.collections) == 2
    assert len(level.collections) == 1


def test_distances_are_to_scale_and_long_directions_are_labeled():
    figure = landscapes.planes({"": {"bowl": plane(length=(4.0, 2.0))}})
    figure.canvas.draw()
    assert figure.axes[0].get_xlabel() == "first direction\n(unit: a distance of 4)"
    assert figure.axes[0].get_aspect() == pytest.approx(0.5)
    assert figure.axes[0].get_title(loc="left") == "bowl"


def test_cells_with_nan_costs_are_gray():
    cost = plane().cost.values.copy()
    cost[:, :5] = np.nan
    cost[0, 8] = np.inf
    figure = landscapes.planes({"": {"bowl": plane(cost)}})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    image = np.asarray(canvas.buffer_rgba())
    x, y = axes.transData.transform((1.0, -0.7))
    color = image[image.shape[0] - 1 - round(y), round(x)][:3] / 255
    assert to_hex(color) == landscapes.NOT_FINITE.lower()
    assert np.isfinite(axes.collections[0].norm.vmax)


@pytest.mark.parametrize("value", [np.nan, 0.0, 1.0])
def test_a_plane_of_equal_values_can_be_drawn(value):
    figure = landscapes.planes({"": {"even": plane(np.full((9, 9), value))}})
    figure.canvas.draw()
    expected = "no finite cost" if np.isnan(value) else f"cost {value:g} everywhere"
    assert texts(figure) == [expected]


def test_a_grid_of_one_row_is_drawn_as_cells():
    row = plane().isel(b=[4])
    figure = landscapes.planes({"": {"row": row}})
    figure.canvas.draw()
    cells = figure.axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.ravel(cells), row.cost.values.ravel())


def test_a_plane_is_drawn_into_the_axes_of_the_caller_without_a_color_bar():
    own = Figure()
    axes = own.subplots()
    assert landscapes.plane(plane(), ax=axes) is axes
    assert own.axes == [axes]
    alone = landscapes.plane(plane())
    assert [a.get_ylabel() for a in alone.figure.axes] == ["second direction", landscapes.COST]


def test_the_figure_of_a_descent_shows_its_distance_from_the_plane_and_both_costs():
    observed = plane(path=True)
    figure = landscapes.descents({"rate 1": observed, "rate 2": observed})
    figure.canvas.draw()
    ground, side = figure.axes[0], figure.axes[1]
    points = ground.collections[-1]
    np.testing.assert_allclose(points.get_array(), observed.path_off)
    assert (points.norm.vmin, points.norm.vmax) == (0, 0.5)
    np.testing.assert_allclose(
        points.get_offsets(), np.stack([observed.path_a, observed.path_b], 1)
    )
    assert side.get_title(loc="left") == "explained by the plane: 95.0%"
    own, inside = side.lines
    np.testing.assert_allclose(own.get_ydata(), observed.path_cost)
    np.testing.assert_allclose(inside.get_ydata(), observed.path_cost_in_slice)
    labels = [t.get_text() for t in side.get_legend().get_texts()]
    assert labels == ["of the descent", "of its projection"]
    assert ground.get_title(loc="left") == "rate 1"


def test_on_a_surface_the_descent_is_drawn_at_its_cost():
    observed = plane(path=True)
    figure = landscapes.surface(observed, title="a bowl").figure
    figure.canvas.draw()
    named = {line.get_label(): line for line in figure.axes[0].lines}
    height = np.asarray(named["descent: cost of its points"].get_data_3d()[2])
    np.testing.assert_allclose(10**height, observed.path_cost)
    shadow = np.asarray(named["projection of the descent onto the plane"].get_data_3d()[2])
    np.testing.assert_allclose(10**shadow, observed.path_cost_in_slice)
    assert figure.axes[0].get_zticklabels()[0].get_text() == "0.01"


def test_a_surface_with_undefined_costs_and_without_a_descent_can_be_drawn():
    cost = plane().cost.values - 3.0  # negative costs have no logarithm
    cost[2:4, 5] = np.nan
    figure = landscapes.surface(plane(cost)).figure
    figure.canvas.draw()
    assert not figure.legends
    assert len(figure.axes[0].collections) == 1


def test_lines_are_drawn_against_distance_with_their_parabola():
    sharp = plane().isel(b=4).assign_coords(a=plane(length=(3.0, 1.0)).a)
    figure = landscapes.lines(
        {"sharp": sharp, "other": plane().isel(b=4)}, parabolas={"sharp": 2.0}
    ).figure
    figure.canvas.draw()
    axes = figure.axes[0]
    first, parabola, second = axes.lines[:3]
    np.testing.assert_allclose(first.get_xdata(), 3 * SIDE)
    np.testing.assert_allclose(second.get_xdata(), SIDE)
    is_finite = np.isfinite(parabola.get_ydata())
    np.testing.assert_allclose(
        parabola.get_ydata()[is_finite], (0.01 + (3 * SIDE) ** 2)[is_finite], atol=1e-12
    )
    assert is_finite.sum() == 3  # the rest of the parabola is above the upper limit of the axis
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["sharp", "parabola of curvature 2", "other"]


@pytest.mark.parametrize(
    "rows", [{"x": plane()}, plane(), {"x": {"y": 3}}, {"x": {"y": plane().isel(b=0)}}]
)
def test_errors_for_planes_state_the_expected_input(rows):
    with pytest.raises(ValueError, match=r"rows\['(x|cost)'\] .*expected Datasets"):
        inspect.unwrap(landscapes.planes)(rows)  # the invalid types are intended
