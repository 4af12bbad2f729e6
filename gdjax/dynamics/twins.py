"""Runs that end elsewhere than their twins: uncertainty exponents, and decided steps.

    P(a twin at distance eps ends elsewhere) = c eps^alpha     for small eps

A twin starts, or continues, at a distance eps from its base point (`gd.branch` with the axes
`perturbation` and `perturbation_seed`). The uncertainty exponent alpha is 1 where a smooth boundary
separates the basins. The smaller it is, the less a more exact start helps to predict the end.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float
from scipy import optimize, stats

from gdjax.base.arguments import check_limits, check_numbers
from gdjax.base.errors import InputError
from gdjax.base.limits import Positive, Share
from gdjax.base.statistics import LEVEL, Interval

MIN_EVENTS = 5  # twins that end elsewhere, for a distance to be used
MAX_SHARE = 0.25  # largest share of twins that end elsewhere, of a distance that is used


class Uncertainty(NamedTuple):
    """Uncertainty exponent of basins.

    Args:
        exponent: exponent alpha, with its interval.
        log_factor: logarithm of the factor c.
        distances: distances eps of the fit, ascending.
        shares: share of twins that ended elsewhere, for each of them.
    """

    exponent: Interval
    log_factor: float
    distances: Float[np.ndarray, " distances"]
    shares: Float[np.ndarray, " distances"]


def uncertainty_exponent(
    ends_elsewhere: Bool[np.ndarray, "bases distances twins"],
    distances: Sequence | ArrayLike,
    *,
    level: float = LEVEL,
) -> Uncertainty:
    """Return the exponent of the probability that a twin ends elsewhere, with its interval.

        maximize   sum_i k_i log p_i + (n_i - k_i) log(1 - p_i),   p_i = c eps_i^alpha

    k_i of n_i twins at the distance eps_i ended elsewhere. Only distances are used for which at
    least 5 twins and at most a quarter of them did. Twins of one base point are not independent, so
    that the interval comes from the scatter between base points (the sandwich estimate with a
    quantile of Student's t).

    For riddled basins, whose exponents are close to 0, a power law that is fitted over the
    distances that floating-point numbers can represent is biased.

    Args:
        ends_elsewhere: whether each twin ended elsewhere than its base point, modulo symmetry.
        distances: distance of the twins for each entry of the second axis, > 0.
        level: nominal coverage of the interval.

    Returns:
        The exponent and the distances that it comes from.

    Examples:
        If a displacement that is ten times smaller halves the probability, alpha is log10(2):

        >>> ends_elsewhere = np.zeros((2, 3, 400), bool)  # bases, distances, twins
        >>> for k in range(3):
        ...     ends_elsewhere[:, k, : 80 // 2**k] = True
        >>> result = uncertainty_exponent(ends_elsewhere, [1e-1, 1e-2, 1e-3])
        >>> round(result.exponent.value, 4)
        0.301

    References: McDonald, Grebogi, Ott and Yorke 1985, Physica D 17, 125; Liang and Zeger 1986,
    Biometrika 73, 13 (clusters).
    """
    check_numbers("uncertainty_exponent: distances", distances, Positive)
    ends_elsewhere, distances = np.asarray(ends_elsewhere, bool), np.asarray(distances, float)
    if ends_elsewhere.ndim != 3 or distances.shape != ends_elsewhere.shape[1:2]:
        raise InputError(
            f"uncertainty_exponent: ends_elsewhere has shape {ends_elsewhere.shape} for "
            f"{distances.size} distances, expected [bases, distances, twins]"
        )
    check_limits("uncertainty_exponent: level", level, Share)
    events = ends_elsewhere.sum(axis=(0, 2))
    twins = ends_elsewhere.shape[0] * ends_elsewhere.shape[2]
    used = np.flatnonzero((events >= MIN_EVENTS) & (events <= MAX_SHARE * twins))
    used = used[np.argsort(distances[used])]
    bases = ends_elsewhere.shape[0]
    if len(used) < 2 or bases < 2:
        raise InputError(
            f"uncertainty_exponent: {len(used)} of {distances.size} distances can be used (at "
            f"least {MIN_EVENTS} twins, and at most a quarter, end elsewhere), with {bases} base "
            f"points; expected at least 2 of both; the numbers that end elsewhere are "
            f"{events.tolist()} of {twins}"
        )
    x = np.stack([np.ones(len(used)), np.log(distances[used])], axis=1)
    k = events[used]

    def negative(coefficients):
        log_p = x @ coefficients
        if (log_p >= 0).any():
            return math.inf
        return -np.sum(k * log_p + (twins - k) * np.log1p(-np.exp(log_p)))

    line = np.polyfit(x[:, 1], np.log(k / twins), 1)[::-1]
    start = line - [max(0.0, (x @ line).max() + 1e-3), 0.0]
    options = {"xatol": 1e-10, "fatol": 1e-10, "maxiter": 10_000}
    fit = optimize.minimize(negative, start, method="Nelder-Mead", options=options).x
    p = np.exp(x @ fit)
    residuals = ends_elsewhere[:, used].sum(axis=2) - ends_elsewhere.shape[2] * p
    scores = (residuals / (1 - p)) @ x
    inverse = np.linalg.inv((x.T * (twins * p / (1 - p))) @ x)
    variance = inverse @ (scores.T @ scores * bases / (bases - 1)) @ inverse
    reach = stats.t.isf((1 - level) / 2, bases - 1) * math.sqrt(variance[1, 1])
    alpha = float(fit[1])
    interval = Interval(alpha, alpha - reach, alpha + reach, level, bases)
    return Uncertainty(interval, float(fit[0]), distances[used], k / twins)


def decided_step(
    ends_elsewhere: Sequence | Bool[np.ndarray, "steps twins"],
    steps: Sequence | ArrayLike,
    *,
    share: float = 0.05,
    level: float = LEVEL,
) -> int | None:
    """Return the first step at and after which no twin of a run ends elsewhere, or None.

        (1 - share)^twins <= 1 - level

    If no twin of at least log(1 - level) / log(1 - share) ends elsewhere, 59 by default, the share
    that does is below `share` with the given confidence (one-sided).

    Args:
        ends_elsewhere: whether each twin that leaves a run at a step ended elsewhere than the run.
        steps: number of each step, ascending.
        share: share of twins that may end elsewhere.
        level: confidence, one-sided.

    Examples:
        >>> decided_step([[True] * 60, [False] * 60, [False] * 60], [0, 100, 200])
        100
    """
    ends_elsewhere, steps = np.asarray(ends_elsewhere, bool), np.asarray(steps)
    for name, value in (("share", share), ("level", level)):
        check_limits(f"decided_step: {name}", value, Share)
    min_twins = math.ceil(math.log1p(-level) / math.log1p(-share))
    if (
        ends_elsewhere.ndim != 2
        or steps.shape != ends_elsewhere.shape[:1]
        or ends_elsewhere.shape[1] < min_twins
    ):
        raise InputError(
            f"decided_step: ends_elsewhere has shape {ends_elsewhere.shape} for {steps.size} "
            f"steps, expected [steps, twins] with at least {min_twins} twins for a share of "
            f"{share:g} at {level:g}"
        )
    if (np.diff(steps) <= 0).any():
        raise InputError(f"decided_step: steps = {steps}, expected ascending numbers")
    undecided = np.flatnonzero(ends_elsewhere.any(axis=1))
    first = undecided[-1] + 1 if len(undecided) else 0
    return int(steps[first]) if first < len(steps) else None
