"""Values of tuned settings at seeds on which they were not tuned, their tests and intervals.

    y_s,i = x_s,i at the tuned value that is best for setting s on the half without seed i
    P(s better than t) from  W = min over tuned values of t of #{i <= j: d_i + d_j > 0},
    d_i = x_t,i - y_s,i

Setting s is better than t only if it is better than t at *every* tuned value of t. With the tuned
value alone that was chosen for t, the choice itself, which varies between halves, would make equal
settings differ too often. Smaller values are better, and +inf is that of a diverged run.

>>> x = np.random.default_rng(0).normal([[[0.0], [3.0]], [[4.0], [9.0]]], size=(2, 2, 8))
>>> y, chosen = exchanged_values(x)
>>> chosen.tolist(), adjusted_p_values(x, y).round(3).tolist()
([[0, 0], [0, 0]], [[1.0, 0.008], [1.0, 1.0]])
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gdjax.base.signed_ranks import (
    lower_end,
    middle_mean,
    num_positive_means,
    num_rejected_means,
    signed_rank_tail,
)
from gdjax.base.statistics import holm

Values = Sequence[Float[np.ndarray, "tuned seeds"]] | Float[np.ndarray, "settings tuned seeds"]


def exchanged_values(
    x: Values,
) -> tuple[Float[np.ndarray, "settings seeds"], Int[np.ndarray, "settings 2"]]:
    """Return values at seeds of each half at the choice on the other half, and the choices.

    The first half has every second seed. The choice has the lowest median, of equal ones the fewest
    diverged runs.
    """
    first = np.arange(x[0].shape[1]) % 2 == 0
    chosen = np.array([[_best(values[:, half]) for half in (first, ~first)] for values in x])
    pairs = zip(x, chosen, strict=True)
    return np.array([np.where(first, values[b], values[a]) for values, (a, b) in pairs]), chosen


def _best(values):
    return int(np.lexsort([np.isinf(values).sum(axis=1), np.median(values, axis=1)])[0])


def worse_by(
    x: Float[np.ndarray, "*#rest seeds"], y: Float[np.ndarray, "*#rest seeds"]
) -> Float[np.ndarray, "*rest seeds"]:
    """Return x - y, which is 0 where both diverged."""
    with np.errstate(invalid="ignore"):
        return np.where(x == y, 0.0, x - y)


def adjusted_p_values(
    x: Values, y: Float[np.ndarray, "settings seeds"]
) -> Float[np.ndarray, "settings settings"]:
    """Return Holm's p-values that the setting of a row is better than that of a column."""
    columns = [num_positive_means(worse_by(x_t, y[:, None])).min(axis=1) for x_t in x]
    p_values = signed_rank_tail(np.stack(columns, axis=1), y.shape[1])
    different = ~np.eye(len(y), dtype=bool)
    p_values[different] = holm(p_values[different])
    p_values[~different] = 1
    return p_values


def interval(
    x: Values, y: Float[np.ndarray, "settings seeds"], i: int, j: int, level: float
) -> tuple[float, float, float]:
    """Return the estimate and interval of the amount by which setting j is worse than i.

    An end is the least favorable one over the tuned values of the setting that it concerns, as in
    the test. The estimate compares the chosen values, and extends the interval if it is outside.
    """
    k = num_rejected_means(y.shape[1], (1 - level) / 2)
    estimate = middle_mean(worse_by(y[j], y[i]))
    low, high = _least_end(x[j], y[i], k), -_least_end(x[i], y[j], k)
    return estimate, min(low, estimate), max(high, estimate)


def _least_end(x, y, k):
    """Return the least lower end of x - y over the rows of x."""
    rows = worse_by(x, y)
    middle = np.sort(rows, axis=1)[:, y.size // 2]
    least = lower_end(rows[np.argmin(middle)], k)
    if least == -math.inf:
        return least
    # Counting means is faster than finding the k-th one, which few rows need.
    with np.errstate(invalid="ignore"):
        below = y.size * (y.size + 1) // 2 - num_positive_means(rows - least)
    return min([least, *(lower_end(row, k) for row in rows[below >= k])])
