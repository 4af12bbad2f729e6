"""Intervals hold the truth as often as they say, and +inf is a value like others."""

import numpy as np
import pytest

from gdjax.errors import InputError
from gdjax.statistics import mean, median, medians, paired, share


def test_the_usual_median_where_it_is_finite():
    """With eight seeds the fourth value is no median."""
    values = [1.0, 2.0, 3.0, 4.0, 6.0, 7.0, np.inf, np.inf]
    found = median(values)
    assert (found.value, found.of) == (5.0, "mean of the two middle values")
    assert (found.low, found.high) == (1.0, np.inf)
    assert median([3.0, 1.0, np.inf]).value == 3.0
    half = median([1.0, 2.0, np.inf, np.inf])
    assert half.value == np.inf
    assert half.of == "lower of two middle values 2"
    assert median([np.inf, np.inf, 1.0]).of == "diverged"
    assert median([1.0, np.nan, 3.0]).value == 2.0


@pytest.mark.parametrize("n", [5, 6, 8, 12, 16, 31])
def test_intervals_of_the_median_cover_it_exactly_as_the_binomial_says(n):
    draws = np.sort(np.random.default_rng(n).exponential(size=(4000, n)))
    found = median(draws[0])
    if n < 6:
        assert (found.low, found.high) == (-np.inf, np.inf)
        return
    low, high = (np.flatnonzero(draws[0] == end)[0] for end in (found.low, found.high))
    covered = (draws[:, low] <= np.log(2)) & (np.log(2) <= draws[:, high])
    assert covered.mean() > 0.95 - 0.01
    assert low + high == n - 1


def test_wilson_by_hand_and_its_coverage():
    z = 1.959963984540054
    p, n = 0.3, 10
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    found = share(3, 10)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert share(0, 5).low == 0
    assert share(0, 5).high > 0.4
    rng = np.random.default_rng(0)
    for true in (0.1, 0.5, 0.8):
        counts = rng.binomial(16, true, 400)
        inside = [f.low <= true <= f.high for f in (share(int(c), 16) for c in counts)]
        assert np.mean(inside) > 0.91


def test_differences_from_the_same_starts_are_sharper_than_of_means():
    rng = np.random.default_rng(0)
    start = 10 * rng.normal(size=16)
    second = start + 1 + 0.1 * rng.normal(size=16)
    found = paired(start, second)
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.2
    assert mean(second - start)[:3] == pytest.approx(found[:3])
    assert "1 pairs" in paired([1.0, 2.0, 3.0], [1.0, 2.5, np.inf]).of


def test_rows_of_medians():
    value, low, high = medians(np.array([[1.0, 2.0, 3.0], [np.nan] * 3]))
    assert value[0] == 2.0
    assert np.isnan(value[1])
    assert (low[0], high[0]) == (-np.inf, np.inf)


def test_what_has_no_number():
    for values in ([], [np.nan], [-np.inf, 1.0]):
        with pytest.raises(InputError, match="median"):
            median(values)
    with pytest.raises(InputError, match="3 of 2"):
        share(3, 2)
    with pytest.raises(InputError, match="take the median"):
        mean([1.0, np.inf])
    with pytest.raises(InputError, match="2 and 1 runs"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="at least 2"):
        paired([1.0], [2.0])
