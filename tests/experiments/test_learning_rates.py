"""The learning rate experiment: outcomes and the rates at which each start trains."""

import numpy as np
import pytest

from experiments.learning_rates import __main__ as learning_rates
from experiments.learning_rates.__main__ import Config
from gdjax.errors import InputError


def test_borders_are_the_first_rate_that_fails_and_the_last_that_trains():
    trains = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [0, 0]], bool)
    failure, last = learning_rates.borders(np.arange(1.0, 6.0), trains)
    assert (failure.tolist(), last.tolist()) == ([1, 4], [4, 3])
    assert learning_rates.alternates(trains).tolist() == [True, False]
    failure, last = learning_rates.borders(np.array([1.0, 2.0]), np.array([[1, 0], [1, 0]], bool))
    np.testing.assert_array_equal(failure, [np.nan, 1])
    np.testing.assert_array_equal(last, [2, np.nan])


def test_a_missing_range_of_rates_raises_input_error():
    with pytest.raises(InputError, match="expected a range of rates for each"):
        learning_rates.run(Config(fine=((8.0, 40.0),)))
