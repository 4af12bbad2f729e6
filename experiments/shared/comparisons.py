"""Correction of the intervals of an experiment for their number.

Holm's method: of m p-values in increasing order, the k-th is multiplied by m - k + 1, and is at
least as large as the one before.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats


def p_values(
    triples: ArrayLike | Sequence,
    *,
    null: ArrayLike | Sequence = 0.0,
    freedom: float = np.inf,
    margin: float = 0.0,
) -> Float[np.ndarray, " n"]:
    """Return two-sided p-values of estimates with 95 % intervals.

        p = 2 P(T > t |value - null| / |end - value|),   t the 97.5 % quantile of T

    The end is that on the side of `null`. For Student's intervals, the p-values are those of the
    t-test; for bootstrap intervals, they are approximate.

    Args:
        triples: estimates with the ends of their intervals, [n, 3].
        null: values of the null hypotheses.
        freedom: degrees of freedom of Student's distribution of T; infinite for a normal one.
        margin: standard deviations by which the ends are moved away from the estimates first.

    Examples:
        >>> p_values([[1.0, 0.0, 2.0]]).round(3).tolist()
        [0.05]
    """
    values, low, high = np.asarray(triples, float).T
    t = stats.t.isf(0.025, freedom)
    reach = np.where(values < null, high - values, values - low) * (t + margin) / t
    return 2 * stats.t.sf(t * np.abs(values - null) / reach, freedom)
