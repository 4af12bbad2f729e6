"""Numbers over seeds, each with an interval: shares, medians, differences.

    a number over few runs is worth its interval;   a run that diverged counts as +inf

A median over eight seeds is the mean of the fourth and the fifth value, unless the fifth diverged.
The simplest instance: three of eight runs diverged.

>>> found = median([0.3, np.inf, 0.1, 0.2, np.inf, 0.5, 0.4, np.inf])
>>> found.value, found.low, found.high
(0.45, 0.1, inf)
>>> round(share(5, 8).low, 2), round(share(5, 8).high, 2)
(0.24, 0.91)

Runs from the same starting points are compared by their differences: `paired`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from gdjax.errors import InputError

LEVEL = 0.95


class Interval(NamedTuple):
    """A number over runs and between what it may lie.

    Args:
        value: the estimate.
        low: lower end.
        high: upper end; +inf where too many runs diverged to say.
        level: nominal probability with which such an interval holds the truth. Intervals of
            medians and of shares hold it at least as often. Student's intervals, those of means and
            of differences, hold it as often if the values are normal, and less often if few values
            are skewed.
        runs: over how many.
        of: what the value is, where that is not plain: "mean of the two middle values", say.
    """

    value: float
    low: float
    high: float
    level: float
    runs: int
    of: str = ""

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def median(values: Sequence | ArrayLike, *, level: float = LEVEL) -> Interval:
    """The median over runs of which some may be +inf, with an interval for that of all runs.

        P(x_(k) <= median <= x_(n + 1 - k)) >= 1 - 2 P(B < k),   B binomial (n, 1/2)

    The usual median where that is finite: the middle value, or the mean of the two middle ones.
    +inf where the upper of them is, with what is known of the lower said in `of`. NaN means "not
    recorded" and is left out. The interval's ends are values that were seen; below six runs no
    interval of 95 % exists and the ends are infinite.

    Args:
        values: one a run.
        level: of the interval.

    Raises:
        InputError: no value at all, or -inf.

    Examples:
        >>> found = median([1.0, 2.0, 3.0, 4.0, np.inf, np.inf, np.inf, np.inf])
        >>> found.value, found.of
        (inf, 'lower of two middle values 4')

    Source: David and Nagaraja 2003, *Order Statistics*, 7.1.
    """
    numbers = _numbers("median", values)
    n = len(numbers)
    lower, upper = numbers[(n - 1) // 2], numbers[n // 2]
    of = "middle value" if n % 2 else "mean of the two middle values"
    if math.isfinite(upper):
        value = (lower + upper) / 2
    else:
        value = math.inf
        of = f"lower of two middle values {lower:g}" if math.isfinite(lower) else "diverged"
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # the largest k with P(B < k) <= that
    low, high = (numbers[k - 1], numbers[n - k]) if k >= 1 else (-math.inf, math.inf)
    return Interval(float(value), float(low), float(high), level, n, of)


def share(successes: int, runs: int, *, level: float = LEVEL) -> Interval:
    """A share of runs, with Clopper and Pearson's exact interval.

        P(K >= successes | low) = P(K <= successes | high) = (1 - level) / 2,   K binomial

    It holds the true share with at least the probability `level`, whatever the share is.

    Args:
        successes: number of runs that are counted.
        runs: number of all runs, at least 1.
        level: of the interval.

    Raises:
        InputError: no runs, or more successes than runs.

    References: Clopper and Pearson 1934, Biometrika 26, 404.
    """
    if not 0 <= successes <= runs or runs < 1:
        raise InputError(f"share: {successes} of {runs} runs, expected 0 to all of at least one")
    k, n, tail = int(successes), int(runs), (1 - level) / 2
    # Beta quantiles, which need no root finder: thousands of intervals are checked for coverage.
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return Interval(k / n, low, high, level, n)


def paired(
    first: Sequence | ArrayLike, second: Sequence | ArrayLike, *, level: float = LEVEL
) -> Interval:
    """The mean of second - first over runs from the same starts, with Student's interval.

        mean d +- t_{n-1} sd(d) / sqrt(n),   d_i = second_i - first_i

    Runs in which either is not finite are left out, and `of` says how many.

    Args:
        first: one a run.
        second: likewise, in the same order.
        level: of the interval.

    Raises:
        InputError: other numbers of runs, or fewer than two pairs that are finite.
    """
    a, b = np.asarray(first, float).ravel(), np.asarray(second, float).ravel()
    if a.shape != b.shape:
        raise InputError(f"paired: {len(a)} and {len(b)} runs, expected as many")
    finite = np.isfinite(a) & np.isfinite(b)
    difference = (b - a)[finite]
    n = len(difference)
    if n < 2:
        raise InputError(f"paired: {n} pairs are finite, expected at least 2")
    spread = float(np.std(difference, ddof=1)) / math.sqrt(n)
    reach = float(stats.t.isf((1 - level) / 2, n - 1)) * spread
    mean = float(np.mean(difference))
    left_out = int(np.sum(~finite))
    of = f"{left_out} pairs are not finite and left out" if left_out else ""
    return Interval(mean, mean - reach, mean + reach, level, n, of)


def mean(values: Sequence | ArrayLike, *, level: float = LEVEL) -> Interval:
    """The mean over runs that are all finite, with Student's interval.

    Raises:
        InputError: fewer than two values, or one that is +inf: take the median.
    """
    numbers = _numbers("mean", values)
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        raise InputError(
            f"mean: {len(numbers)} values, {int(np.sum(np.isinf(numbers)))} of them infinite; "
            f"expected at least 2, all finite: take the median, or leave out what diverged"
        )
    return paired(np.zeros_like(numbers), numbers, level=level)


def medians(
    values: Float[np.ndarray, "*rest runs"], *, level: float = LEVEL
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """`median` along the last axis: values, lower ends, upper ends; NaN where nothing is known."""
    array = np.asarray(values, float)
    rows = array.reshape(-1, array.shape[-1])
    found = [
        median(row, level=level)[:3] if np.any(~np.isnan(row)) else (np.nan,) * 3 for row in rows
    ]
    value, low, high = (np.reshape(column, array.shape[:-1]) for column in zip(*found, strict=True))
    return value, low, high


def _numbers(what, values):
    numbers = np.sort(np.asarray(values, float).ravel())
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers) or numbers[0] == -np.inf:
        raise InputError(f"{what}: {values!r:.80}, expected at least one number, none of them -inf")
    return numbers
