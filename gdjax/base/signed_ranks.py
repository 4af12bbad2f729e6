"""Distribution of Wilcoxon's signed-rank statistic, and means of pairs of differences.

    W = number of pairs i <= j with d_i + d_j > 0

If the differences are symmetric about 0 and none are tied, W is distributed as the sum of k B_k for
k = 1, ..., n, where B_k is 0 or 1 with probability 1/2. Ties can only make W smaller.

>>> d = np.array([3.0, -1.0, 2.0])
>>> num_positive_means(d), float(signed_rank_tail(5, 3))
(array(5), 0.25)
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy import stats

MAX_EXACT = 200  # largest number of differences with the exact distribution
MAX_COMPARED = 256  # up to this number of differences, comparing all pairs is faster than sorting


def pair_means(d: Float[np.ndarray, " n"]) -> Float[np.ndarray, " means"]:
    """Return the means of all pairs i <= j in no order, without those of +inf and -inf."""
    i, j = _pairs(len(d))
    if np.isfinite(d).all():
        return (d[i] + d[j]) / 2
    with np.errstate(invalid="ignore"):
        means = (d[i] + d[j]) / 2
    return means[~np.isnan(means)]


@lru_cache(maxsize=4)
def _pairs(n):
    return np.triu_indices(n)


def middle_mean(d: Float[np.ndarray, " n"]) -> float:
    """Return the median of the means of pairs."""
    means = pair_means(d)
    low, high = (len(means) - 1) // 2, len(means) // 2
    middle = np.partition(means, [low, high])[[low, high]]
    return float(middle[0] if middle[0] == middle[1] else middle.sum() / 2)


def lower_end(d: Float[np.ndarray, " n"], k: int) -> float:
    """Return the k-th smallest mean of pairs, in which a mean of +inf and -inf counts as -inf."""
    means = pair_means(d)
    k -= len(d) * (len(d) + 1) // 2 - len(means)
    return float(np.partition(means, k - 1)[k - 1]) if k >= 1 else -math.inf


def num_positive_means(d: Float[np.ndarray, "*rest n"]) -> Int[np.ndarray, "*rest"]:
    """Return the number of pairs i <= j with d_i + d_j > 0, along the last axis."""
    d = np.sort(d)
    n = d.shape[-1]
    rows = d.reshape(-1, n)
    if n <= MAX_COMPARED:
        above = np.count_nonzero(rows[:, :, None] > -rows[:, None, :], axis=(1, 2))
    else:
        above = np.array([n**2 - np.searchsorted(row, -row, side="right").sum() for row in rows])
    return ((above + np.count_nonzero(rows > 0, axis=1)) // 2).reshape(d.shape[:-1])


def signed_rank_tail(w: ArrayLike, n: int) -> Float[np.ndarray, "*rest"]:
    """Return P(W >= w) for the signed-rank statistic of n pairs."""
    total = n * (n + 1) // 2
    if n <= MAX_EXACT:
        below = np.concatenate([[0.0], _signed_rank_cdf(n)])
        # W and total - W have equal distributions.
        return np.asarray(below[total + 1 - np.asarray(w)])
    spread = math.sqrt(total * (2 * n + 1) / 12)
    return np.asarray(stats.norm.sf((np.asarray(w) - 0.5 - total / 2) / spread))


def num_rejected_means(n: int, tail: float) -> int:
    """Return the largest k with P(W < k) <= tail, for the signed-rank statistic of n pairs."""
    if n <= MAX_EXACT:
        return int(np.searchsorted(_signed_rank_cdf(n), tail, side="right"))
    total = n * (n + 1) // 2
    spread = math.sqrt(total * (2 * n + 1) / 12)
    return math.floor(total / 2 + 0.5 - spread * stats.norm.isf(tail))


@lru_cache
def _signed_rank_cdf(n):
    """Return P(W <= w) for w = 0, ..., n (n + 1) / 2."""
    density = np.zeros(n * (n + 1) // 2 + 1)
    density[0] = 1.0
    for rank in range(1, n + 1):
        density[rank:] = (density[rank:] + density[:-rank]) / 2
        density[:rank] /= 2
    return np.cumsum(density)


def least_pairs(tail: float) -> int:
    """Return the smallest number n of pairs with 2^-n <= tail, where a rank test can reject."""
    return math.ceil(-math.log2(tail) - 1e-9)
