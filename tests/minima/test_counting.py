"""Unseen minima: exact expectations and coverage over simulated draws of known shares."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gdjax as gd
from gdjax.errors import InputError
from gdjax.minima.counting import different, shares, unseen


def rastrigin_shares():
    """Exact: the areas between the hills, which part each coordinate of [-5.12, 5.12]."""
    known = gd.problems.find("rastrigin").critical_points
    hills = sorted({p.x[0] for p in known if p.kind == "maximum"})
    width = np.diff([-5.12, *hills, 5.12]) / 10.24
    return np.outer(width, width).ravel()


GEOMETRIC = 0.9 ** np.arange(100) / np.sum(0.9 ** np.arange(100))
ZIPF = 1 / np.arange(1, 300) / np.sum(1 / np.arange(1, 300))


def simulated(p, n, times=250):
    """Estimates from draws of known shares, with the true mass and number of what is missing."""
    for counts in np.random.default_rng(0).multinomial(n, p, times):
        yield unseen(counts[counts > 0]), p[counts == 0].sum(), int((counts == 0).sum())


@pytest.mark.parametrize("p", [rastrigin_shares(), GEOMETRIC, ZIPF], ids=["rastrigin", "g", "z"])
def test_mass_has_the_expectation_that_good_derived(p):
    """E f1 / n = sum p (1 - p)^(n - 1): the mass missed by n - 1 draws."""
    n = 100
    found = np.array([estimate.mass for estimate, _, _ in simulated(p, n)])
    exact = np.sum(p * (1 - p) ** (n - 1))
    assert abs(found.mean() - exact) < 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("n", [64, 250, 2000])
@pytest.mark.parametrize("p", [rastrigin_shares(), GEOMETRIC, ZIPF], ids=["rastrigin", "g", "z"])
def test_mass_is_covered(p, n):
    covered = [e.mass_low <= mass <= e.mass_high for e, mass, _ in simulated(p, n)]
    assert np.mean(covered) > 0.89  # 0.95, less four standard errors of 250 draws


BASINS = {
    "equal": np.ones,
    "zipf": lambda size: 1 / np.arange(1, size + 1),
    "geometric": lambda size: 0.9 ** np.arange(size),
}


@pytest.mark.parametrize("basins", BASINS)
@pytest.mark.parametrize("size", [10, 60, 700, 3000])
def test_the_lower_bound_holds_whatever_the_shares(basins, size):
    """As often as it says, from few draws and many; an upper bound could not (see `counting`)."""
    p = BASINS[basins](size) / np.sum(BASINS[basins](size))
    for n in (30, 63, 200):
        held = [e.number_low <= k for e, _, k in simulated(p, n, 200)]
        assert np.mean(held) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 200)


@pytest.mark.parametrize("p", [GEOMETRIC, ZIPF], ids=["g", "z"])
def test_the_estimate_is_low_where_shares_differ(p):
    found = list(simulated(p, 200))
    assert np.mean([e.number for e, _, _ in found]) < np.mean([k for _, _, k in found])


@pytest.mark.parametrize("n", [2, 5, 23, 63])
def test_all_different_is_the_birthday_bound(n):
    def chance(total):
        return math.prod(1 - i / total for i in range(1, n))

    found = different(n)
    assert chance(found) >= 0.05
    assert found == n or chance(found - 1) < 0.05
    assert different(63) == 674
    estimate = unseen([1] * n)
    assert math.isnan(estimate.number)
    assert estimate.number_low == found - n


def test_chao_by_hand():
    # n = 20, f1 = 4, f2 = 2: 19/20 * 4 * 3 / (2 * 3) = 1.9.
    found = unseen([1, 1, 1, 1, 2, 2, 12])
    assert found.number == pytest.approx(1.9)
    variance = 1.9 + (0.95 * 4 * 7 / 6) ** 2 + 0.95**2 * 16 * 2 * 9 / (4 * 81)
    factor = math.exp(stats.norm.ppf(0.95) * math.sqrt(math.log(1 + variance / 1.9**2)))
    assert found.number_low == math.floor(1.9 / factor)
    assert (found.draws, found.seen, found.once, found.twice) == (20, 7, 4, 2)


def test_one_run_says_nothing_about_the_number():
    found = unseen([1])
    assert found.mass == 1
    assert found.number_low == 0
    assert math.isnan(found.number)


def test_shares_are_clopper_and_pearson_at_the_joint_level():
    found = shares([7, 2, 1], 12)
    for i, count in enumerate([7, 2, 1]):
        exact = stats.binomtest(count, 12).proportion_ci(1 - 0.05 / 3, method="exact")
        assert (found.low[i], found.high[i]) == pytest.approx((exact.low, exact.high))
    assert found.share.tolist() == [7 / 12, 2 / 12, 1 / 12]


def test_shares_hold_all_at_once():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    inside = []
    for counts in np.random.default_rng(1).multinomial(64, p, 400):
        seen = counts > 0
        found = shares(counts[seen])
        inside.append(np.all((found.low <= p[seen]) & (p[seen] <= found.high)))
    assert np.mean(inside) >= 0.95


def test_a_basin_of_everything():
    found = shares([5])
    assert found.high.tolist() == [1.0]
    assert found.low[0] == pytest.approx(0.025 ** (1 / 5))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_intervals_hold_their_estimates(counts):
    found = unseen(counts)
    assert 0 <= found.mass_low <= found.mass <= found.mass_high <= 1
    assert found.number_low >= 0
    assert math.isnan(found.number) or found.number_low <= found.number
    part = shares(counts, sum(counts) + 3)
    assert np.all((part.low <= part.share) & (part.share <= part.high))


@pytest.mark.parametrize("counts", [[], [0, 1], [1.5], [[1]], [-1]])
def test_counts_that_are_none(counts):
    with pytest.raises(InputError, match="whole numbers >= 1"):
        unseen(counts)


def test_more_ends_than_runs():
    with pytest.raises(InputError, match="runs = 3"):
        shares([2, 2], 3)
