"""Shares of the basins of minima, and estimates of the minima that no run ended in.

    mass of the unseen     about     f1 / n                                      (Good and Turing)
    number of the unseen   at least  (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))        (Chao), on average

Here n runs ended in some minimum, and f1 and f2 minima were found once and twice. If every minimum
was found many times, few are left; minima found once mean that the next run may well find another.
Five runs that found three minima, two of them once:

>>> unseen = estimate_unseen([3, 1, 1])
>>> unseen.mass, unseen.number, unseen.number_low
(0.4, 0.8, 0)

Both take the runs as independent draws from the same unknown shares, which random starts are and a
grid of starts is not. Nothing is assumed about the shares. That is why the number is bounded only
from below: basins too small to be hit leave no trace, and an upper bound that holds for equal
shares held for 0 to 90 % of the unequal ones that were tried.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from gdjax import statistics
from gdjax.errors import InputError

LEVEL = 0.95


class Unseen(NamedTuple):
    """Estimates about the minima that no run ended in.

    Args:
        draws: runs that ended in some minimum, n.
        seen: different minima among their end points.
        once: number of these that one run found, f1.
        twice: number of these that two runs found, f2.
        mass: estimated probability that the next run ends in a minimum not seen yet.
        mass_low: lower end of its confidence interval, whose coverage is approximate.
        mass_high: upper end of its confidence interval.
        number: estimated number of minima not seen, the smallest that explains f1 and f2; its
            expectation is about the truth where shares are equal and below it elsewhere. NaN where
            all end points differ: then it would be (n - 1)^2 / 2, whatever the truth.
        number_low: lower confidence bound of the number, a whole number.
        level: confidence of the interval of the mass, and of the bound on the number.
    """

    draws: int
    seen: int
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
        share: runs that ended there over all runs.
        low: lower ends of confidence intervals that hold for all basins at once.
        high: upper ends of these intervals.
        unseen_high: upper end for each basin that no run ended in; its lower end is 0.
    """

    share: Float[np.ndarray, " minima"]
    low: Float[np.ndarray, " minima"]
    high: Float[np.ndarray, " minima"]
    unseen_high: float


