"""Coverage of intervals, and statistics of values that include +inf."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gdjax.base.errors import InputError
from gdjax.base.signed_ranks import num_positive_means, signed_rank_tail
from gdjax.base.statistics import (
    hodges_lehmann,
    holm,
    mean,
    median,
    medians,
    paired,
    seeds_needed,
    seeds_needed_by_ranks,
    share,
)


def test_the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_ones_if_finite():
    """With eight seeds the fourth value is not the median."""
    values = [1.0, 2.0, 3.0, 4.0, 6.0, 7.0, np.inf, np.inf]
    result = median(values)
    assert (result.value, result.of) == (5.0, "mean of the two middle values")
    assert (result.low, result.high) == (1.0, np.inf)
    assert median([3.0, 1.0, np.inf]).value == 3.0
    half = median([1.0, 2.0, np.inf, np.inf])
    assert half.value == np.inf
    assert half.of == "lower of two middle values 2"
    assert median([np.inf, np.inf, 1.0]).of == "diverged"
    assert median([1.0, np.nan, 3.0]).value == 2.0


@pytest.mark.parametrize("n", [5, 6, 8, 12, 16, 31])
def test_intervals_of_the_median_have_a_coverage_above_94_percent(n):
    draws = np.sort(np.random.default_rng(n).exponential(size=(4000, n)))
    result = median(draws[0])
    if n < 6:
        assert (result.low, result.high) == (-np.inf, np.inf)
        return
    low, high = (np.flatnonzero(draws[0] == end)[0] for end in (result.low, result.high))
    covered = (draws[:, low] <= np.log(2)) & (np.log(2) <= draws[:, high])
    assert covered.mean() > 0.95 - 0.01
    assert low + high == n - 1


def test_intervals_of_proportions_equal_those_of_clopper_and_pearson():
    result = share(3, 10)
    assert stats.binom.sf(2, 10, result.low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 10, result.high) == pytest.approx(0.025)
    assert share(0, 5).low == 0
    assert share(0, 5).high == pytest.approx(1 - 0.025 ** (1 / 5))


@pytest.mark.parametrize("n", [8, 30, 150])
def test_intervals_of_proportions_have_their_nominal_coverage(n):
    """Coverage is computed exactly; that of Wilson's interval would fall to 0.84."""
    ends = [share(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(end, name) for end in ends]) for name in ("low", "high"))
    inside = np.concatenate([np.geomspace(1e-4, 0.5, 400), low[1:] + 1e-9, high[:-1] - 1e-9])
    for p in (inside, 1 - inside):
        covered = (low <= p[:, None]) & (p[:, None] <= high)
        coverage = np.sum(covered * stats.binom.pmf(np.arange(n + 1), n, p[:, None]), axis=1)
        assert coverage.min() >= 0.95


def test_paired_differences_have_shorter_intervals_than_differences_of_means():
    rng = np.random.default_rng(0)
    start = 10 * rng.normal(size=16)
    second = start + 1 + 0.1 * rng.normal(size=16)
    result = paired(start, second)
    assert result.low < 1 < result.high
    assert result.high - result.low < 0.2
    assert mean(second - start)[:3] == pytest.approx(result[:3])
    assert "1 pairs" in paired([1.0, 2.0, 3.0], [1.0, 2.5, np.inf]).of


