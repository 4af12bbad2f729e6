"""Unseen minima: expectations and coverage for draws with known shares."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gdjax as gd
from gdjax.minima.counting import basin_shares, estimate_unseen


def rastrigin_shares():
    """Return the areas of Rastrigin's basins as shares of the domain."""
    known = gd.problems.FUNCTIONS["rastrigin"].critical_points
    hills = sorted({p.x[0] for p in known if p.kind == "maximum"})
    width = np.diff([-5.12, *hills, 5.12]) / 10.24
    return np.outer(width, width).ravel()


GEOMETRIC = 0.9 ** np.arange(100) / np.sum(0.9 ** np.arange(100))
ZIPF = 1 / np.arange(1, 300) / np.sum(1 / np.arange(1, 300))


def simulated(p, n, times=250):
    """Yield estimates for draws with shares p, and the true unseen mass and number."""
    for counts in np.random.default_rng(0).multinomial(n, p, times):
        yield estimate_unseen(counts[counts > 0]), p[counts == 0].sum(), int((counts == 0).sum())


@pytest.mark.parametrize("p", [rastrigin_shares(), GEOMETRIC, ZIPF], ids=["rastrigin", "g", "z"])
def test_estimates_of_the_unseen_mass_have_the_good_turing_expectation_and_their_coverage(p):
    """E f1 / n = sum p (1 - p)^(n - 1), the expected mass missed by n - 1 draws."""
    for n in (64, 250, 2000):
        estimates, masses, _ = zip(*simulated(p, n), strict=True)
        result = np.array([estimate.mass for estimate in estimates])
        exact = np.sum(p * (1 - p) ** (n - 1))
        assert abs(result.mean() - exact) < 4 * result.std() / math.sqrt(len(result)) + 1e-6
        pairs = zip(estimates, masses, strict=True)
        covered = [e.mass_low <= mass <= e.mass_high for e, mass in pairs]
        assert np.mean(covered) > 0.91  # 0.95 minus three standard errors for 250 repetitions


def test_the_interval_of_the_unseen_mass_has_the_roots_of_its_score_equation_as_limits():
    """(f1 - n M)^2 = z^2 (n M (1 - M) + 2 F2), F2 = f2 + 1 + z sqrt(f2 + 1)."""
    n, once, twice, z = 200, 30, 20, stats.norm.isf(0.025)
    result = estimate_unseen([1] * once + [2] * twice + [n - once - 2 * twice])
    high = twice + 1 + z * math.sqrt(twice + 1)
    for mass in (result.mass_low, result.mass_high):
        assert (once - n * mass) ** 2 == pytest.approx(z**2 * (n * mass * (1 - mass) + 2 * high))


@pytest.mark.long
@pytest.mark.parametrize("n", [5, 10, 30, 64, 250, 1000])
@pytest.mark.parametrize("size", [5, 30, 100, 1000])
@pytest.mark.parametrize("kind", ["equal", "zipf", "geometric"])
def test_intervals_of_the_unseen_mass_have_nominal_coverage_in_2000_repetitions(kind, size, n):
    """The coverage is at least 0.95 minus two standard errors."""
    p = BASINS[kind](size) / np.sum(BASINS[kind](size))
    counts = np.random.default_rng(0).multinomial(n, p, 2000)
    missing = np.sum(p * (counts == 0), axis=1)
    once, twice = (counts == 1).sum(axis=1), (counts == 2).sum(axis=1)
    contained = np.zeros(2000, bool)
    for pair in set(zip(once.tolist(), twice.tolist(), strict=True)):
        rows = (once == pair[0]) & (twice == pair[1])
        result = estimate_unseen(counts[np.argmax(rows)][counts[np.argmax(rows)] > 0])
        contained[rows] = (result.mass_low <= missing[rows]) & (
            missing[rows] <= result.mass_high + 1e-12
        )
    assert contained.mean() > 0.95 - 2 * math.sqrt(0.95 * 0.05 / 2000)


BASINS = {
    "equal": np.ones,
    "zipf": lambda size: 1 / np.arange(1, size + 1),
    "geometric": lambda size: 0.9 ** np.arange(size),
}


@pytest.mark.parametrize("basins", BASINS)
@pytest.mark.parametrize("size", [10, 60, 700, 3000])
def test_the_lower_bound_has_nominal_coverage_for_all_shares(basins, size):
    """The coverage is above 0.95 minus four standard errors for 30 to 200 draws."""
    p = BASINS[basins](size) / np.sum(BASINS[basins](size))
    for n in (30, 63, 200):
        contained = [e.number_low <= k for e, _, k in simulated(p, n, 200)]
        assert np.mean(contained) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 200)


