"""The gradient flow experiment: order of the distance of descent from the flow."""

import numpy as np
import pytest

from experiments.gradient_flow import __main__ as gradient_flow
from experiments.gradient_flow.__main__ import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(samples=40, digit_rate=0.4, digit_time=8.0, times=5)


@pytest.fixture(scope="module")
def dataset():
    return gradient_flow.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return gradient_flow.numbers(dataset)


@pytest.mark.parametrize("problem", ["equal", "unequal", "digits"])
def test_the_distance_from_the_flow_is_of_first_order_in_the_rate(summary, problem):
    assert summary[f"{problem}_order"] == pytest.approx(1, abs=0.1)
    assert summary[f"{problem}_last_ratio"] == pytest.approx(2, rel=0.05)
    assert summary[f"{problem}_flow_arrived"]


def test_the_flow_of_two_factors_is_exact_and_conserves_its_invariant(summary):
    assert summary["equal_flow_error"] < 1e-8
    assert summary["unequal_balance_lost_by_flow"] < 1e-8
    assert summary["unequal_balance_order"] == pytest.approx(1, abs=0.1)


def test_descent_from_equal_factors_satisfies_its_recurrence(dataset):
    """The recurrence is a <- a + eta (s - a^2) a."""
    a, rate = SMALL.start, SMALL.factor_rate
    every = round(float(dataset["equal"].time[0]) / rate)
    for product in dataset["equal"]["product"].values[0]:
        for _ in range(every):
            a += rate * (SMALL.target - a**2) * a
        assert product == pytest.approx(a**2, rel=1e-9)


def test_the_error_of_the_flow_is_far_below_the_distances(dataset, summary):
    assert (
        summary["digits_flow_error_at_looser_tolerance"]
        < 0.1 * summary["digits_largest_distances"][-1]
    )
    assert np.all(np.diff(dataset["digits"].flow_cost) < 0)


def test_figures_are_drawn_from_the_dataset(dataset, drawn):
    assert list(drawn(gradient_flow, dataset)) == ["from_flow"]
