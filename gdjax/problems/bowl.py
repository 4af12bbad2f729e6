"""Quadratic costs with a given spectrum, for which descent has a closed form.

    f(w) = (w - w*)^T H (w - w*) / 2,   w_t - w* = (I - learning_rate H)^t (w_0 - w*)

If all eigenvalues are positive, descent converges from every starting point if and only if the
learning rate is less than 2 / (largest eigenvalue). The cost needs no data:

>>> bowl([1.0, 10.0, 100.0]).samples
0
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from gdjax.base.arguments import check_numbers
from gdjax.base.errors import InputError
from gdjax.base.limits import Real
from gdjax.problems.problem import Problem


def bowl(
    eigenvalues: Sequence | ArrayLike,
    minimum: Sequence | ArrayLike | None = None,
    *,
    basis: Sequence | ArrayLike | None = None,
) -> Problem:
    """Return a quadratic cost with a given spectrum: a bowl, a valley or a saddle.

        f(w) = (w - w*)^T H (w - w*) / 2,   H = Q diag(eigenvalues) Q^T,   w_0 - w* ~ N(0, I)

    Args:
        eigenvalues: n real eigenvalues of H. If none is negative, descent is stable for learning
            rates below 2 / (largest eigenvalue).
        minimum: w*, the point of zero gradient; 0 if None. Negative eigenvalues make it a saddle.
        basis: Q, an orthogonal matrix whose columns are the eigenvectors (a random one is
            `jax.random.orthogonal(key, n)`); the identity if None. A problem with a basis cannot be
            rebuilt from its provenance.

    Examples:
        >>> bowl([1.0, 10.0, 100.0]).cost(jnp.ones(3))
        Array(55.5, dtype=float32)
    """
    check_numbers("bowl: eigenvalues", eigenvalues, Real, ndim=1)
    spectrum = np.asarray(eigenvalues, float)
    minimum = np.zeros_like(spectrum) if minimum is None else minimum
    check_numbers("bowl: minimum", minimum, Real, shape=spectrum.shape)
    center = np.asarray(minimum, float)
    rotation = None if basis is None else _orthogonal(basis, spectrum.size)

    def init(key):
        offset = jax.random.normal(key, spectrum.shape)
        return offset + jnp.asarray(center, offset.dtype)

    def cost(w: Float[Array, " n"]) -> Float[Array, ""]:
        d = w - jnp.asarray(center, w.dtype)
        if rotation is not None:
            # The default precision of accelerators would change the spectrum.
            d = jnp.matmul(jnp.asarray(rotation.T, w.dtype), d, precision="highest")
        return jnp.sum(jnp.asarray(spectrum, w.dtype) * d**2) / 2

    provenance = None
    if rotation is None:
        provenance = {
            "problem": "bowl",
            "eigenvalues": spectrum.tolist(),
            "minimum": center.tolist(),
        }
    return Problem(init=init, cost=cost, provenance=provenance)


def _orthogonal(basis, n):
    check_numbers("bowl: basis", basis, shape=(n, n))
    matrix = np.asarray(basis, float)
    # float32 matrices are orthogonal to about 1e-6. The negated comparison also rejects NaN.
    error = np.abs(matrix.T @ matrix - np.eye(n)).max()
    if not error < 1e-4:
        raise InputError(
            f"bowl: basis differs from an orthogonal matrix by {error:.3g}; pass the Q of "
            f"numpy.linalg.qr(basis), or jax.random.orthogonal(key, {n})"
        )
    return matrix
