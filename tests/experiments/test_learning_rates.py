"""Too small is slow, too large is dead or diverges, and every start has a limit of its own."""

import learning_rates
import numpy as np
import pytest
from learning_rates import Config

from gdjax.descent import OUTCOMES
from gdjax.errors import InputError

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(lowest=0.003, highest=300.0, rates=6, seeds=3, epochs=2, halvings=2)
RATIO = 10.0  # from one rate to the next


@pytest.fixture(scope="module")
def dataset():
    return learning_rates.run(SMALL)


@pytest.fixture(scope="module")
def found(dataset):
    return learning_rates.numbers(dataset)


def test_between_too_small_and_too_large_lies_what_learns(found):
    assert found["sigmoid_best_rate"] == pytest.approx(3)
    assert found["sigmoid_accuracy_at_best"] > 0.7
    assert found["sigmoid_accuracy_at_lowest_rate"] < 0.35
    assert found["sigmoid_accuracy_within_2_points_to"] < 30


def test_sigmoids_die_and_never_diverge_relus_do_both(dataset, found):
    assert found["sigmoid_runs_diverged"] == 0
    assert found["sigmoid_share_dead_at_most"] == 1
    assert found["relu_runs_diverged"] > 0
    assert found["relu_runs_dead"] > 0
    gone = dataset.outcome.values == OUTCOMES.index("diverged")
    assert np.all(np.isinf(dataset.cost.values[gone][:, -1]))


def test_the_limit_is_known_as_well_as_the_halvings_say(dataset, found):
    expected = RATIO ** (1 / 2**SMALL.halvings)
    np.testing.assert_allclose(dataset.smallest_failure / dataset.largest_rate, expected)
    assert found["sigmoid_largest_rate_least"] > found["sigmoid_best_rate"]
    # The best relu rate is a tenth of the best sigmoid rate or less, and so are the limits.
    assert found["relu_largest_rate_most"] < found["sigmoid_largest_rate_least"]


def test_bisection_finds_limits_that_are_known():
    limits = np.array([2.0, 3.0, 9.9])
    found = learning_rates.bisect(
        lambda rate: rate <= limits, 20, lower=np.ones(3), upper=np.full(3, 10.0)
    )
    np.testing.assert_allclose(found.largest_rate, limits, rtol=1e-5)
    assert np.all(found.largest_rate <= limits)
    assert np.all(found.smallest_failure > limits)
    assert found.tested.shape == (20, 3)


def test_the_bracket_is_the_last_rate_that_works_and_the_next():
    works = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [0, 0]], bool)
    lower, upper = learning_rates.bracket(np.arange(1.0, 6.0), works)
    assert (lower.tolist(), upper.tolist()) == ([4, 3], [5, 4])
    assert learning_rates.stretches(works).tolist() == [2, 1]


@pytest.mark.parametrize("works", [[[1, 1], [0, 1]], [[1, 0], [0, 0]]])
def test_a_range_without_a_bracket_is_an_error(works):
    with pytest.raises(InputError, match="widen the range"):
        learning_rates.bracket(np.array([1.0, 2.0]), np.array(works, bool))


def test_every_picture_is_drawn(dataset):
    pictures = learning_rates.plot(dataset)
    assert set(pictures) == {
        "ends_sigmoid",
        "ends_relu",
        "curves_sigmoid",
        "curves_relu",
        "largest_rates",
    }
    for figure in pictures.values():
        figure.canvas.draw()
