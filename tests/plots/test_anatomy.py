"""Figures of a gradient: the drawn values equal the arguments."""

import numpy as np
from matplotlib.colors import to_rgba

from experiments.gradient_anatomy import figures as anatomy
from gdjax.plots.style import BLUE, VERMILLION

SIZES = {
    "start": {"layer 1": np.array([0.0, 0.0, 1e-3, 1e-12]), "layer 2": np.array([1.0])},
    "end": {"layer 1": np.array([0.0, 1.0, 0.5, 0.1]), "layer 2": np.array([1e-4])},
}
BARS = {
    "start": anatomy.Bars(np.array([3.0, -2.0, 1.0]), ["a", "b", "c"]),
    "end": anatomy.Bars(np.array([-3e-5, 2e-5]), ["d", "e"]),
}
PROOF = {
    "start": anatomy.Proof(np.array([1e-3, 2e-3]), np.array([1.01e-3, 2e-3]), np.full(2, 0.02)),
    "end": anatomy.Proof(np.array([-4e-6]), np.array([-4.2e-6]), np.array([0.1])),
}


def test_titles_show_the_share_of_zeros_and_areas_the_nonzero_shares_of_layers():
    figure = anatomy.relative_sizes(SIZES)
    start, end = figure.axes
    assert start.get_title(loc="left") == "start: 40.0% of all entries are exactly 0"
    assert end.get_title(loc="left") == "end: 20.0% of all entries are exactly 0"
    # The area under each outline is the nonzero share of its layer; the entry 1e-12 is in the
    # lowest bin.
    heights = [np.max(p.get_xy()[:, 1]) for p in start.patches if not p.get_fill()]
    assert heights == [0.25, 1.0]
    filled = [p.get_xy() for p in start.patches if p.get_fill()]
    assert filled[0][1, 1] == 0.25


def test_bars_have_the_length_sign_and_position_of_their_entries():
    start, end = anatomy.top_entries(BARS).axes
    assert [bar.get_width() for bar in start.patches] == [3, -2, 1]
    assert [bar.get_facecolor() for bar in start.patches] == [
        to_rgba(VERMILLION),
        to_rgba(BLUE),
        to_rgba(VERMILLION),
    ]
    assert [label.get_text() for label in start.get_yticklabels()] == ["a", "b", "c"]
    assert start.get_ylim()[0] > start.get_ylim()[1]  # the largest is at the top
    np.testing.assert_allclose([bar.get_width() for bar in end.patches], [-30, 20])
    assert end.get_xlabel().endswith("(10$^{-6}$)")


def test_the_check_shows_changes_in_common_units_and_errors_with_limits():
    start, end, errors = anatomy.predicted_actual(PROOF).axes
    dots = next(line for line in start.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xdata(), [1, 2])
    np.testing.assert_allclose(dots.get_ydata(), [1.01, 2])
    assert "10$^{-3}$" in start.get_xlabel()
    assert "10$^{-3}$" in start.get_ylabel()
    assert "10$^{-6}$" in end.get_ylabel()
    first, second = errors.lines
    np.testing.assert_allclose(first.get_ydata(), [0.01, 0], atol=1e-9)
    np.testing.assert_allclose(second.get_xydata(), [[0.1, 0.05]])


def test_zero_gradients_can_be_drawn():
    zero_vector = np.zeros(3)
    anatomy.relative_sizes({"dead": {"layer 1": zero_vector}}).draw_without_rendering()
    anatomy.top_entries({"dead": anatomy.Bars(zero_vector, list("abc"))}).draw_without_rendering()
    proof = anatomy.Proof(zero_vector, zero_vector, np.full(3, np.inf))
    figure = anatomy.predicted_actual({"dead": proof})
    figure.draw_without_rendering()
    assert figure.axes[-1].lines[0].get_xdata().size == 0
