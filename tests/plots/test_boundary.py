"""Pictures of a boundary: both sides in their own colours, ranks over all of them."""

import numpy as np
import pytest
from drawings import boundary


def shown(low=0.1, high=1000.0):
    rates = np.geomspace(low, high, 8)
    trains = np.tile(rates < np.sqrt(low * high), (8, 1)).T
    speed = np.linspace(0.1, 1.0, 64).reshape(8, 8)
    return boundary.Map(rates, rates, trains, speed)


def luminance(colors):
    return colors[..., :3] @ np.array([0.2126, 0.7152, 0.0722])


def test_fast_runs_are_dark_and_equal_speeds_equal():
    one = shown()
    colors = boundary.colored(one)
    for side in (one.trains, ~one.trains):
        order = np.argsort(one.speed[side])
        assert np.all(np.diff(luminance(colors[side][order])) >= -1e-2)
    same = boundary.colored(one._replace(speed=np.ones((8, 8))))
    assert len(np.unique(same[one.trains], axis=0)) == 1


def test_sides_differ_in_blue_against_yellow_at_every_speed():
    # What every kind of colour vision keeps: blue against yellow.
    colors = boundary.colored(shown())
    trains = shown().trains
    contrast = colors[..., 2] - (colors[..., 0] + colors[..., 1]) / 2
    assert contrast[trains].min() > 0.05
    assert contrast[~trains].max() < -0.05


def test_zooms_are_framed_and_named():
    figure = boundary.maps([shown(), shown(1.0, 10.0)])
    whole, zoom, *bars = figure.axes
    assert figure.get_suptitle() == "Which learning rates train: 50%, 50% of a map"
    assert zoom.get_title("left") == "4 times closer"
    left, bottom = whole.patches[0].get_xy()
    assert (left, bottom) == pytest.approx((0, 0))
    assert whole.patches[0].get_width() == pytest.approx(1)
    assert len(bars) == 2
    figure.canvas.draw()


def test_ticks_are_round_rates():
    assert boundary._ticks(0.1, 1000.0).tolist() == pytest.approx([0.1, 1, 10, 100, 1000])
    ticks = boundary._ticks(4.27, 4.33)
    assert np.all((ticks > 4.27) & (ticks < 4.33))
    assert len(ticks) >= 2


def test_fits_go_through_their_counts():
    sides = 2 ** np.arange(5)
    counts = (4096 / sides**1.5).astype(int)
    figure = boundary.box_counting([(sides, counts)], [(1.5, 0.01)], title="Ragged")
    points, fit, smooth = figure.axes[0].lines
    np.testing.assert_allclose(fit.get_ydata(), points.get_ydata(), rtol=0.01)
    assert np.all(smooth.get_ydata() < counts)
    assert "1.50 ± 0.01" in points.get_label()
    assert figure.axes[0].get_title(loc="left") == "Ragged"


def test_boundary_rates_are_where_boundedness_changes():
    bounded = np.array([[True, True, False, False], [True, False, True, False]])
    figure = boundary.boundary_rates(
        np.array([0.01, 0.1]), np.array([1.0, 2.0, 3.0, 4.0]), bounded, threshold=0.05
    )
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
    assert title == "Boundaries: 1 while the cost is convex, up to 3 beyond"
    figure.canvas.draw()
