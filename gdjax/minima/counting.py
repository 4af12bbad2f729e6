"""How often each minimum was found, and how many were not found yet.

    mass of the unseen     about     f1 / n                                      (Good and Turing)
    number of the unseen   at least  (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))        (Chao), on average

of n runs that ended in some minimum, f1 and f2 being the numbers of minima found once and twice.
Minima that are found again and again leave little room for others; minima found once mean that the
next run may well find one more. Five runs that found three minima, two of them once:

>>> found = unseen([3, 1, 1])
>>> found.mass, found.number, found.number_low
(0.4, 0.8, 0)

Both take the runs as independent draws, each from the same unknown shares of basins: what random
starts give and a grid of starts does not. Nothing is assumed about the shares themselves. That is
why the number can only be bounded from below: basins too small to be met leave no trace, and an
upper bound that holds for equal shares held for 0 to 90 % of the unequal ones that were tried.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from gdjax.errors import InputError

LEVEL = 0.95


class Unseen(NamedTuple):
    """What a count of minima says about those that were not found.

    Args:
        draws: runs that ended in some minimum, n.
        seen: different minima among their ends.
        once: how many of these were found by one run only, f1.
        twice: by two, f2.
        mass: estimated probability that the next run ends in a minimum not seen yet.
        mass_low: lower end of its confidence interval.
        mass_high: upper end.
        number: estimate of how many were not seen, the least that explains f1 and f2; its
            expectation is about the truth where shares are equal and below it elsewhere. NaN where
            every end was another minimum: then it would be (n - 1)^2 / 2, whatever the truth.
        number_low: with confidence `level` there are at least so many, a whole number.
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


class Shares(NamedTuple):
    """How much of all starts each basin takes.

    Args:
        share: runs that ended there over all runs.
        low: lower ends of confidence intervals that hold for all basins at once.
        high: upper ends.
    """

    share: Float[np.ndarray, " minima"]
    low: Float[np.ndarray, " minima"]
    high: Float[np.ndarray, " minima"]


def unseen(counts: Sequence | ArrayLike, *, level: float = LEVEL) -> Unseen:
    """How much probability, and how many minima, no run has ended in.

        mass = f1 / n,   variance (f1 (1 - f1/n) + 2 f2) / n^2
        number = (n - 1)/n f1 (f1 - 1) / (2 (f2 + 1))

    The mass is a nearly unbiased estimate whatever the shares are: its bias is below f1/n^2 or so.
    Its interval joins Esty's with the exact binomial one for f1 of n, which still says something
    where nothing was found once. The number is Chao's bias-corrected one with the lower end of its
    log-normal interval, rounded down; where all ends differ, the bound is that of `different`.

    Args:
        counts: runs that ended in each minimum, one number a minimum, >= 1.
        level: confidence.

    Raises:
        InputError: counts that are not whole numbers >= 1, or none at all.

    Examples:
        A hundred runs, ten minima, each found ten times: hardly another one is likely.

        >>> found = unseen([10] * 10)
        >>> found.mass, round(found.mass_high, 3), found.number
        (0.0, 0.036, 0.0)

        63 runs, 63 minima: there are 674 or more, and nothing else is known of their number.

        >>> found = unseen([1] * 63)
        >>> found.number, found.number_low + found.seen
        (nan, 674)

    Source: Good 1953, Biometrika 40, 237; Esty 1983, Annals of Statistics 11, 905; Chao 1987,
    Biometrics 43, 783; the bias-corrected variance as in Chao 2005, Encyclopedia of Statistical
    Sciences 12, 7907.
    """
    counts = _whole(counts)
    n, seen = int(counts.sum()), len(counts)
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    z = float(stats.norm.isf((1 - level) / 2))
    mass = once / n
    spread = z * math.sqrt(once * (1 - mass) + 2 * twice) / n
    lowest, highest = _clopper_pearson(once, n, (1 - level) / 2)
    if once == n:
        number, low = math.nan, different(n, level=level) - n
    else:
        number, low = _chao(n, once, twice, float(stats.norm.isf(1 - level)))
    return Unseen(
        draws=n,
        seen=seen,
        once=once,
        twice=twice,
        mass=mass,
        mass_low=max(0.0, min(mass - spread, float(lowest))),
        mass_high=min(1.0, max(mass + spread, float(highest))),
        number=number,
        number_low=low,
        level=level,
    )


def _chao(n, once, twice, z):
    """Chao's bias-corrected estimate of the number of the unseen, and a lower bound of it."""
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


def different(draws: int, *, level: float = LEVEL) -> int:
    """How many minima there are at least if n runs ended in n different ones.

        the smallest S with  prod (1 - i / S) >= 1 - level,   i = 1, ..., n - 1

    Equal shares make it likeliest that all differ, so that this holds for any shares.

    Args:
        draws: n, at least 1.
        level: confidence.

    Examples:
        >>> different(63), different(23, level=0.5)
        (674, 373)

    Source: Munford 1977, The American Statistician 31, 119, on birthdays that are not uniform.
    """
    missing = np.arange(1, draws)

    def likely(total):
        return np.sum(np.log1p(-missing / total)) >= math.log1p(-level)

    low, high = draws - 1, max(draws, 1)  # at `low` it is not likely, at `high` it may be
    while not likely(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if likely(middle) else (middle, high)
    return high


def shares(
    counts: Sequence | ArrayLike, runs: int | None = None, *, level: float = LEVEL
) -> Shares:
    """Share of each basin among all starts, with exact intervals that hold for all at once.

    Clopper and Pearson's binomial interval of each basin, at the level 1 - (1 - level)/k for k
    basins (Bonferroni): with at least the probability `level`, all of them hold their true share.

    Args:
        counts: runs that ended in each minimum, >= 1.
        runs: of how many; those that ended in no minimum count too. None: the sum of the counts.
        level: confidence.

    Raises:
        InputError: counts that are not whole numbers >= 1, or more of them than runs.

    Examples:
        >>> found = shares([30, 10], 50)
        >>> found.share.tolist(), found.low.round(2).tolist(), found.high.round(2).tolist()
        ([0.6, 0.2], [0.43, 0.09], [0.75, 0.36])

    Source: Clopper and Pearson 1934, Biometrika 26, 404.
    """
    counts = _whole(counts)
    total = int(counts.sum())
    runs = total if runs is None else runs
    if runs < total:
        raise InputError(f"shares: runs = {runs}, but the counts sum up to {total}; expected more")
    low, high = _clopper_pearson(counts, runs, (1 - level) / (2 * len(counts)))
    return Shares(share=counts / runs, low=low, high=high)


def _clopper_pearson(counts, runs, tail):
    """Exact ends of binomial intervals: beta quantiles, which a root finder need not search."""
    counts = np.asarray(counts)
    tiny = 1e-300  # beta distributions have no parameter 0; there the end is 0 or 1 itself
    low = stats.beta.ppf(tail, np.maximum(counts, tiny), runs - counts + 1)
    high = stats.beta.isf(tail, counts + 1, np.maximum(runs - counts, tiny))
    return np.where(counts == 0, 0.0, low), np.where(counts == runs, 1.0, high)


def _whole(counts):
    array = np.asarray(counts)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu" or array.min() < 1:
        raise InputError(
            f"counts = {counts!r:.80}, expected whole numbers >= 1, one a minimum that was found"
        )
    return array.astype(np.int64)
