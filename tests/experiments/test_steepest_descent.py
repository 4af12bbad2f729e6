"""Steepest descent in two dimensions: gradients, and borders of basins."""

import numpy as np
import pytest

from experiments.steepest_descent import __main__ as steepest_descent
from experiments.steepest_descent.__main__ import Config

SMALL = Config(side=60, steps=600, paths=6, points=25, directions=180)


@pytest.fixture(scope="module")
def tree():
    return steepest_descent.run(SMALL)


@pytest.fixture(scope="module")
def summary(tree):
    return steepest_descent.numbers(tree)


def test_gradients_of_himmelblau_equal_the_formula(tree):
    x, y = tree["himmelblau"].point.values.T
    first, second = x**2 + y - 11, x + y**2 - 7
    expected = np.stack([4 * x * first + 2 * second, 2 * first + 4 * y * second], axis=-1)
    np.testing.assert_allclose(tree["himmelblau"].gradient.values, expected, rtol=1e-12, atol=1e-10)


def test_no_direction_is_steeper_than_the_negative_gradient(tree, summary):
    """Slopes are proportional to the cosine of the angle to the gradient."""
    # Directions are 2 degrees apart, so the nearest one is at most 1 degree away.
    assert summary["degrees_from_negative_gradient_most"] <= 1 + 1e-3
    assert summary["steepest_over_gradient_norm_least"] >= np.cos(np.radians(1)) - 1e-6
    assert summary["steepest_over_gradient_norm_most"] <= 1 + 1e-6
    for surface in tree.children.values():
        gradient = surface.gradient.values
        toward = np.arctan2(gradient[:, 1], gradient[:, 0])[:, None]
        length = np.linalg.norm(gradient, axis=-1, keepdims=True)
        expected = length * np.cos(surface.angle.values - toward)
        np.testing.assert_allclose(surface.slope.values, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "saddles"), [("himmelblau", 4), ("six_hump_camel", 7)])
def test_every_saddle_lies_on_a_border_of_basins(summary, name, saddles):
    assert summary[f"{name}_saddles"] == summary[f"{name}_saddles_on_border"] == saddles


def test_every_start_converges_at_a_small_rate(summary):
    for name, minima in (("himmelblau", 4), ("six_hump_camel", 6)):
        assert summary[f"{name}_diverged_0.1"] == summary[f"{name}_not_arrived_0.1"] == 0
        shares = summary[f"{name}_share_by_minimum"]
        assert len(shares) == minima
        assert min(shares) > 0.05
        assert sum(shares) == pytest.approx(1)


def test_basins_of_the_camel_function_are_invariant_under_point_reflection(tree):
    minima = tree["six_hump_camel"].minimum.values
    partner = [int(np.argmin(np.linalg.norm(minima + m, axis=1))) for m in minima]
    end = tree["six_hump_camel"].end.values[0]
    assert np.array_equal(np.array(partner)[end], end[::-1, ::-1])


def test_a_large_rate_changes_the_end_points(summary):
    assert summary["himmelblau_elsewhere_0.9"] > 0.1
    assert summary["six_hump_camel_diverged_0.9"] > 0.1  # the term x^6 makes large x unstable


def test_above_its_stability_limit_no_start_ends_in_the_sharpest_minimum():
    result = steepest_descent.run(
        Config(functions=("himmelblau",), side=30, steps=600, rates=(0.1, 1.05), paths=2, points=2)
    )
    sharpest = 3  # (-3.779, -3.283), largest eigenvalue 133.786
    small, large = result["himmelblau"].end.values
    assert (small == sharpest).mean() > 0.2
    assert not (large == sharpest).any()


def test_figures_are_drawn_from_the_stored_tree(tree, drawn):
    names = ["basins", "directions", "paths_himmelblau", "paths_six_hump_camel"]
    assert sorted(drawn(steepest_descent, tree)) == names
