"""Outcomes of a descent.

    diverged       at some step the cost or its gradient norm was not finite, or the cost too large,
                   beyond the divergence threshold
    stalled        the cost is not below the baseline, and the gradient vanishes or the cost is flat
    converged      |grad C| <= tolerance, and C is below the baseline, or there is none
    not_converged  none of these; the outcome may change with more steps

The baseline is the cost of the best prediction that ignores the input. It distinguishes convergence
from stalling: a sigmoid network at a very large learning rate saturates, so that its gradient
nearly vanishes while its cost stays above the baseline. `classify` states the rule.

>>> import numpy as np
>>> cost = np.array([[1.0, 0.1, 0.01], [2.0, 1.0, 1.0]])
>>> [OUTCOMES[i] for i in classify(cost, np.array([1e-9, 0.0]), np.array([-1, -1]), 0.9)]
['converged', 'stalled']
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike

from gdjax.base.status import Status

ROUNDING = 16  # largest difference from the baseline that counts as zero, in units of eps |b|
LAST_RECORDS = 5  # minimum number of last records in which to detect a plateau
LAST_SHARE = 0.25  # fraction of all records in which to detect a plateau
FLATNESS = 1e-3  # maximum range on a plateau, relative to the baseline and to the whole range
LEAST_RANGE = 1e-2  # minimum range of a cost that has changed, relative to the baseline


class Outcome(Status):
    """Outcome of a descent; `.name` is its name, and `str` gives it in lower case."""

    NOT_CONVERGED = 0
    CONVERGED = 1
    STALLED = 2
    DIVERGED = 3

    def __str__(self) -> str:
        """Return the name in lower case, as used in tables and summaries."""
        return self.name.lower()


OUTCOMES = tuple(map(str, Outcome))


def classify(
    cost: Float[Array, "*runs records"] | Float[np.ndarray, "*runs records"],
    gradient_norm: Float[Array, "*runs"] | Float[np.ndarray, "*runs"],
    diverged_at: Int[Array, "*runs"] | Int[np.ndarray, "*runs"],
    baseline: ScalarLike | None,
    tolerance: ScalarLike = 1e-5,
) -> Int[np.ndarray, "*runs"]:
    """Return the outcome of each run, as the value of an `Outcome`.

    A run that has not diverged has stalled if its last cost is not below the baseline b by more
    than 16 units in the last place, and one of the following conditions is satisfied.

    1. The gradient vanishes: its norm is at most the tolerance. This happens at saturation.
    2. The cost has changed and is now flat. Over all records its range exceeds |b| / 100. Over the
       last quarter of the records, at least 5 of them, its range is less than a thousandth of |b|
       and of its range over all records. There are at least 10 records.

    In the second condition, the range over the last records is compared with that over all records
    of the run. A cost that decreases at a constant rate covers about a quarter of this range in the
    last quarter of the records, so the run is `not_converged`, even if the rate is small. A run
    whose cost has not changed is also `not_converged`, unless its gradient vanishes, since its
    steps may be too small. A run whose cost is below the baseline and whose gradient does not
    vanish is also `not_converged`, even if the cost is flat. A run that has stalled may still leave
    its plateau with more steps.

    Without a baseline no run stalls, and a run whose gradient vanishes has converged.

    Args:
        cost: cost over the whole training set at each record, with records on the last axis; NaN if
            unknown.
        gradient_norm: Euclidean norm of the gradient of the last cost; NaN counts as nonzero.
        diverged_at: step of divergence; -1 for a run that has not diverged.
        baseline: cost of the best prediction that ignores the input; None if unknown.
        tolerance: gradient norm at or below which a gradient counts as zero.
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
    """Return whether each cost has changed and is now flat (condition 2)."""
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
    """Return the range of the cost of each run over the selected records."""
    high = np.max(cost, axis=-1, where=where, initial=-np.inf)
    return high - np.min(cost, axis=-1, where=where, initial=np.inf)
