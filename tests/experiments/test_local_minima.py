"""A small local minima experiment: censuses with and without weight decay."""

import numpy as np
import pytest

from experiments.local_minima import __main__ as local_minima
from experiments.local_minima.__main__ import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    seeds=12,
    xor_seeds=12,
    hidden=(2,),
    xor_decay=(1e-3,),
    xor_steps=1000,
    images=20,
    widths=(3,),
    decay=2e-3,
    steps=1000,
)
DECAYED, DIGITS = "XOR 2-2-1, decay 0.001", "digits 784-3-10"


@pytest.fixture(scope="module")
def tree():
    return local_minima.run(SMALL)


@pytest.fixture(scope="module")
def summary(tree):
    return local_minima.numbers(tree)


def test_counts_of_outcomes_sum_to_the_number_of_runs(summary):
    for name in (DECAYED, DIGITS):
        ended = [
            v for k, v in summary.items() if k.startswith(f"{name}: runs_") and "lowest" not in k
        ]
        assert sum(ended) == SMALL.seeds
        assert summary[f"{name}: minima"] > 0


def test_with_decay_minima_are_isolated_and_reached_by_several_runs(tree, summary):
    one = local_minima.by_case(tree)[DECAYED]
    assert np.all(one.minimum_nullity.values == 0)
    assert np.all(one.least_curvature.values > 0)
    assert summary[f"{DECAYED}: minima"] < summary[f"{DECAYED}: runs_strict_minimum"]
    # With decay, outputs at minima differ from the targets 0.1 and 0.9, so costs are positive.
    assert summary[f"{DECAYED}: cost_lowest"] > 0.01


def test_the_digit_network_has_reduced_inputs_and_consistent_costs_and_accuracies(tree, summary):
    one = local_minima.by_case(tree)[DIGITS]
    assert one["params.0.weights"].shape[1:] == (3, 20)
    assert summary[f"{DIGITS}: cost_lowest"] <= summary[f"{DIGITS}: cost_median_of_runs"][0]
    accuracy = one.test_accuracy.values
    least, most = (summary[f"{DIGITS}: accuracy_{end}"] for end in ("least", "most"))
    assert (least, most) == (accuracy.min(), accuracy.max())
    lowest = accuracy[np.argmin(one.minimum_cost.values)]
    assert summary[f"{DIGITS}: accuracy_of_the_lowest"] == lowest
    assert most > 0.2
    assert summary[f"{DIGITS}: matched_distance_least"] <= summary[f"{DIGITS}: distance_least"]


def test_figures_are_drawn_from_the_dataset(tree, drawn):
    figures = drawn(local_minima, tree)
    assert set(figures) == {
        "tolerances",
        "frequencies_XOR_2-2-1_decay_0.001",
        "map_digits_784-3-10",
        "barriers_digits_784-3-10",
        "worth",
    }