@pytest.mark.parametrize("p", [GEOMETRIC, ZIPF], ids=["g", "z"])
def test_the_mean_estimate_is_below_the_number_of_unseen_minima_if_shares_differ(p):
    result = list(simulated(p, 200))
    assert np.mean([e.number for e, _, _ in result]) < np.mean([k for _, _, k in result])


@pytest.mark.parametrize("n", [1, 2, 5, 23, 63])
def test_the_bound_for_distinct_draws_is_the_birthday_bound(n):
    def chance(total):
        return math.prod(1 - i / total for i in range(1, n))

    estimate = estimate_unseen([1] * n)
    bound = n + estimate.number_low
    assert chance(bound) >= 0.05
    assert bound == n or chance(bound - 1) < 0.05
    assert math.isnan(estimate.number)
    assert 23 + estimate_unseen([1] * 23, level=0.5).number_low == 373


def test_the_chao_estimate_equals_the_value_computed_by_hand():
    # n = 20, f1 = 4, f2 = 2: 19/20 * 4 * 3 / (2 * 3) = 1.9.
    result = estimate_unseen([1, 1, 1, 1, 2, 2, 12])
    assert result.number == pytest.approx(1.9)
    variance = 1.9 + (0.95 * 4 * 7 / 6) ** 2 + 0.95**2 * 16 * 2 * 9 / (4 * 81)
    factor = math.exp(stats.norm.ppf(0.95) * math.sqrt(math.log(1 + variance / 1.9**2)))
    assert result.number_low == math.floor(1.9 / factor)
    assert (result.draws, result.observed, result.once, result.twice) == (20, 7, 4, 2)


def test_confidence_limits_of_shares_invert_the_binomial_test_at_level_alpha_p():
    """At each limit one tail of the binomial distribution is alpha p / 2."""
    result = basin_shares([7, 2, 1], 12)
    assert result.share.tolist() == [7 / 12, 2 / 12, 1 / 12]
    for count, low, high in zip([7, 2, 1], result.low, result.high, strict=True):
        assert stats.binom.cdf(count, 12, high) == pytest.approx(0.05 * high / 2)
        if count > 1:
            assert stats.binom.sf(count - 1, 12, low) == pytest.approx(0.05 * low / 2)
    assert result.low[2] == 0  # P(K >= 1) / p >= 1 for every p
    assert (1 - result.unseen_high) ** 12 == pytest.approx(0.05 * result.unseen_high / 2)
    many = basin_shares([10**6 - 2, 2])
    assert stats.binom.sf(1, 10**6, many.low[1]) == pytest.approx(0.05 * many.low[1] / 2)


CELLS = {
    "Zipf distribution of 1,000 minima": (1 / np.arange(1, 1001), 10),
    "Zipf distribution of 1,000 minima, more runs": (1 / np.arange(1, 1001), 200),
    "1,000 equal": (np.ones(1000), 32),
    "5 cells": (np.array([0.5, 0.3, 0.1, 0.07, 0.03]), 32),
    "2 cells": (np.array([0.97, 0.03]), 64),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CELLS)
def test_intervals_of_shares_have_simultaneous_coverage_in_2000_repetitions(name):
    """The simultaneous coverage of nominal 95 % intervals is above 0.95."""
    weight, n = CELLS[name]
    p = weight / weight.sum()
    each = [basin_shares([k], n) for k in range(1, n + 1)]
    low = np.array([0.0, *(result.low[0] for result in each)])
    high = np.array([each[0].unseen_high, *(result.high[0] for result in each)])
    counts = np.random.default_rng(1).multinomial(n, p, 2000)
    contained = np.all((low[counts] <= p) & (p <= high[counts]), axis=1)
    assert contained.mean() > 0.95


def test_the_interval_of_a_single_basin_equals_its_closed_form():
    result = basin_shares([5])
    assert result.high.tolist() == [1.0]
    assert result.low[0] ** 5 == pytest.approx(0.025 * result.low[0])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_intervals_contain_their_estimates(counts):
    result = estimate_unseen(counts)
    assert 0 <= result.mass_low <= result.mass <= result.mass_high <= 1
    assert result.number_low >= 0
    assert math.isnan(result.number) or result.number_low <= result.number
    part = basin_shares(counts, sum(counts) + 3)
    assert np.all((part.low <= part.share) & (part.share <= part.high))
