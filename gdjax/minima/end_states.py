"""States of the ends of descents: reached, near, or a minimum that the descent cannot hold.

    reached      |grad C(end)| small, the move to the minimum short, and the minimum stable
    near         the move or the gradient at the end is not small: the descent was still on its way
    cannot hold  sharpness > stability limit of the optimizer at this rate: descents leave it

Polishing finds the nearest critical point, also where the descent cannot stay. Gradient descent at
the rate eta leaves each minimum with a sharpness above 2 / eta, however near to it the descent is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdjax.base.status import Status

END_TOLERANCE = 1e-3  # largest gradient norm at the end of a descent that has converged
EXPLAINED = 0.99  # share of the squared gradient from which decay by the optimizer is suspected
ALIKE = 0.05  # largest relative spread of that decay over the ends
SHORT_MOVE = 0.1  # longest move by polishing, relative to the distance of the nearest minimum


class EndState(Status):
    """State of an end of a descent, or of a minimum: the best state of the ends there.

    - NO_MINIMUM: the end is neither at a minimum nor on a manifold of minima.
    - REACHED: the gradient norm at the end is at most 1e-3, polishing moved it by at most a tenth
      of the distance from its minimum to the nearest other one, and the minimum is not unstable.
    - NEAR: the minimum is not unstable, but the gradient or the move is larger.
    - CANNOT_HOLD: the sharpness of the minimum is above the stability limit of the optimizer at
      the run's learning rate, so that descents from there leave it.
    """

    NO_MINIMUM = 0
    REACHED = 1
    NEAR = 2
    CANNOT_HOLD = 3


def end_states(
    is_minimum: Any,
    gradient_norm: Any,
    relative_move: Any,
    stability: Any,
) -> Int[np.ndarray, " runs"]:
    """Return the `EndState` of each run.

    Args:
        is_minimum: whether the end was polished to a minimum or a manifold of minima.
        gradient_norm: gradient norm at the end of the descent.
        relative_move: distance moved by polishing, relative to that of the nearest other minimum.
        stability: sharpness relative to the stability limit; NaN if unknown.
    """
    is_near = ~((gradient_norm <= END_TOLERANCE) & (relative_move <= SHORT_MOVE))
    states = np.where(is_near, EndState.NEAR, EndState.REACHED)
    states = np.where(np.asarray(stability) > 1, EndState.CANNOT_HOLD, states)
    return np.where(is_minimum, states, EndState.NO_MINIMUM).astype(np.int8)


def advice(
    state: Int[np.ndarray, " runs"],
    stability: Float[np.ndarray, " runs"],
    ends: Any,
    arguments: Mapping[str, Any],
    optimizer_is_known: bool,
) -> str:
    """Return a warning if at most half of the ends at minima were reached, or "".

    Args:
        state: `EndState` of each run.
        stability: sharpness relative to the stability limit of each run.
        ends: Dataset of the runs from `classify_end_points`.
        arguments: arguments of the optimizer, [runs].
        optimizer_is_known: whether a decay that the optimizer adds would have been found.
    """
    counts = {s: int(np.sum(state == s)) for s in EndState}
    at_minima = len(state) - counts[EndState.NO_MINIMUM]
    sentences = []
    if at_minima and 2 * counts[EndState.REACHED] <= at_minima:
        near, unstable = state == EndState.NEAR, state == EndState.CANNOT_HOLD
        sentences.append(f"{counts[EndState.REACHED]} of {at_minima} ends had reached a minimum")
        if near.any():
            moved, slope = (ends[n].values[near] for n in ("moved", "gradient_norm_before"))
            sentences.append(
                f"{near.sum()} were only near one, moved by {np.median(moved):.2g} (median) from "
                f"gradient norms up to {slope.max():.2g}: more steps help"
            )
        if unstable.any():
            rate = np.asarray(arguments.get("learning_rate", np.nan), float)
            stable = np.min(np.broadcast_to(rate, stability.shape)[unstable] / stability[unstable])
            lower = f": a learning rate below {stable:.3g} helps" if np.isfinite(stable) else ""
            sentences.append(
                f"{unstable.sum()} were polished to minima that descents cannot hold, with a "
                f"sharpness up to {np.nanmax(stability[unstable]):.3g} times the limit{lower}"
            )
        sentences.append("shares of basins are those of the ends that had reached a minimum")
    pulls = ends["pull"].values[
        (ends["pull_share"].values > EXPLAINED)
        & (ends["gradient_norm_before"].values > END_TOLERANCE)
    ]
    if not optimizer_is_known and 2 * len(pulls) > len(state):
        low, median, high = np.quantile(pulls, [0.25, 0.5, 0.75])
        if median > 0 and high - low < ALIKE * median:
            sentences.append(
                f"at {len(pulls)} of {len(state)} ends the gradient is -{median:.3g} times the "
                f"parameters, as if the optimizer added weight decay; pass make_optimizer=..., so "
                f"that the minima of the cost that it minimizes are counted"
            )
    return "; ".join(sentences)
