"""Statistics over seeds with confidence intervals: shares, medians, differences.

    low <= value <= high

In a median, a diverged run counts as +inf. The median of eight values is the mean of the fourth and
the fifth, or +inf if the fifth diverged. Runs from the same starting points are compared by their
differences: `paired` by their mean, and `hodges_lehmann` by ranks, which divergence cannot bias.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from gdjax.base.arguments import check_limits, check_numbers, check_whole
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Probability, Real, Share
from gdjax.base.signed_ranks import (
    least_pairs,
    lower_end,
    middle_mean,
    num_rejected_means,
)

LEVEL = 0.95
MAX_SEEDS = 10**9


class Interval(NamedTuple):
    """An estimate over runs with a confidence interval.

    Args:
        value: estimate.
        low: lower end of the interval; -inf for the median of too few runs.
        high: upper end of the interval; +inf for a median if too few runs have finite values.
        level: nominal coverage of the interval. The coverage of intervals for medians and shares is
            at least `level`. Student's intervals for means and differences have this coverage for
            normally distributed values, and a lower coverage for small samples of skewed values.
        runs: number of runs.
        of: note on the value, such as "mean of the two middle values"; empty if there is none.
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
    """Return the median over runs, some of which may be +inf, with its interval.

        P(x_(k) <= median <= x_(n + 1 - k)) >= 1 - 2 P(B < k),   B binomial (n, 1/2)

    The median is the middle value, or the mean of the two middle values. It is +inf if the upper of
    the two is +inf, and `of` then gives the lower one. NaN means "not recorded" and is omitted.
    The ends of the interval are observed values. For fewer than six runs no interval of 95 %
    exists, and the ends are infinite.

    Args:
        values: one value per run.
        level: nominal coverage of the interval.

    Examples:
        Three of eight runs diverged, then four:

        >>> print(median([0.3, np.inf, 0.1, 0.2, np.inf, 0.5, 0.4, np.inf]))
        0.45 (0.1 to inf)
        >>> median([1.0, 2.0, 3.0, 4.0, np.inf, np.inf, np.inf, np.inf]).of
        'lower of two middle values 4'

    Source: David and Nagaraja 2003, *Order Statistics*, 7.1.
    """
    check_limits("level", level, Share)
    numbers = _numbers("median", values)
    n = len(numbers)
    lower, upper = numbers[(n - 1) // 2], numbers[n // 2]
    of = "middle value" if n % 2 else "mean of the two middle values"
    if math.isfinite(upper):
        value = (lower + upper) / 2
    else:
        value = math.inf
        of = f"lower of two middle values {lower:g}" if math.isfinite(lower) else "diverged"
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # largest k with P(B < k) <= (1 - level) / 2
    low, high = (numbers[k - 1], numbers[n - k]) if k >= 1 else (-math.inf, math.inf)
    return Interval(float(value), float(low), float(high), level, n, of)


def share(successes: int, runs: int, *, level: float = LEVEL) -> Interval:
    """Return a share of runs with the exact interval of Clopper and Pearson.

        P(K >= successes | low) = P(K <= successes | high) = (1 - level) / 2,   K binomial

    Without successes, low is 0; if all runs are successes, high is 1. The interval contains the
    true share with probability at least `level`, for every true share.

    Args:
        successes: number of runs that count as successes.
        runs: number of all runs, at least 1.
        level: nominal coverage of the interval.

    Examples:
        >>> print(share(5, 8))
        0.625 (0.2449 to 0.9148)

    References: Clopper and Pearson 1934, Biometrika 26, 404.
    """
    check_limits("level", level, Share)
    check_limits("share: runs", runs, Count)
    check_whole("share: successes", successes, 0, runs, remedy=", the number of runs")
    k, n, tail = int(successes), int(runs), (1 - level) / 2
    # Quantiles of the beta distribution need no root finder, which makes tests of coverage fast.
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return Interval(k / n, low, high, level, n)


def paired(
    first: Sequence | ArrayLike, second: Sequence | ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Return the mean of second - first over paired runs with Student's interval.

        mean d +- t_{n-1} sd(d) / sqrt(n),   d_i = second_i - first_i

    Paired runs start from the same points. Pairs with a value that is not finite are omitted, and
    `of` gives the number of omitted pairs. If runs diverged, the omission favors the setting that
    diverges more often: use `hodges_lehmann`, in which divergence counts as worst.

    Args:
        first: one value per run.
        second: one value per run, in the order of `first`.
        level: nominal coverage of the interval.

    Examples:
        >>> print(paired([1.0, 2.0, 4.0], [2.0, 3.5, 5.5]))
        1.333 (0.6162 to 2.05)
    """
    check_limits("level", level, Share)
    a, b = _floats("paired: first", first).ravel(), _floats("paired: second", second).ravel()
    if a.shape != b.shape:
        raise InputError(f"paired: {len(a)} and {len(b)} runs, expected equal numbers")
    finite = np.isfinite(a) & np.isfinite(b)
    difference = (b - a)[finite]
    n = len(difference)
    if n < 2:
        raise InputError(f"paired: {n} pairs are finite, expected at least 2")
    spread = float(np.std(difference, ddof=1)) / math.sqrt(n)
    reach = float(stats.t.isf((1 - level) / 2, n - 1)) * spread
    mean = float(np.mean(difference))
    left_out = int(np.sum(~finite))
    of = f"{left_out} pairs are not finite and omitted" if left_out else ""
    return Interval(mean, mean - reach, mean + reach, level, n, of)


def seeds_needed(
    difference: float, standard_deviation: float, *, power: float = 0.8, level: float = LEVEL
) -> int:
    """Return the number of paired runs that detect a difference with a given power.

        P(|T| > t) >= power,   T noncentral t (n - 1, sqrt(n) difference / standard_deviation)

    A difference is detected if the interval of `paired` excludes 0, that is, if |T| exceeds the
    (1 + level) / 2 quantile t of Student's distribution with n - 1 degrees of freedom. For many
    runs, n is about (z_{(1 - level) / 2} + z_{1 - power})^2 (standard_deviation / difference)^2,
    where z_p is the 1 - p quantile of the normal distribution. For the default power and level, the
    first factor is 7.8.

    Args:
        difference: true mean of second - first, not 0.
        standard_deviation: standard deviation of second - first over seeds, from a few runs. For
            runs that are not paired, it is sqrt(2) times that of one run.
        power: probability with which the difference is detected.
        level: level of the interval of `paired`.

    Returns:
        Number of seeds, at least 2.

    Examples:
        >>> seeds_needed(1.0, 1.0), seeds_needed(0.1, 1.0)
        (10, 787)

    References: Cohen 1988, *Statistical power analysis for the behavioral sciences*, 2.3.
    """
    check_limits("standard_deviation", standard_deviation, Positive)
    check_limits("power", power, Share)
    check_limits("level", level, Share)
    check_limits("difference", difference, Real)
    ratio = abs(difference) / standard_deviation
    quantiles = stats.norm.isf((1 - level) / 2) + stats.norm.isf(1 - power)
    if not ratio > 0 or quantiles > ratio * math.sqrt(MAX_SEEDS):
        raise InputError(
            f"difference = {difference!r:.80}, expected a number other than 0, large enough to be "
            f"seen with {MAX_SEEDS:,} seeds; take a larger difference or a lower power"
        )

    def power_of(n):
        t, center = stats.t.isf((1 - level) / 2, n - 1), math.sqrt(n) * ratio
        return stats.nct.sf(t, n - 1, center) + stats.nct.cdf(-t, n - 1, center)

    n = max(2, math.floor((quantiles / ratio) ** 2))  # a lower bound, since t has heavier tails
    while power_of(n) < power:
        n += 1
    return n


def hodges_lehmann(differences: Sequence | ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return the median of the means of all pairs of differences, with its interval.

        median over i <= j of (d_i + d_j) / 2,   interval between two of these n (n + 1) / 2 means

    The interval contains the differences that Wilcoxon's signed-rank test does not reject. Its
    coverage is at least `level` for every distribution of differences that is symmetric about the
    estimated number, however heavy its tails. Differences of paired runs are symmetric if the two
    settings are equally good. Ties make the interval longer, never too short. It is infinite for
    fewer than six differences at a level of 95 %.

    Args:
        differences: one per pair of runs: +inf if only the second run of a pair diverged, -inf if
            only the first did, and 0 if both did. NaN is refused.
        level: nominal coverage of the interval.

    Examples:
        One of seven pairs diverged:

        >>> print(hodges_lehmann([0.4, 0.9, 0.3, 0.6, 0.2, np.inf, 0.5]))
        0.55 (0.2 to inf)

    References: Hodges and Lehmann 1963, Annals of Mathematical Statistics 34, 598; Hollander and
    Wolfe 1999, *Nonparametric Statistical Methods*, 3.1 to 3.3.
    """
    check_limits("level", level, Share)
    d = _differences("hodges_lehmann", differences)
    k = num_rejected_means(len(d), (1 - level) / 2)
    ends = lower_end(d, k), -lower_end(-d, k)
    return Interval(middle_mean(d), *ends, level, len(d), "median of means of pairs")


def holm(p_values: Sequence | ArrayLike) -> Float[np.ndarray, "*rest"]:
    """Return p-values adjusted for their number by the method of Holm.

        adjusted p_(k) = max over j <= k of min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)

    If the hypotheses with an adjusted p-value of at most 5 % are rejected, the probability that any
    of them is true (family-wise error) is at most 5 %, however the tests depend on each other.

    Examples:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]

    References: Holm 1979, Scandinavian Journal of Statistics 6, 65.
    """
    p = _floats("holm: p_values", p_values, Probability)
    order = np.argsort(p, axis=None, kind="stable")
    adjusted = np.empty(p.size)
    factors = np.arange(p.size, 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p.ravel()[order]))
    return adjusted.reshape(p.shape)


def seeds_needed_by_ranks(share: float, *, power: float = 0.8, level: float = LEVEL) -> int:
    """Return the number of paired runs with which `hodges_lehmann` detects a difference.

        n = (z_{(1 - level) / 2} + z_{1 - power})^2 / (3 (share - 1/2)^2)

    This is an approximation for many runs; `seeds_needed` is exact for normal differences.

    Args:
        share: probability that the sum of two independent differences is positive, not 1/2: for
            normal differences, the normal distribution function at sqrt(2) mean / deviation.
        power: probability with which the difference is detected.
        level: level of the interval.

    Returns:
        Number of seeds, at least the smallest number with a finite interval.

    Examples:
        >>> seeds_needed_by_ranks(0.9), seeds_needed_by_ranks(0.6)
        (17, 262)

    References: Noether 1987, Journal of the American Statistical Association 82, 645.
    """
    check_limits("share", share, Probability)
    check_limits("power", power, Share)
    check_limits("level", level, Share)
    tail = (1 - level) / 2
    quantiles = stats.norm.isf(tail) + stats.norm.isf(1 - power)
    n = quantiles**2 / (3 * (share - 0.5) ** 2) if share != 0.5 else math.inf
    if n > MAX_SEEDS:
        raise InputError(f"share = {share!r:.80}, expected a number that differs more from 1/2")
    return max(math.ceil(n), least_pairs(tail))


def _differences(name, values):
    d = _floats(f"{name}: differences", values).ravel()
    if not len(d) or np.isnan(d).any():
        raise InputError(
            f"{name}: differences = {values!r:.80}, expected numbers, none of them NaN"
        )
    return d


def mean(values: Sequence | ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return the mean with Student's interval; NaN values are omitted.

    Examples:
        >>> print(mean([1.0, 2.0, 3.0]))
        2 (-0.4841 to 4.484)
    """
    numbers = _numbers("mean", values)
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        raise InputError(
            f"mean: {len(numbers)} values, {int(np.sum(np.isinf(numbers)))} of them infinite; "
            f"expected at least 2, all finite: use the median, or leave out diverged runs"
        )
    return paired(np.zeros_like(numbers), numbers, level=level)


def medians(
    values: Float[np.ndarray, "*rest runs"], *, level: float = LEVEL
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Return values, lower ends and upper ends of `median` along the last axis.

    They are NaN if all values along that axis are NaN.

    Examples:
        >>> value, low, high = medians(np.arange(16.0).reshape(2, 8))
        >>> value.tolist(), low.tolist()
        ([3.5, 11.5], [0.0, 8.0])
    """

    def ends(row):
        return (np.nan,) * 3 if np.isnan(row).all() else median(row, level=level)[:3]

    intervals = np.apply_along_axis(ends, -1, _floats("medians: values", values))
    return intervals[..., 0], intervals[..., 1], intervals[..., 2]


def _floats(name, values, kind=None):
    check_numbers(name, values, kind)
    return np.atleast_1d(np.asarray(values, float))


def _numbers(name, values):
    numbers = np.sort(_floats(f"{name}: values", values).ravel())
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers) or numbers[0] == -np.inf:
        raise InputError(f"{name}: values = {values!r:.80}, expected a number, and none is -inf")
    return numbers
