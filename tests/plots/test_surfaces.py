"""Figures of costs of two parameters: paths and contours."""

import numpy as np
from matplotlib.figure import Figure

from gdjax.plots import surfaces
from gdjax.plots.style import CYCLE

X, Y = np.linspace(-2, 2, 41), np.linspace(-1, 1, 31)
XX, YY = np.meshgrid(X, Y)
TWO_WELLS = surfaces.Surface(
    title="two wells",
    x=X,
    y=Y,
    cost=(XX**2 - 1) ** 2 + YY**2,
    minima=np.array([[-1.0, 0.0], [1.0, 0.0]]),
    saddles=np.zeros((1, 2)),
    maxima=np.zeros((0, 2)),
)


def test_paths_have_the_color_of_their_minimum():
    shrinking = 0.5 ** np.arange(12)[:, None]
    starts, ends = np.array([[1.8, 0.8], [-0.5, 0.9], [0.3, -0.7]]), np.array([1, 0, 1])
    minima = TWO_WELLS.minima[ends]
    positions = minima[:, None] + (starts - minima)[:, None] * shrinking
    field_at = np.array([[1.5, 0.5], [0.0, 0.0]])
    field = np.array([[-7.5, -1.0], [0.0, 0.0]])  # zero at the saddle
    axes = surfaces.paths(TWO_WELLS, positions, ends, field_at=field_at, field=field)
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 12]
    assert [line.get_color() for line in drawn] == [CYCLE[end] for end in ends]
    assert axes.get_aspect() == 1  # gradients are perpendicular to contours
    arrows = next(c for c in axes.collections if hasattr(c, "U"))
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), [1, 0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("parameter x", "parameter y")
    axes.figure.canvas.draw()


def test_contours_are_dense_where_the_cost_is_low():
    axes = Figure().subplots()
    assert surfaces.contours(TWO_WELLS, ax=axes) is axes
    levels = axes.collections[0].levels
    assert np.all(np.diff(levels, 2) > 0)
    assert levels[0] > TWO_WELLS.cost.min()
    assert levels[-1] < TWO_WELLS.cost.max()
