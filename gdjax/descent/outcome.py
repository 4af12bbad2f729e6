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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike

OUTCOMES = ("descending", "converged", "dead", "diverged")


@jax.jit
def classify(
    cost: Float[Array, "*runs"],
    gradient_norm: Float[Array, "*runs"],
    diverged_at: Int[Array, "*runs"],
    baseline: ScalarLike | None,
    tolerance: ScalarLike = 1e-5,
) -> Int[Array, "*runs"]:
    """Position in `OUTCOMES` of how each run ended.

    Args:
        cost: over the whole training set, at the last step.
        gradient_norm: Euclidean norm of its gradient there; NaN counts as not small.
        diverged_at: step at which the run was frozen, -1 where it was not.
        baseline: cost of the best answer that ignores the input; None where there is none.
        tolerance: gradient norms up to this count as zero.
    """
    still = gradient_norm <= tolerance
    below = True if baseline is None else cost < baseline
    code = jnp.where(still, jnp.where(below, 1, 2), 0)
    return jnp.where(diverged_at >= 0, 3, code)


def labels(codes: Int[Array, "*runs"] | Int[np.ndarray, "*runs"]) -> list[str]:
    """Names of outcome codes, in the order of `codes.ravel()`."""
    return [OUTCOMES[int(code)] for code in np.ravel(codes)]
