"""Quantiles of Student's t distribution with estimated degrees of freedom."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

INVERSE = np.linspace(0, 1, 101)  # inverse degrees of freedom at the nodes of the interpolation


def quantile(tail: float, freedom: Float[Array, ""]) -> Float[Array, ""]:
    """Return the upper quantile of Student's t distribution by interpolation.

    Args:
        tail: probability that the quantile is exceeded, a number that is not traced.
        freedom: degrees of freedom; values below 1 are replaced by 1.

    Examples:
        >>> round(float(quantile(0.025, jnp.asarray(8.0))), 2)
        2.31
    """
    quantiles = np.append(stats.norm.isf(tail), stats.t.isf(tail, 1 / INVERSE[1:]))
    nodes = INVERSE.astype(freedom.dtype)  # JAX confuses the types of an array used with both
    return jnp.interp(1 / jnp.maximum(freedom, 1), nodes, quantiles).astype(freedom.dtype)


def effective_freedom(deviations: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the effective degrees of freedom of the mean of skewed numbers.

        (sum d_i^2)^2 / sum d_i^4 - 1,   d_i = deviations from the mean

    Their number is small if a few terms dominate the sum, and -1 if all deviations are 0.
    """
    squares = deviations**2
    # Divide by the largest square, since fourth powers underflow.
    relative = squares / jnp.maximum(jnp.max(squares), jnp.finfo(squares.dtype).tiny)
    return jnp.sum(relative) ** 2 / jnp.maximum(jnp.sum(relative**2), 1) - 1
