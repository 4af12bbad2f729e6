"""Figures of eigenvalues: the drawn values equal the arguments."""

from types import SimpleNamespace

import numpy as np
import pytest

from gdjax.plots import spectrum

AT = np.linspace(-0.5, 2.1, 400)
ENDS = np.array([2.0, 1.5, -0.4])
RESIDUALS = np.array([0.0, 0.1, 0.02])


def bell(bandwidth):
    return np.exp(-((AT / bandwidth) ** 2) / 2) / (bandwidth * np.sqrt(2 * np.pi))


def spread(bandwidth=0.05, **changes):
    known = {"at": AT, "value": bell(bandwidth), "error": 0.1 * bell(bandwidth)}
    return SimpleNamespace(bandwidth=bandwidth, **{**known, **changes})


def densities(**panels):
    pairs = dict.fromkeys(panels, SimpleNamespace(values=ENDS, residuals=RESIDUALS))
    return spectrum.densities(panels, pairs=pairs, size=1000)


def by_label(axes):
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def test_densities_share_axes_whose_label_states_the_linear_range():
    figure = densities(before=spread(), after=spread(0.02))
    top, bottom = figure.axes
    figure.canvas.draw()
    assert top.get_xlim() == bottom.get_xlim() == (AT[0], AT[-1])
    assert top.get_ylim() == bottom.get_ylim()
    assert (bottom.get_xscale(), bottom.get_yscale()) == ("symlog", "log")
    assert bottom.get_xlabel() == "eigenvalue of the Hessian (axis linear within ±0.05)"
    ticks = [text.get_text() for text in bottom.get_xticklabels()]
    assert ticks == ["-0.3", "-0.1", "0", "0.1", "0.3", "1"]
    assert top.get_title(loc="left") == "before (Gaussians of bandwidth 0.05)"


def test_the_density_is_drawn_with_those_of_a_single_eigenvalue_and_of_a_zero_matrix():
    (axes,) = densities(now=spread()).axes
    result = by_label(axes)
    alone = result["a single eigenvalue"].get_ydata()[0]
    assert alone == pytest.approx(bell(0.05).max() / 1000, rel=1e-2)
    density = result["density"].get_ydata()
    high = bell(0.05) > alone
    np.testing.assert_allclose(density[high], bell(0.05)[high])
    # All eigenvalues are 0, so the dashed line coincides with the density.
    np.testing.assert_allclose(result["if all were 0"].get_ydata(), bell(0.05), atol=1e-300)


def test_extreme_eigenvalues_are_marked_above_the_density_with_their_residuals():
    (axes,) = densities(now=spread()).axes
    marks, _, (bars,) = by_label(axes)["computed, with residuals"]
    np.testing.assert_allclose(marks.get_xdata(), ENDS)
    assert set(marks.get_ydata()) == {0.9}  # fraction of the panel's height
    widths = [np.ptp(segment[:, 0]) for segment in bars.get_segments()]
    np.testing.assert_allclose(widths, 2 * RESIDUALS)


def test_a_density_that_is_not_finite_has_finite_axis_limits():
    unknown = np.full(AT.size, np.nan)
    figure = densities(unknown=spread(value=unknown, error=unknown), known=spread())
    figure.canvas.draw()
    assert np.all(np.isfinite(figure.axes[0].get_ylim()))


RANKED = np.array([1.0, 0.5, 0.1, -0.2]), np.array([0.01, 0.01, 0.3, 0.01])
WHOLE = {"whole": RANKED}


def test_ranked_eigenvalues_decrease_and_negative_ones_are_omitted():
    (axes,) = spectrum.eigenvalues_by_rank({"now": WHOLE}).axes
    line, _, (bars,) = by_label(axes)["whole"]
    np.testing.assert_allclose(line.get_xydata(), [[1, 1], [2, 0.5], [3, 0.1]])
    # If a residual exceeds its value, the bar ends above 0, since the axis is logarithmic.
    np.testing.assert_allclose(bars.get_segments()[2][:, 1], [1e-4, 0.4])
    assert axes.get_ylabel() == "eigenvalue"
    assert axes.get_yscale() == "log"


def test_each_matrix_has_one_color_and_one_marker_in_all_panels():
    both = {**WHOLE, "layer 1": (RANKED[0] / 2, RANKED[1])}
    figure = spectrum.eigenvalues_by_rank({"a": both, "b": both, "c": WHOLE})
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in visible] == ["a", "b", "c"]
    looks = [
        [(bar[0].get_color(), bar[0].get_marker()) for bar in axes.containers] for axes in visible
    ]
    assert looks[0] == looks[1]
    assert looks[2] == looks[0][:1]
    assert len({color for color, _ in looks[0]}) == len({shape for _, shape in looks[0]}) == 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["whole", "layer 1"]
    figure.canvas.draw()


@pytest.mark.parametrize("limit", [2.0, 1e4])
def test_a_limit_far_above_the_eigenvalues_does_not_extend_the_axis(limit):
    (axes,) = spectrum.eigenvalues_by_rank(
        {"now": WHOLE}, limit=limit, after=2, after_label="classes"
    ).axes
    result = by_label(axes)
    assert result["classes"].get_xdata()[0] == 2.5
    assert ("2 / learning rate = 2" in result) == (limit == 2.0)
    if limit == 2.0:
        assert result["2 / learning rate = 2"].get_ydata()[0] == 2.0
    assert axes.get_ylim()[1] < 4


def test_the_figure_of_a_zero_matrix_shows_only_the_limit():
    figure = spectrum.eigenvalues_by_rank({"": {"flat": (np.zeros(3), np.zeros(3))}}, limit=2.0)
    figure.canvas.draw()
    result = by_label(figure.axes[0])
    assert len(result["flat"][0].get_xdata()) == 0
    assert result["2 / learning rate = 2"].get_ydata()[0] == 2.0
