"""Quantiles of Student's distribution for intervals whose degrees of freedom are data.

The degrees of freedom of a mean of skewed numbers are those of its sum of squares,

    (sum d_i^2)^2 / sum d_i^4 - 1,   d_i deviations from the mean,

which are few where a few numbers decide it.

>>> round(float(quantile(0.025, jnp.asarray(8.0))), 2)
2.31
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

INVERSE = np.linspace(0, 1, 101)  # of degrees of freedom


def quantile(tail: float, freedom: Float[Array, ""]) -> Float[Array, ""]:
    """Return the number that is exceeded with a probability, for any degrees of freedom >= 1.

    Args:
        tail: that probability; a number, not traced.
        freedom: degrees of freedom, taken as 1 where they are fewer.
    """
    known = np.append(stats.norm.isf(tail), stats.t.isf(tail, 1 / INVERSE[1:]))
    return jnp.interp(1 / jnp.maximum(freedom, 1), INVERSE, known).astype(freedom.dtype)


def effective_freedom(deviations: Float[Array, " n"]) -> Float[Array, ""]:
    """Return (sum d_i^2)^2 / sum d_i^4 - 1, which is -1 if all deviations are 0."""
    squares = deviations**2
    # In units of the largest, since fourth powers underflow.
    relative = squares / jnp.maximum(jnp.max(squares), jnp.finfo(squares.dtype).tiny)
    return jnp.sum(relative) ** 2 / jnp.maximum(jnp.sum(relative**2), 1) - 1
