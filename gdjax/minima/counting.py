"""Shares of the basins of minima, and estimates of minima at which no run ended.

    mass of unseen minima     about     f1 / n                                (Good and Turing)
    number of unseen minima   at least  (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))  (Chao), on average

Here n runs ended at minima; f1 of the minima were found once and f2 twice. If every minimum was
found many times, few are missing; if many were found only once, the next run is likely to find
another.

Both estimates assume that the runs are independent draws from the same unknown shares, which is
valid for random starts but not for a grid of starts. The shares are arbitrary, so the number is
bounded only from below: the data contain no information on basins too small to be found, and an
upper bound that is valid for equal shares had a coverage of only 0 to 90 % for unequal shares in
tests.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from gdjax.base import statistics
from gdjax.base.arguments import check_limits, check_numbers
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Share


class Unseen(NamedTuple):
    """Estimates of the minima at which no run ended.

    Args:
        draws: number of runs that ended at a minimum, n.
        observed: number of different minima among their end points.
        once: number of minima at which exactly one run ended, f1.
        twice: number of minima at which exactly two runs ended, f2.
        mass: estimated probability that the next run ends at a new minimum.
        mass_low: lower end of the confidence interval of the mass, whose coverage is approximate.
        mass_high: upper end of the confidence interval of the mass.
        number: estimated number of unseen minima, the smallest that is consistent with f1 and f2.
            Its expectation is approximately the true number if all shares are equal, and less
            otherwise. NaN if all end points differ, since it would then be (n - 1)^2 / 2, whatever
            the true number is.
        number_low: lower confidence bound on the number, a whole number.
        level: confidence level of the interval of the mass, and of the bound on the number.
    """

    draws: int
    observed: int
    once: int
    twice: int
    mass: float
    mass_low: float
    mass_high: float
    number: float
    number_low: int
    level: float


class BasinShares(NamedTuple):
    """Share of each basin among all starts, with simultaneous confidence intervals.

    Args:
        share: fraction of all runs that ended in each basin.
        low: lower ends of simultaneous confidence intervals for all basins.
        high: upper ends of these intervals.
        unseen_high: upper end for each basin in which no run ended; its lower end is 0.
    """

    share: Float[np.ndarray, " minima"]
    low: Float[np.ndarray, " minima"]
    high: Float[np.ndarray, " minima"]
    unseen_high: float


def estimate_unseen(counts: Sequence | ArrayLike, *, level: float = statistics.LEVEL) -> Unseen:
    """Estimate the probability and the number of the minima at which no run ended.

        mass = f1 / n,   |f1 - n mass|^2 <= z^2 (n mass (1 - mass) + 2 F2)
        number = (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))

    The estimate of the mass is nearly unbiased for any shares: its bias is at most about f1/n^2.
    Its interval contains all masses that satisfy the inequality on the right, in which Esty's
    variance is evaluated at each mass, and F2 = f2 + 1 + z sqrt(f2 + 1) is an upper bound on the
    expectation of f2. The result is the union with the exact binomial interval for f1 of n. The
    number is Chao's bias-corrected estimate, and its lower bound is the lower end of his log-normal
    interval, rounded down. If all end points differ, the lower bound on the number S of all minima
    is that of the birthday problem, which is valid for any shares, since the probability that all
    runs differ is largest for equal shares:

        the smallest S with  prod (1 - i / S) >= 1 - level,   i = 1, ..., n - 1

    Args:
        counts: number of runs that ended at each minimum, >= 1.
        level: confidence level, in (0, 1).

    Examples:
        Five runs found three minima, two of them once:

        >>> unseen = estimate_unseen([3, 1, 1])
        >>> unseen.mass, unseen.number, unseen.number_low
        (0.4, 0.8, 0)

        After a hundred runs that found ten minima ten times each, another minimum is unlikely:

        >>> unseen = estimate_unseen([10] * 10)
        >>> unseen.mass, round(unseen.mass_high, 3), unseen.number
        (0.0, 0.069, 0.0)

        After 63 runs that found 63 minima, there are at least 674 with 95 % confidence, and no
        estimate exists:

        >>> unseen = estimate_unseen([1] * 63)
        >>> unseen.number, unseen.number_low + unseen.observed
        (nan, 674)

    References:
        Good 1953, Biometrika 40, 237; Esty 1983, Annals of Statistics 11, 905; Chao 1987,
        Biometrics 43, 783; the bias-corrected variance as in Chao 2005, Encyclopedia of Statistical
        Sciences 12, 7907; Munford 1977, The American Statistician 31, 119, on birthdays with
        unequal probabilities.
    """
    counts = _check_counts("estimate_unseen", counts, level)
    n, observed = int(counts.sum()), len(counts)
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    z = float(stats.norm.isf((1 - level) / 2))
    mass = once / n
    score_low, score_high = _missing_mass(n, once, twice, z)
    exact = statistics.share(once, n, level=level)
    if once == n:
        number, low = math.nan, _birthday_lower_bound(n, level) - n
    else:
        number, low = _chao(n, once, twice, float(stats.norm.isf(1 - level)))
    return Unseen(
        draws=n,
        observed=observed,
        once=once,
        twice=twice,
        mass=mass,
        mass_low=max(0.0, min(score_low, exact.low)),
        mass_high=min(1.0, max(score_high, exact.high)),
        number=number,
        number_low=low,
        level=level,
    )


def _missing_mass(n, once, twice, z):
    """Return both roots M of (f1 - n M)^2 = z^2 (n M (1 - M) + 2 F2)."""
    twice_high = twice + 1 + z * math.sqrt(twice + 1)
    a, half_b = n**2 + z**2 * n, n * once + z**2 * n / 2
    root = math.sqrt(max(half_b**2 - a * (once**2 - 2 * z**2 * twice_high), 0.0))
    return (half_b - root) / a, (half_b + root) / a


def _chao(n, once, twice, z):
    """Return Chao's bias-corrected number of unseen minima, and a lower bound."""
    k = (n - 1) / n
    number = k * once * (once - 1) / (2 * (twice + 1))
    if not number > 0:
        return 0.0, 0
    variance = (
        number
        + (k * once * (2 * once - 1) / (2 * (twice + 1))) ** 2
        + k**2 * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    return number, math.floor(number / math.exp(z * math.sqrt(math.log1p(variance / number**2))))


def _birthday_lower_bound(draws, level):
    """Return the smallest S for which the probability that all draws differ is >= 1 - level."""
    missing = np.arange(1, draws)

    def is_likely(total):
        return np.sum(np.log1p(-missing / total)) >= math.log1p(-level)

    high = draws
    while not is_likely(high):
        high *= 2
    return bisect_left(range(high), True, lo=draws, key=is_likely)


def basin_shares(
    counts: Sequence | ArrayLike, runs: int | None = None, *, level: float = statistics.LEVEL
) -> BasinShares:
    """Return the share of each basin, with simultaneous confidence intervals.

        the interval contains every p with  P(K >= k) > alpha p / 2  and  P(K <= k) > alpha p / 2,
        K binomial (runs, p),   k = count of the basin,   alpha = 1 - level

    A basin of share p is tested at the level alpha p. Since the levels of all basins sum to at most
    alpha, the intervals contain the true shares of all basins with probability at least `level`,
    for any number of basins and including those in which no run ended.

    Args:
        counts: number of runs that ended at each minimum, >= 1.
        runs: number of all runs, including those that ended at no minimum; None means the sum of
            the counts.
        level: confidence level, in (0, 1).

    Examples:
        >>> shares = basin_shares([30, 10], 50)
        >>> shares.share.tolist(), shares.low.round(2).tolist(), shares.high.round(2).tolist()
        ([0.6, 0.2], [0.43, 0.07], [0.74, 0.37])
    """
    counts = _check_counts("basin_shares", counts, level)
    total = int(counts.sum())
    runs = total if runs is None else runs
    if runs < total:
        raise InputError(
            f"basin_shares: runs = {runs}, but the counts sum to {total}; expected runs >= {total}"
        )
    low, high = _simultaneous_intervals(np.append(counts, 0), runs, 1 - level)
    return BasinShares(
        share=counts / runs, low=low[:-1], high=high[:-1], unseen_high=float(high[-1])
    )


def _simultaneous_intervals(counts, runs, alpha):
    """Return the intervals of `basin_shares`, by bisection of log p."""
    upper = _bisect(
        lambda p: stats.binom.cdf(counts, runs, p) > alpha * p / 2, counts / runs, np.ones(1)
    )
    # P(K >= 1) / p decreases from `runs` to 1, so a count of 0 or 1 excludes no small share. Larger
    # counts have P(K >= k) / p <= runs^2 p / 2, which is below alpha / 2 for p < alpha / runs^2.
    lower = _bisect(
        lambda p: stats.binom.sf(counts - 1, runs, p) > alpha * p / 2,
        counts / runs,
        np.full(1, alpha / runs**2),
    )
    return np.where(counts < 2, 0.0, lower), np.where(counts == runs, 1.0, upper)


def _bisect(condition, inside, outside):
    """Return the boundary of a condition by bisection between two points."""
    smallest = np.finfo(float).tiny
    inside, outside = (np.log(np.maximum(p, smallest)) for p in (inside, outside))
    for _ in range(64):
        middle = (inside + outside) / 2
        is_inside = condition(np.exp(middle))
        inside = np.where(is_inside, middle, inside)
        outside = np.where(is_inside, outside, middle)
    return np.exp(inside)


def _check_counts(caller, counts, level):
    check_limits(f"{caller}: level", level, Share)
    remedy = ", one for each minimum"
    check_numbers(f"{caller}: counts", counts, Count, ndim=1, remedy=remedy)
    return np.asarray(counts, np.int64)
