"""Which samples records see: all, none where steps tell, or the same few every time."""

import numpy as np
import pytest

from gdjax.descent.records import check_records, recorded_samples
from gdjax.errors import InputError
from gdjax.problems.problem import Problem

DATA = {"x": np.arange(40.0).reshape(20, 2), "y": np.arange(20)}
PROBLEM = Problem(init=lambda key: np.zeros(2), cost=lambda w, batch: 0.0, data=DATA)
ALONE = Problem(init=lambda key: np.zeros(2), cost=lambda w: 0.0)


def test_all_samples_none_or_a_few():
    assert recorded_samples(PROBLEM, None, free=False) is DATA
    assert recorded_samples(PROBLEM, 5, free=True) is None
    assert recorded_samples(ALONE, None, free=False) is None


def test_the_few_are_different_ones_in_order_and_always_the_same():
    few = recorded_samples(PROBLEM, 7, free=False)
    assert len(np.unique(few["y"])) == 7
    assert np.all(np.diff(few["y"]) > 0)
    np.testing.assert_array_equal(few["x"], DATA["x"][few["y"]])
    np.testing.assert_array_equal(few["y"], recorded_samples(PROBLEM, 7, free=False)["y"])
    np.testing.assert_array_equal(recorded_samples(PROBLEM, 20, free=False)["y"], DATA["y"])


@pytest.mark.parametrize("count", [0, 21, -1, 2.0, True, "5"])
def test_a_number_of_samples_that_there_are_not(count):
    with pytest.raises(InputError, match="expected a whole number from 1 to 20"):
        check_records(PROBLEM, count, None)


def test_without_data_there_is_nothing_to_choose():
    with pytest.raises(InputError, match="the problem has no data; leave it out"):
        check_records(ALONE, 3, None)
    check_records(PROBLEM, 20, lambda memory, params: params)
    check_records(ALONE, None, None)
