"""The gradient experiment: figures show the values of the gradients and of their checks."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgba

from experiments.gradient_anatomy import __main__ as anatomy
from gdjax.errors import InputError
from gdjax.plots.style import BLUE, VERMILLION


def gradients(gradient, actual, predicted, allowed):
    """Return results of two stages with the given gradients and checks of three entries."""
    dims = ("stage", "top")
    return xr.Dataset(
        {
            "gradient": (("stage", "entry"), np.array(gradient)),
            "layer": ("entry", [1, 1, 1, 1, 2]),
            "position": (dims, np.argsort(-np.abs(gradient), axis=1)[:, :3]),
            "predicted": (dims, np.array(predicted)),
            "actual": (dims, np.array(actual)),
            "second_order": (dims, np.array(allowed)),
            "rounding": (dims, np.zeros((2, 3))),
        },
        {"epoch": ("stage", [0, 30])},
        {"places": [["layer 2: a", "b", "c"], ["d", "e", "f"]]},
    )


def known():
    return gradients(
        [[0, 0, 1e-3, -1e-12, 1], [0, 0, 2e-5, 0, -3e-5]],
        actual=[[1.01e-3, 2e-3, 3e-3], [-4.2e-6, 1e-6, 1e-6]],
        predicted=[[1e-3, 2e-3, 3e-3], [-4e-6, 1e-6, 1e-6]],
        allowed=[[2e-5] * 3, [4e-7] * 3],
    )


def test_titles_show_the_share_of_zeros_and_areas_the_nonzero_shares_of_layers():
    start, end = anatomy.relative_sizes(known()).axes
    title = "at a random start: 40.0% of all entries are exactly 0"
    assert start.get_title(loc="left") == title
    assert end.get_title(loc="left") == "after 30 epochs: 60.0% of all entries are exactly 0"
    # The entry 1e-12 is in the lowest bin.
    heights = [np.max(p.get_xy()[:, 1]) for p in start.patches if not p.get_fill()]
    assert heights == [0.25, 1.0]
    filled = [p.get_xy() for p in start.patches if p.get_fill()]
    assert filled[0][1, 1] == 0.25


def test_bars_have_the_length_sign_and_position_of_their_entries():
    start, end = anatomy.top_entries(known()).axes
    np.testing.assert_allclose([bar.get_width() for bar in start.patches], [1, 1e-3, -1e-12])
    assert [bar.get_facecolor() for bar in end.patches][:2] == [to_rgba(BLUE), to_rgba(VERMILLION)]
    assert [label.get_text() for label in end.get_yticklabels()] == ["d", "e", "f"]
    assert start.get_ylim()[0] > start.get_ylim()[1]  # the largest is at the top
    np.testing.assert_allclose([bar.get_width() for bar in end.patches], [-30, 20, 0])
    assert end.get_xlabel().endswith("(10$^{-6}$)")


def test_the_check_shows_changes_in_common_units_and_errors_with_limits():
    start, end, errors = anatomy.predicted_actual(known()).axes
    dots = next(line for line in start.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xydata(), [[1, 1.01], [2, 2], [3, 3]])
    assert "10$^{-3}$" in start.get_xlabel()
    assert "10$^{-6}$" in end.get_ylabel()
    first, second = errors.lines
    np.testing.assert_allclose(first.get_ydata(), [0.01, 0, 0], atol=1e-9)
    np.testing.assert_allclose(second.get_xydata()[0], [0.1, 0.05])


def test_zero_gradients_can_be_drawn():
    zero = gradients(np.zeros((2, 5)), *np.zeros((3, 2, 3)))
    anatomy.relative_sizes(zero).draw_without_rendering()
    anatomy.top_entries(zero).draw_without_rendering()
    figure = anatomy.predicted_actual(zero)
    figure.draw_without_rendering()
    assert figure.axes[-1].lines[0].get_xdata().size == 0


def test_half_of_the_squared_norm_belongs_to_the_largest_entries():
    assert anatomy.holding_half(np.array([3.0, -4.0, 0.0])) == 1
    assert anatomy.holding_half(np.ones(10)) in (5, 6)


@pytest.mark.parametrize("epochs", [(3, 1), (1, 1), (-1, 2), ()])
def test_epochs_that_do_not_increase_raise_input_error(epochs):
    with pytest.raises(InputError, match="epochs = "):
        anatomy.run(anatomy.Config(epochs=epochs))
