"""A small basin experiment: stability limits, basins at four rates, and figures."""

import numpy as np
import pytest

from experiments.basins import __main__ as basins
from experiments.basins import __main__ as summaries
from experiments.basins.__main__ import Config

SMALL = Config(
    functions=("himmelblau", "rastrigin"),
    side=24,
    steps=1000,
    rates=(0.2, 0.5, 0.9, 1.1),
    momenta=(0.0, 0.5),
    drawn=(0, 3),
)


@pytest.fixture(scope="module")
def tree():
    return basins.run(SMALL)


@pytest.fixture(scope="module")
def summary(tree):
    return basins.numbers(tree)


@pytest.mark.long
def test_no_run_ends_at_a_minimum_above_its_stability_limit(tree, summary):
    for name in SMALL.functions:
        assert summary[f"{name}_held_beyond_limit_most"] == 0
        assert summary[f"{name}_half_arrives_up_to_0"] >= 0.9
    # Only the limit of the sharpest minimum is below the largest rate; momentum raises this limit.
    beyond = summaries.beyond(tree["himmelblau"].to_dataset())
    assert beyond.sum(axis=(0, 2)).tolist() == [1, 0]


def test_limits_follow_from_the_classified_eigenvalues(summary):
    assert summary["himmelblau_limit_least"] == pytest.approx(2 / 133.786, rel=1e-5)
    assert summary["himmelblau_limit_most"] == pytest.approx(2 / 80.550, rel=1e-5)
    # The limits of Rastrigin's function lie within 2 % of each other.
    least, most = summary["rastrigin_limit_least"], summary["rastrigin_limit_most"]
    assert 2 / (2 + 40 * np.pi**2) == pytest.approx(least, rel=1e-6)
    assert least < most < 1.02 * least


def test_larger_steps_change_basins_only_if_they_can_cross_a_maximum(summary):
    assert summary["himmelblau_elsewhere_at_0.9"] > summary["himmelblau_elsewhere_at_0.5"] >= 0
    assert summary["himmelblau_elsewhere_with_momentum_0"] == 0
    # At half the limit, no step on Rastrigin's function is long enough to cross a maximum.
    assert summary["rastrigin_elsewhere_at_0.5"] == 0


def test_equivalent_minima_are_combined_into_one_line(tree):
    names, numbers, share, limit = basins.lines(tree["rastrigin"].to_dataset())
    assert names == [
        "(0, 0)",
        "4 like (-0.995, 0)",
        "4 like (-0.995, -0.995)",
        "the 112 other minima",
    ]
    assert numbers[0] == 0
    np.testing.assert_allclose(share[0, 0].sum(), 1)
    assert limit.shape == (2, 4)


def test_every_limit_is_in_the_figure(tree):
    picture = basins.plot(tree)["shares_himmelblau"]
    for axes, limits in zip(picture.axes, tree["himmelblau"].limit.values, strict=True):
        dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(sorted(dashed), sorted(limits))


def test_figures_are_drawn_from_the_dataset(tree, drawn):
    figures = drawn(basins, tree)
    assert set(figures) == {
        f"{kind}_{name}" for name in SMALL.functions for kind in ("maps", "shares")
    }
