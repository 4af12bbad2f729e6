"""Figures of a sweep: the drawn values equal the arguments."""

import numpy as np
import pytest

import gdjax as gd
from gdjax.plots import sweeps

RATES = np.geomspace(0.1, 10, 4)
RATE = sweeps.Setting("learning_rate", RATES)
ACCURACY = np.array([[0.2, 0.3, 0.4], [0.8, 0.9, 0.85], [0.9, 0.1, 0.95], [0.1, 0.1, 0.1]])
COST = np.array([[0.8, 0.7, 0.6], [0.2, 0.1, 0.3], [0.1, 1.0, 0.2], [np.inf, np.inf, 1.0]])
OUTCOME = np.array([[0, 0, 0], [0, 1, 0], [1, 2, 0], [3, 3, 2]])
NAMES = ("not_converged", "converged", "stalled", "diverged")


def test_quantiles_count_divergence_as_worst():
    low, half, high = sweeps.quantiles(COST)
    assert half.tolist() == [0.7, 0.2, 0.2, np.inf]
    assert low[3] == 1.0
    assert high[3] == np.inf


def test_the_figure_of_final_costs_shows_every_run_and_every_outcome():
    figure = sweeps.outcomes_by_setting(RATE, ACCURACY, COST, OUTCOME, outcomes=NAMES, baseline=0.9)
    top, middle, bottom = figure.axes
    assert (top.get_ylabel(), middle.get_ylabel()) == ("test accuracy", "final training cost")
    assert bottom.get_xlabel() == "learning rate"
    heights = np.zeros(4)
    for bars in bottom.containers:
        heights += [bar.get_height() for bar in bars]
    np.testing.assert_allclose(heights, 1.0)
    assert [text.get_text() for text in bottom.get_legend().get_texts()] == [
        name.replace("_", " ") for name in NAMES
    ]
    runs = next(line for line in top.lines if line.get_linestyle() == "None")
    assert len(runs.get_xdata()) == ACCURACY.size
    figure.canvas.draw()


def test_curves_are_medians_with_a_color_for_each_setting_and_the_lowest_is_thicker():
    time = np.arange(3.0)
    axes = sweeps.curves_by_setting(time, RATES, COST[..., None] * np.exp(-time))
    axes.figure.canvas.draw()
    assert len({line.get_color() for line in axes.lines}) == 4
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 0.7 * np.exp(-time))
    assert np.argmax([line.get_linewidth() for line in axes.lines]) == 1
    assert f"{RATES[1]:.3g}" in axes.get_title("left")
    assert axes.get_xlabel() == "epoch"


def test_the_median_curve_of_eight_runs_is_the_mean_of_the_middle_two_or_nan():
    values = np.tile(np.arange(1.0, 9)[:, None], (1, 1, 2))
    values[0, 4:, 1] = np.inf  # half of the runs diverge at the end
    axes = sweeps.curves_by_setting(np.arange(2.0), np.array([0.1]), values)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [4.5, np.nan])


def test_the_variable_decides_which_setting_is_best():
    problem = gd.problems.bowl([1.0, 2.0])
    metrics = {"rate_error": lambda problem, w, *, settings: (settings["learning_rate"] - 0.2) ** 2}
    axes = gd.axes(learning_rate=[0.1, 0.2, 0.4], seed=range(2))
    runs = gd.sweep(problem, axes, 5, metrics=metrics)
    figure = gd.plot(runs, variable="rate_error")
    titles = [drawn.axes[0].get_title("left") for drawn in (gd.plot(runs), figure)]
    assert titles[0].startswith("Lowest median training cost at learning rate 0.4")
    assert titles[1].startswith("Lowest median rate error at learning rate 0.2")
    assert figure.axes[0].get_ylabel() == "final rate error"
    for wrong, match in ((runs, "expected a recorded number: cost"), (figure, "no figure")):
        with pytest.raises(gd.errors.InputError, match=match):
            gd.plot(wrong, variable="loss")


def test_sweeps_without_accuracy_and_with_negative_costs_are_drawn():
    figure = sweeps.outcomes_by_setting(RATE, None, COST - 1, OUTCOME, outcomes=NAMES)
    top, bottom = figure.axes
    assert (top.get_ylabel(), top.get_yscale()) == ("final training cost", "linear")
    assert bottom.get_xlabel() == "learning rate"
    figure.canvas.draw()


def test_a_single_setting_is_drawn():
    figure = sweeps.outcomes_by_setting(
        sweeps.Setting("rate", RATES[:1]), ACCURACY[:1], COST[:1], OUTCOME[:1], outcomes=NAMES
    )
    figure.canvas.draw()
    median = next(line for line in figure.axes[1].lines if line.get_label() == "median")
    np.testing.assert_allclose(median.get_xydata(), [[RATES[0], 0.7]])
    axes = sweeps.curves_by_setting(np.arange(2.0), RATES[:1], COST[:1, :, None] * np.ones(2))
    axes.figure.canvas.draw()
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.7, 0.7])