def estimate_unseen(counts: Sequence | ArrayLike, *, level: float = LEVEL) -> Unseen:
    """Estimate the probability and the number of the minima that no run ended in.

        mass = f1 / n,   |f1 - n mass|^2 <= z^2 (n mass (1 - mass) + 2 F2)
        number = (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))

    The mass is a nearly unbiased estimate whatever the shares are: its bias is below f1/n^2 or so.
    The interval holds all masses that satisfy the inequality on the right, in which Esty's variance
    is taken at the mass in question and F2 = f2 + 1 + z sqrt(f2 + 1) is an upper bound of the
    expectation of f2. The exact binomial interval for f1 of n is joined to it. The number is Chao's
    bias-corrected one with the lower end of its log-normal interval, rounded down. Where all ends
    differ, the bound is that of `birthday_lower_bound`.

    Args:
        counts: number of runs that ended in each minimum, >= 1.
        level: confidence.

    Raises:
        InputError: counts that are not whole numbers >= 1, or none at all.

    Examples:
        After a hundred runs that found ten minima ten times each, another one is unlikely:

        >>> unseen = estimate_unseen([10] * 10)
        >>> unseen.mass, round(unseen.mass_high, 3), unseen.number
        (0.0, 0.069, 0.0)

        After 63 runs that found 63 minima, there are 674 or more, and nothing else is known:

        >>> unseen = estimate_unseen([1] * 63)
        >>> unseen.number, unseen.number_low + unseen.seen
        (nan, 674)

    References:
        Good 1953, Biometrika 40, 237; Esty 1983, Annals of Statistics 11, 905; Chao 1987,
        Biometrics 43, 783; the bias-corrected variance as in Chao 2005, Encyclopedia of Statistical
        Sciences 12, 7907.
    """
    counts = _check_counts(counts)
    n, seen = int(counts.sum()), len(counts)
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    z = float(stats.norm.isf((1 - level) / 2))
    mass = once / n
    score_low, score_high = _missing_mass(n, once, twice, z)
    exact = statistics.share(once, n, level=level)
    if once == n:
        number, low = math.nan, birthday_lower_bound(n, level=level) - n
    else:
        number, low = _chao(n, once, twice, float(stats.norm.isf(1 - level)))
    return Unseen(
        draws=n,
        seen=seen,
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
    """Return Chao's bias-corrected estimate of the number of the unseen, and a lower bound."""
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


def birthday_lower_bound(draws: int, *, level: float = LEVEL) -> int:
    """Return the smallest number of minima if n runs ended in n different ones.

        the smallest S with  prod (1 - i / S) >= 1 - level,   i = 1, ..., n - 1

    With equal shares it is most likely that all differ, so the bound holds for any shares.

    Args:
        draws: n, at least 1.
        level: confidence.

    Examples:
        >>> birthday_lower_bound(63), birthday_lower_bound(23, level=0.5)
        (674, 373)

    References:
        Munford 1977, The American Statistician 31, 119, on birthdays that are not uniform.
    """
    missing = np.arange(1, draws)

    def is_likely(total):
        return np.sum(np.log1p(-missing / total)) >= math.log1p(-level)

    low, high = draws - 1, max(draws, 1)  # unlikely at `low`, possibly likely at `high`
    while not is_likely(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_likely(middle) else (middle, high)
    return high


def basin_shares(
    counts: Sequence | ArrayLike, runs: int | None = None, *, level: float = LEVEL
) -> BasinShares:
    """Return the share of each basin, with simultaneous confidence intervals.

        the interval holds every p with  P(K >= k) > alpha p / 2  and  P(K <= k) > alpha p / 2,
        K binomial (runs, p),   alpha = 1 - level

    A basin of share p is tested at the level alpha p. The levels of all basins sum to at most
    alpha, so with at least the probability `level` the intervals hold the true shares of all
    basins, those that no run ended in included, however many there are.

    Args:
        counts: number of runs that ended in each minimum, >= 1.
        runs: number of all runs, those that ended in no minimum included; None takes the sum of
            the counts.
        level: confidence.

    Raises:
        InputError: counts that are not whole numbers >= 1, or more of them than runs.

    Examples:
        >>> shares = basin_shares([30, 10], 50)
        >>> shares.share.tolist(), shares.low.round(2).tolist(), shares.high.round(2).tolist()
        ([0.6, 0.2], [0.43, 0.07], [0.74, 0.37])
    """
    counts = _check_counts(counts)
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
    # P(K >= 1) / p falls from `runs` to 1, so a count of 0 or 1 excludes no small share. A larger
    # count has P(K >= k) / p <= runs^2 p / 2, which is below alpha / 2 for p < alpha / runs^2.
    lower = _bisect(
        lambda p: stats.binom.sf(counts - 1, runs, p) > alpha * p / 2,
        counts / runs,
        np.full(1, alpha / runs**2),
    )
    return np.where(counts < 2, 0.0, lower), np.where(counts == runs, 1.0, upper)


def _bisect(condition, inside, outside):
    """Return the limit of where a condition is true, between a point inside and one outside."""
    smallest = np.finfo(float).tiny
    inside, outside = (np.log(np.maximum(p, smallest)) for p in (inside, outside))
    for _ in range(64):
        middle = (inside + outside) / 2
        is_inside = condition(np.exp(middle))
        inside = np.where(is_inside, middle, inside)
        outside = np.where(is_inside, outside, middle)
    return np.exp(inside)


def _check_counts(counts):
    array = np.asarray(counts)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 1:
        raise InputError(
            f"counts = {counts!r:.80}, expected whole numbers >= 1, one for each minimum"
        )
    return array.astype(np.int64)
