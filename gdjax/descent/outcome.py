"""Outcomes: how a descent ended.

    diverged       the cost was not finite, or above the divergence threshold, at some step
    stalled        the cost is not below the baseline, and the gradient vanishes or the cost is flat
    converged      |grad C| <= tolerance, and C is below the baseline, or there is none
    not_converged  none of these: more steps may change it

A sigmoid network at a huge learning rate saturates: its gradient nearly vanishes, and its cost
stays above that of ignoring the input. It has stalled; the baseline tells this from converged.
`classify` states the rule.

>>> import numpy as np
>>> cost = np.array([[1.0, 0.1, 0.01], [2.0, 1.0, 1.0]])
>>> labels(classify(cost, np.array([1e-9, 0.0]), np.array([-1, -1]), 0.9))
['converged', 'stalled']
"""

from enum import IntEnum

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike

Costs = Float[Array, "*runs records"] | Float[np.ndarray, "*runs records"]
Numbers = Float[Array, "*runs"] | Float[np.ndarray, "*runs"]
Codes = Int[Array, "*runs"] | Int[np.ndarray, "*runs"]

ROUNDING = 16  # units in the last place within which a cost equals the baseline
LAST_RECORDS = 5  # the fewest that show a plateau
LAST_SHARE = 0.25  # of all records that show a plateau
FLATNESS = 1e-3  # the range of the cost on a plateau, relative to the problem
LEAST_RANGE = 1e-2  # the range of a cost that has moved, relative to the baseline


class Outcome(IntEnum):
    """How a descent ended: its name by `.name`, in lower case by `str`."""

    NOT_CONVERGED = 0
    CONVERGED = 1
    STALLED = 2
    DIVERGED = 3

    def __str__(self) -> str:
        """Return its name in lower case, as in tables and summaries."""
        return self.name.lower()


OUTCOMES = tuple(map(str, Outcome))


def classify(
    cost: Costs,
    gradient_norm: Numbers,
    diverged_at: Codes,
    baseline: ScalarLike | None,
    tolerance: ScalarLike = 1e-5,
) -> Int[np.ndarray, "*runs"]:
    """Return how each run ended, as the number of an `Outcome`.

    A run that has not diverged has stalled if its last cost is not below the baseline b by more
    than 16 units in the last place, and one of the following holds.

    1. The gradient vanishes: its norm is at most the tolerance. Saturation ends so.
    2. The cost has moved, and is flat now. Over all records it ranged over more than |b| / 100.
       Over the last records, a quarter of them and at least 5, it ranged over less than a
       thousandth of |b|, and of its range over all records. There are at least 10 records.

    The second condition compares a run with itself. A run that learns slowly all the time ranges
    over about a quarter of its whole range in the last quarter, so it is `not_converged`, however
    slow it is. A run that has not moved is `not_converged`, too, unless its gradient vanishes: its
    steps may be too small. So is a run whose cost is below the baseline, flat or not. A run that
    has stalled may still leave its plateau with more steps.

    Without a baseline no run stalls: one whose gradient vanishes has converged.

    Args:
        cost: over the whole training set, at each record; NaN where there is none.
        gradient_norm: Euclidean norm of the gradient of the last cost; NaN counts as not small.
        diverged_at: step at which the run was frozen, -1 where it was not.
        baseline: cost of the best answer that ignores the input; None where there is none.
        tolerance: gradient norms up to this count as zero.
    """
    eps = float(jnp.finfo(cost.dtype).eps)
    cost, gradient_norm = np.asarray(cost, float), np.asarray(gradient_norm)
    vanishes = gradient_norm <= np.asarray(tolerance, gradient_norm.dtype)
    if baseline is None:
        code = np.where(vanishes, Outcome.CONVERGED, Outcome.NOT_CONVERGED)
    else:
        base = np.asarray(baseline).item()
        scale = abs(base)
        below = cost[..., -1] < base - ROUNDING * eps * scale
        stalls = ~below & (vanishes | _is_flat(cost, scale))
        at_rest = np.where(below & vanishes, Outcome.CONVERGED, Outcome.NOT_CONVERGED)
        code = np.where(stalls, Outcome.STALLED, at_rest)
    return np.where(np.asarray(diverged_at) >= 0, Outcome.DIVERGED, code)


def _is_flat(cost, scale):
    """Return whether each cost has moved and is flat over its last records: condition 2."""
    known = np.isfinite(cost)
    count = known.sum(axis=-1)
    last = np.maximum(LAST_RECORDS, np.ceil(LAST_SHARE * count))
    from_the_end = np.cumsum(known[..., ::-1], axis=-1)[..., ::-1]
    whole = _range(cost, known)
    moves = whole > LEAST_RANGE * scale
    now = _range(cost, known & (from_the_end <= last[..., None]))
    flat = now < FLATNESS * np.minimum(scale, whole)
    return known[..., -1] & (count >= 2 * LAST_RECORDS) & moves & flat


def _range(cost, where):
    """Return the largest minus the smallest cost of each run, over some of its records."""
    high = np.max(cost, axis=-1, where=where, initial=-np.inf)
    return high - np.min(cost, axis=-1, where=where, initial=np.inf)


def labels(codes: Codes) -> list[str]:
    """Return the names of outcome codes, in the order of `codes.ravel()`."""
    return [OUTCOMES[int(code)] for code in np.ravel(codes)]
