"""Figures of costs of one parameter."""

import matplotlib
import numpy as np
import xarray as xr

from experiments.slope_descent import __main__ as curves

X = np.linspace(-2, 2, 81)
STARTS = np.array([-1.5, -0.5, 0.5, 1.5])
# Each step halves the distance to the nearest of the minima at -1 and 1.
ENDS = np.sign(STARTS)
PATHS = ENDS[:, None] + (STARTS - ENDS)[:, None] * 0.5 ** np.arange(30)
CURVE = xr.Dataset(
    {
        "curve_cost": ("curve_x", (X**2 - 1) ** 2 + 0.1 * X),
        "position": (("start", "step"), PATHS),
        "slope": (("start", "step"), PATHS - ENDS[:, None]),
        "valley": ("start", [0, 0, 1, 1]),
        "minimum_x": ("minimum", [-1.0, 1.0]),
        "minimum_cost": ("minimum", [-0.1, 0.1]),
        "maximum_x": ("maximum", [0.0]),
        "share": ("minimum", [0.5, 0.5]),
        "contraction": ("minimum", [0.5, 0.5]),
        "learning_rate": 0.5,
    },
    {"curve_x": X},
    {"formula": "two wells"},
)


def test_each_valley_has_one_color_in_curve_and_paths():
    figure = curves.valleys([CURVE, CURVE])
    assert len(figure.axes) == 4
    top, below = figure.axes[0], figure.axes[2]
    (dots,) = top.collections
    of_paths = [matplotlib.colors.to_rgba(line.get_color()) for line in below.lines[:4]]
    np.testing.assert_allclose(dots.get_facecolors(), of_paths)
    assert len(set(of_paths)) == 2
    np.testing.assert_allclose(dots.get_offsets()[:, 0], STARTS)
    assert (top.get_ylabel(), below.get_ylabel()) == ("cost", "step")
    assert below.get_xlabel() == "parameter x"
    assert below.yaxis_inverted()
    figure.canvas.draw()


def test_first_steps_point_against_the_slope():
    figure = curves.steps(CURVE)
    first, slope, length = figure.axes
    for arrows, sign in zip(first.collections, (-1, 1), strict=True):
        assert np.all(np.sign(arrows.U) == sign)
    (dots,) = slope.collections
    x, y = dots.get_offsets().T
    np.testing.assert_allclose(y, -0.5 * x, atol=1e-12)
    assert length.get_yscale() == "log"
    theory = [
        line for line in length.lines if line.get_linestyle() == "--" and len(line.get_xdata())
    ]
    for line in theory:
        np.testing.assert_allclose(np.diff(np.log(line.get_ydata())), np.log(0.5))
    assert len(theory) == 2
    figure.canvas.draw()
