"""The learning rate experiment: outcomes and the rates at which each start trains."""

import numpy as np
import pytest

from experiments.learning_rates import __main__ as learning_rates
from experiments.learning_rates import __main__ as summaries
from experiments.learning_rates.__main__ import Config
from gdjax.descent import Outcome
from gdjax.errors import InputError

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(lowest=0.003, highest=300.0, rates=6, seeds=3, epochs=2, fine_rates=4)


@pytest.fixture(scope="module")
def dataset():
    return learning_rates.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return learning_rates.numbers(dataset)


def test_intermediate_rates_reach_high_accuracy(summary):
    assert summary["sigmoid_best_rate"] == pytest.approx(3)
    assert summary["sigmoid_accuracy_at_best"] > 0.7
    assert summary["sigmoid_accuracy_at_lowest_rate"] < 0.35
    assert summary["sigmoid_accuracy_within_2_points_to"] < 30


def test_no_sigmoid_run_diverges_and_some_relu_runs_stall_and_others_diverge(dataset, summary):
    assert summary["sigmoid_runs_diverged"] == 0
    assert summary["sigmoid_share_stalled_at_most"] == 1
    assert summary["relu_runs_diverged"] > 0
    assert summary["relu_runs_stalled"] > 0
    diverged = dataset.outcome.values == Outcome.DIVERGED
    assert np.all(np.isinf(dataset.cost.values[diverged][:, -1]))


def test_numbers_of_alternating_starts_follow_from_the_fine_grid(dataset, summary):
    assert dataset.trains.shape == (2, 4, 3)
    np.testing.assert_allclose(dataset.fine_rate[:, [0, -1]], SMALL.fine)
    for name, trains in zip(SMALL.activations, dataset.trains.values, strict=True):
        # A start alternates if it trains at some rate above a rate at which it fails.
        known = sum(any(one[k] and not all(one[:k]) for k in range(len(one))) for one in trains.T)
        assert summary[f"{name}_starts_that_alternate"] == known


def test_borders_are_the_first_rate_that_fails_and_the_last_that_trains():
    trains = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [0, 0]], bool)
    failure, last = summaries.borders(np.arange(1.0, 6.0), trains)
    assert (failure.tolist(), last.tolist()) == ([1, 4], [4, 3])
    assert summaries.alternates(trains).tolist() == [True, False]
    failure, last = summaries.borders(np.array([1.0, 2.0]), np.array([[1, 0], [1, 0]], bool))
    np.testing.assert_array_equal(failure, [np.nan, 1])
    np.testing.assert_array_equal(last, [2, np.nan])


def test_a_missing_range_of_rates_raises_input_error():
    with pytest.raises(InputError, match="expected a range of rates for each"):
        learning_rates.run(Config(fine=((8.0, 40.0),)))


def test_every_figure_is_drawn(dataset, drawn):
    figures = drawn(learning_rates, dataset)
    assert set(figures) == {
        "ends_sigmoid",
        "ends_relu",
        "curves_sigmoid",
        "curves_relu",
        "rates_that_train",
    }