@pytest.mark.parametrize(("ratio", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_numbers_of_seeds_equal_those_of_published_tables(ratio, n):
    assert seeds_needed(ratio, 1.0) == seeds_needed(-2 * ratio, 2.0) == n


def test_large_numbers_of_seeds_agree_with_the_normal_approximation():
    quantiles = stats.norm.isf(0.005) + stats.norm.isf(0.1)
    exact = (quantiles / 0.01) ** 2
    assert abs(seeds_needed(0.01, 1.0, power=0.9, level=0.99) - exact) < quantiles**2


def test_a_difference_is_detected_with_the_stated_power():
    n = seeds_needed(0.7, 1.0, power=0.9)
    draws = np.random.default_rng(0).normal(0.7, 1.0, size=(4000, n))
    for size, least, most in ((n, 0.9, 0.93), (n - 1, 0.87, 0.9)):
        t = stats.ttest_1samp(draws[:, :size], 0, axis=1)
        assert least - 0.01 < np.mean(t.pvalue < 0.05) < most + 0.01
    result = paired(np.zeros(n), draws[0])
    assert (result.low > 0 or result.high < 0) == (t.pvalue[0] < 0.05)


def test_medians_are_computed_per_row():
    value, low, high = medians(np.array([[1.0, 2.0, 3.0], [np.nan] * 3]))
    assert value[0] == 2.0
    assert np.isnan(value[1])
    assert (low[0], high[0]) == (-np.inf, np.inf)


def signed_rank(d):
    """Return the one-sided p-value of the test that `hodges_lehmann` inverts."""
    return float(signed_rank_tail(num_positive_means(d), len(d)))


# Depression scores of nine patients before and after a therapy.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_rank_estimates_equal_those_of_a_textbook():
    """Hollander and Wolfe 1999, examples 3.1, 3.3 and 3.5: statistic 5 of 45, and an interval."""
    result = hodges_lehmann(AFTER - BEFORE, level=0.96)
    assert np.allclose(result[:3], [-0.46, -0.786, -0.010], atol=5e-4)
    assert signed_rank(BEFORE - AFTER) == pytest.approx(0.0195, abs=5e-5)


@pytest.mark.parametrize("n", [5, 11, 30, 201, 300])
def test_signed_rank_tests_equal_those_of_scipy(n):
    d = np.random.default_rng(n).normal(0.15, 1, size=n)
    method = "exact" if n <= 200 else "approx"
    expected = stats.wilcoxon(d, alternative="greater", method=method, correction=n > 200).pvalue
    assert signed_rank(d) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [6, 12, 40])
def test_intervals_of_ranks_exclude_exactly_the_numbers_that_the_test_rejects(n):
    d = np.random.default_rng(n).standard_t(2, size=n)
    d[-1] = np.inf
    low, high = hodges_lehmann(d)[1:3]
    for end, sign in ((low, 1), (high, -1)):
        if np.isfinite(end):
            assert signed_rank(sign * (d - end + sign * 1e-9)) <= 0.025
            assert signed_rank(sign * (d - end - sign * 1e-9)) > 0.025
    both = hodges_lehmann([*d[:-1], -np.inf, np.inf])
    assert both.low <= low


@pytest.mark.parametrize("distribution", ["normal", "heavy", "tied"])
def test_intervals_of_ranks_have_their_coverage(distribution):
    rng = np.random.default_rng(0)
    draws = {
        "normal": rng.normal(size=(2000, 10)),
        "heavy": rng.standard_cauchy((2000, 10)),
        "tied": rng.integers(-2, 3, (2000, 10)).astype(float),
    }[distribution]
    ends = np.array([hodges_lehmann(d)[1:3] for d in draws])
    assert np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0)) > 0.95 - 0.01


def test_holm_equals_the_closure_of_bonferroni_tests():
    """A hypothesis is rejected if each set that contains it is (Marcus, Peritz, Gabriel 1976)."""
    p = np.random.default_rng(0).uniform(0, 0.2, size=6)
    subsets = [s for k in range(1, 7) for s in itertools.combinations(range(6), k)]
    closed = [max(min(1, len(s) * p[list(s)].min()) for s in subsets if i in s) for i in range(6)]
    assert np.allclose(holm(p), closed)
    with pytest.raises(InputError, match="from 0 to 1"):
        holm([0.1, 1.2])


@pytest.mark.parametrize(("effect", "power"), [(0.4, 0.8), (0.3, 0.9)])
def test_a_difference_is_detected_by_ranks_with_the_stated_power(effect, power):
    n = seeds_needed_by_ranks(stats.norm.cdf(math.sqrt(2) * effect), power=power)
    draws = np.random.default_rng(0).normal(effect, 1.0, size=(3000, n))
    assert abs(np.mean([signed_rank(d) <= 0.025 for d in draws]) - power) < 0.06
