"""How a descent ended: a label, never an exception.

    diverged    the cost was not finite, or above a stated bound, at some step
    dead        |grad C| <= tolerance while C is not below the baseline
    converged   |grad C| <= tolerance and C below the baseline (or there is none)
    descending  none of these: more steps would change it

A sigmoid network at a huge learning rate does not blow up: it saturates, its gradient vanishes and
nothing moves again. That is dead, not converged; the baseline tells them apart.

>>> import jax.numpy as jnp
>>> labels(classify(jnp.array([0.01, 1.0]), jnp.array([1e-9, 0.0]), jnp.array([-1, -1]), 0.9))
['converged', 'dead']
"""

from enum import IntEnum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike


class Outcome(IntEnum):
    """How a descent ended."""

    DESCENDING = 0
    CONVERGED = 1
    DEAD = 2
    DIVERGED = 3


OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)


@jax.jit
def classify(
    cost: Float[Array, "*runs"],
    gradient_norm: Float[Array, "*runs"],
    diverged_at: Int[Array, "*runs"],
    baseline: ScalarLike | None,
    tolerance: ScalarLike = 1e-5,
) -> Int[Array, "*runs"]:
    """How each run ended, as the number of an `Outcome`.

    Args:
        cost: over the whole training set, at the last step.
        gradient_norm: Euclidean norm of its gradient there; NaN counts as not small.
        diverged_at: step at which the run was frozen, -1 where it was not.
        baseline: cost of the best answer that ignores the input; None where there is none.
        tolerance: gradient norms up to this count as zero.
    """
    still = gradient_norm <= tolerance
    below = True if baseline is None else cost < baseline
    at_rest = jnp.where(below, Outcome.CONVERGED, Outcome.DEAD)
    code = jnp.where(still, at_rest, Outcome.DESCENDING)
    return jnp.where(diverged_at >= 0, Outcome.DIVERGED, code)


def labels(codes: Int[Array, "*runs"] | Int[np.ndarray, "*runs"]) -> list[str]:
    """Names of outcome codes, in the order of `codes.ravel()`."""
    return [OUTCOMES[int(code)] for code in np.ravel(codes)]
