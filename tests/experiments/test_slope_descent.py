"""Descent in one dimension to classified minima between classified maxima."""

import numpy as np
import pytest

from experiments.shared.trees import datasets
from experiments.slope_descent import __main__ as slope_descent
from experiments.slope_descent.__main__ import Config

SMALL = Config(starts=40, steps=300)


@pytest.fixture(scope="module")
def dataset():
    return slope_descent.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return slope_descent.numbers(dataset)


def test_recorded_slopes_equal_the_derivatives(dataset):
    x, slope = dataset["quartic"].position.values, dataset["quartic"].slope.values
    np.testing.assert_allclose(slope, 4 * x**3 - 8 * x + 1, atol=1e-12)
    x, slope = dataset["sine_bowl"].position.values, dataset["sine_bowl"].slope.values
    np.testing.assert_allclose(slope, 2 * x + 10 * np.cos(x), atol=1e-12)


def test_every_step_is_minus_the_rate_times_the_slope(dataset, summary):
    for curve in datasets(dataset).values():
        step = curve.position.diff("step").values
        expected = -float(curve.learning_rate) * curve.slope.values[:, :-1]
        np.testing.assert_allclose(step, expected, rtol=0, atol=1e-14)
    assert summary["share_of_steps_against_slope"] == 1
    assert summary["share_of_steps_that_lower_cost"] == 1
    assert summary["steps_looked_at"] > 3 * 40 * 50


def test_successive_steps_have_the_ratio_predicted_from_the_curvature(summary):
    assert summary["largest_error_of_contraction"] < 1e-6


def test_every_start_ends_in_the_predicted_valley_at_a_classified_minimum(summary):
    assert summary["share_in_predicted_valley"] == 1
    assert summary["largest_distance_to_minimum"] < 1e-8


@pytest.mark.parametrize(
    ("name", "width"),
    # Distance between the maxima, or a maximum and the end of the domain, on both sides of the
    # lowest minimum, divided by the length of the domain.
    [
        ("quartic", (0.12600019 + 2.5) / 5),
        ("sine_bowl", (1.97738303 + 10) / 20),
        ("two_sines", (6.21730885 - 4.19659627) / 4.8),
    ],
)
def test_the_share_of_starts_in_the_lowest_valley_is_its_relative_width(summary, name, width):
    assert summary[f"{name}_width_of_lowest"] == pytest.approx(width, abs=1e-8)
    assert summary[f"{name}_share_at_lowest"] == pytest.approx(width, abs=1 / SMALL.starts)


def test_at_a_large_rate_steps_cross_maxima():
    result = slope_descent.numbers(
        slope_descent.run(Config(functions=("two_sines",), starts=40, steps=50, caution=4.0))
    )
    assert result["share_in_predicted_valley"] < 1
    assert result["share_of_steps_that_lower_cost"] < 1


def test_figures_are_drawn_from_the_dataset(dataset, drawn):
    assert sorted(drawn(slope_descent, dataset)) == ["steps", "valleys"]
