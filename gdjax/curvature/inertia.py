"""Signs of the eigenvalues of the Hessian, each with its error bound.

    positive: lambda > error_bound,   negative: lambda < -error_bound,   indeterminate: otherwise

The sign of an eigenvalue is known if the eigenvalue is larger than its residual and rounding. An
indeterminate one may have either sign, or be zero. One of each:

>>> from gdjax.curvature.operators import FunctionOperator
>>> H = jnp.diag(jnp.array([2.0, -1.0, 0.0]))
>>> inertia = dense_inertia(FunctionOperator(lambda v: H @ v, jnp.ones(3)), jnp.ones(3), 0.0)
>>> inertia.values.tolist(), inertia.positive.tolist(), inertia.indeterminate.tolist()
([-1.0, 0.0, 2.0], [False, False, True], [False, True, False])
>>> inertia.pseudoinverse(jnp.ones(3)).tolist()
[0.5, -1.0, 0.0]

Coordinates on which the cost does not depend are masked: they are dead, not indeterminate.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, ScalarLike

from gdjax.curvature import block_lanczos, jacobi_eigh
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.operators import SymmetricOperator

NUM_EXTREME = 3  # eigenvalues from each end, if not all are computed


class Inertia(NamedTuple):
    """Eigenpairs on the live coordinates, their error bounds, and the pseudoinverse H^+.

    Args:
        values: eigenvalues; those that are not `known` mean nothing.
        vectors: one per column.
        error_bound: the eigenvalue lies within it.
        known: whether the pair is an eigenpair.
        pseudoinverse: `v -> H^+ v` on the directions whose sign is known.
        form_size: `v -> |v|^T |H| |v|`, of which the rounding of v^T H v is a small multiple of
            eps; an upper bound if the entries of H are not known.
        incomplete: whether eigenvalues that were not computed may have another sign.
    """

    values: Float[Array, " m"]
    vectors: Float[Array, "n m"]
    error_bound: Float[Array, " m"]
    known: Bool[Array, " m"]
    pseudoinverse: Callable
    form_size: Callable
    incomplete: Bool[Array, ""]

    @property
    def positive(self) -> Bool[Array, " m"]:
        """Whether the eigenvalue is positive beyond its error bound."""
        return self.known & (self.values > self.error_bound)

    @property
    def negative(self) -> Bool[Array, " m"]:
        """Whether the eigenvalue is negative beyond its error bound."""
        return self.known & (self.values < -self.error_bound)

    @property
    def indeterminate(self) -> Bool[Array, " m"]:
        """Whether the sign of the eigenvalue is not known."""
        return self.known & ~self.positive & ~self.negative

    @property
    def nullity(self) -> Int[Array, ""]:
        """Number of indeterminate eigenvalues."""
        return jnp.sum(self.indeterminate)

    @property
    def norm(self) -> Float[Array, ""]:
        """Largest |eigenvalue|."""
        return jnp.max(jnp.where(self.known, jnp.abs(self.values), 0))

    @property
    def least(self) -> Float[Array, ""]:
        """Smallest |eigenvalue| with a known sign, less its error bound."""
        size = jnp.abs(self.values) - self.error_bound
        return jnp.min(jnp.where(self.positive | self.negative, size, jnp.inf))

    @property
    def flattest(self) -> Float[Array, " n"]:
        """Eigenvector of the smallest |eigenvalue| with a known sign."""
        size = jnp.where(self.positive | self.negative, jnp.abs(self.values), jnp.inf)
        return self.vectors[:, jnp.argmin(size)]

    @property
    def steepest(self) -> Float[Array, " n"]:
        """Eigenvector of the largest |eigenvalue|."""
        return self.vectors[:, jnp.argmax(jnp.where(self.known, jnp.abs(self.values), -1))]

    @property
    def flat_basis(self) -> Float[Array, "n m"]:
        """Eigenvectors of indeterminate eigenvalues as columns; zeros elsewhere."""
        return jnp.where(self.indeterminate[None], self.vectors, 0)


def dense_inertia(
    operator: SymmetricOperator, mask: Float[Array, " n"], perturbation: ScalarLike
) -> Inertia:
    """Return all eigenpairs, from the matrix, without those of dead coordinates.

    Args:
        operator: the Hessian, on vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        perturbation: change of products if the last digits of the parameters change.
    """
    eps = jnp.finfo(mask.dtype).eps
    matrix = operator.as_matrix() * (mask[:, None] * mask[None])
    finite = jnp.all(jnp.isfinite(matrix))
    safe = jnp.where(finite, matrix, 0)
    # Eigenvalues of dead coordinates are moved above all others, where they are left out.
    above = 1 + 4 * jnp.linalg.norm(safe)
    with jax.default_matmul_precision("highest"):
        values, vectors = jacobi_eigh.eigh(safe + jnp.diag(above * (1 - mask)))
        known = jnp.arange(mask.size) < jnp.sum(mask)
        residuals = jnp.linalg.norm(safe @ vectors - values[None] * vectors, axis=0)
    vectors = jnp.where(known[None], vectors, 0)
    norm = jnp.max(jnp.where(known, jnp.abs(values), 0))
    error_bound = residuals + max(ROUNDING, mask.size**0.5) * eps * norm + perturbation
    signed = known & (jnp.abs(values) > error_bound)
    inverted = jnp.where(signed, 1 / jnp.where(signed, values, 1), 0)

    def pseudoinverse(v):
        with jax.default_matmul_precision("highest"):
            return vectors @ (inverted * (vectors.T @ v))

    def form_size(v):
        with jax.default_matmul_precision("highest"):
            return jnp.abs(v) @ (jnp.abs(safe) @ jnp.abs(v))

    values = jnp.where(finite, values, jnp.nan)
    return Inertia(
        values, vectors, error_bound, known, pseudoinverse, form_size, incomplete=jnp.array(False)
    )


def extreme_inertia(
    operator: SymmetricOperator,
    mask: Float[Array, " n"],
    perturbation: ScalarLike,
    *,
    key: Key[Array, ""],
    rtol: ScalarLike,
    max_steps: int,
) -> Inertia:
    """Return eigenpairs from both ends of the spectrum, from products alone.

    Args:
        operator: the Hessian, on vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        perturbation: change of products if the last digits of the parameters change.
        key: for random starts.
        rtol: of residuals, relative to the largest |eigenvalue|.
        max_steps: as for `extreme_eigenpairs`.
    """
    ritz = block_lanczos.extreme_ritz_pairs(
        operator.flat_mv,
        mask,
        key,
        largest=NUM_EXTREME,
        smallest=NUM_EXTREME,
        tolerance=rtol,
        max_steps=max_steps,
    )
    eps = jnp.finfo(mask.dtype).eps
    error_bound = ritz.residuals + ROUNDING * eps * ritz.norm + perturbation
    # If there are fewer live coordinates than basis vectors, some of these are outside their space.
    enough = jnp.sum(mask) >= block_lanczos.sizes(NUM_EXTREME, NUM_EXTREME).basis
    error_bound = jnp.where(enough, error_bound, jnp.inf)
    signs = jnp.where(jnp.abs(ritz.values) > error_bound, jnp.sign(ritz.values), 0)
    # Values fall: the third is the last one from above, the fourth the last one from below.
    upper, lower = signs[NUM_EXTREME - 1], signs[NUM_EXTREME]
    same = (upper == lower) & (lower != 0)
    sign = jnp.where(upper == 0, lower, upper)
    sign = jnp.where(sign == 0, 1, sign)
    flat = jnp.where((signs == 0)[None], ritz.vectors, 0)

    def without_flat(v):
        return mask * (v - flat @ (flat.T @ v))

    def pseudoinverse(v):
        # Twice: a flat part, even if it is rounding, never leaves the solver's residual. Of a v
        # that is flat nothing else is left.
        rest = without_flat(without_flat(v))
        rest = jnp.where(jnp.linalg.norm(rest) > 16 * eps * jnp.linalg.norm(v), rest, 0)
        with jax.default_matmul_precision("highest"):
            solution, _ = jax.scipy.sparse.linalg.cg(
                lambda v: sign * without_flat(operator.flat_mv(without_flat(v))),
                sign * rest,
                tol=1e-6,
                maxiter=300,
            )
        return solution

    def form_size(v):
        return ritz.norm * (v @ v)

    known = jnp.ones(ritz.values.shape, bool)
    return Inertia(
        ritz.values, ritz.vectors, error_bound, known, pseudoinverse, form_size, incomplete=~same
    )
