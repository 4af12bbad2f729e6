"""Signs of the eigenvalues of the Hessian.

    positive if lambda > error bound,   negative if lambda < -error bound,   else indeterminate

The error bound is the residual of the eigenpair plus rounding. An indeterminate eigenvalue may be
positive, negative or zero. Coordinates on which the cost does not depend (dead coordinates) are
masked and do not count as indeterminate.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, ScalarLike

from gdjax.curvature import eigensolvers
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.operators import SymmetricOperator

NUM_EXTREME = 3  # number of eigenvalues computed at each end if not all are computed


class Inertia(NamedTuple):
    """Eigenpairs on the live coordinates, error bounds and the pseudoinverse H^+.

    Args:
        values: eigenvalues, valid only where `known` is true.
        vectors: eigenvectors, one per column.
        error_bound: bound on the error of each eigenvalue.
        known: whether each pair is an eigenpair of the live coordinates.
        pseudoinverse: function `v -> H^+ v`, restricted to directions orthogonal to the
            eigenvectors of eigenvalues with unknown sign.
        form_size: function `v -> |v|^T |H| |v|`, or an upper bound if the entries of H are not
            known. The rounding error of v^T H v is a small multiple of eps times this.
        incomplete: whether eigenvalues that were not computed may have other signs.
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
        """Whether each eigenvalue is positive beyond its error bound."""
        return self.known & (self.values > self.error_bound)

    @property
    def negative(self) -> Bool[Array, " m"]:
        """Whether each eigenvalue is negative beyond its error bound."""
        return self.known & (self.values < -self.error_bound)

    @property
    def indeterminate(self) -> Bool[Array, " m"]:
        """Whether the sign of each eigenvalue is unknown."""
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
    def smallest_magnitude(self) -> Float[Array, ""]:
        """Smallest |eigenvalue| minus its error bound, among those with a known sign."""
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
    operator: SymmetricOperator, mask: Float[Array, " n"], perturbation: ScalarLike, eps: float
) -> Inertia:
    """Return all eigenpairs on the live coordinates, from the dense matrix.

    Args:
        operator: Hessian, as an operator on flat vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        perturbation: change of Hessian-vector products when the last digits of the parameters
            change.
        eps: rounding unit of products with the operator.

    Examples:
        One eigenvalue of each sign, and one that is zero:

        >>> from gdjax.curvature.operators import FunctionOperator
        >>> H = jnp.diag(jnp.array([2.0, -1.0, 0.0]))
        >>> operator = FunctionOperator(lambda v: H @ v, jnp.ones(3))
        >>> inertia = dense_inertia(operator, jnp.ones(3), 0.0, 1e-7)
        >>> inertia.values.tolist(), inertia.positive.tolist(), inertia.indeterminate.tolist()
        ([-1.0, 0.0, 2.0], [False, False, True], [False, True, False])
        >>> inertia.pseudoinverse(jnp.ones(3)).tolist()
        [0.5, -1.0, 0.0]
    """
    matrix = operator.as_matrix() * (mask[:, None] * mask[None])
    finite = jnp.all(jnp.isfinite(matrix))
    safe = jnp.where(finite, matrix, 0)
    # Move eigenvalues of dead coordinates above all others, so that they can be excluded.
    above = 1 + 4 * jnp.linalg.norm(safe)
    with jax.default_matmul_precision("highest"):
        values, vectors = eigensolvers.eigh(safe + jnp.diag(above * (1 - mask)))
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
    incomplete = jnp.array(False)
    return Inertia(values, vectors, error_bound, known, pseudoinverse, form_size, incomplete)


def extreme_inertia(
    operator: SymmetricOperator,
    mask: Float[Array, " n"],
    perturbation: ScalarLike,
    eps: float,
    *,
    key: Key[Array, ""],
    rtol: ScalarLike,
    max_restarts: int,
) -> Inertia:
    """Return the extreme eigenpairs of an operator, from products with vectors.

    Args:
        operator, mask, perturbation, eps: as for `dense_inertia`.
        key: key for the random starts.
        rtol: tolerance of the residuals, relative to the largest |eigenvalue|.
        max_restarts: maximum number of restarts of block Lanczos.
    """
    ritz = eigensolvers.extreme_ritz_pairs(
        operator.flat_mv,
        mask,
        key,
        largest=NUM_EXTREME,
        smallest=NUM_EXTREME,
        tolerance=lambda _, norm: norm * rtol,
        max_restarts=max_restarts,
    )
    error_bound = ritz.residuals + ROUNDING * eps * ritz.norm + perturbation
    # With fewer live coordinates than basis vectors, some basis vectors lie outside their space.
    basis_fits = jnp.sum(mask) >= eigensolvers.sizes(NUM_EXTREME, NUM_EXTREME).basis
    error_bound = jnp.where(basis_fits, error_bound, jnp.inf)
    signs = jnp.where(jnp.abs(ritz.values) > error_bound, jnp.sign(ritz.values), 0)
    # Values descend: the third is the innermost at the upper end, the fourth at the lower end.
    upper, lower = signs[NUM_EXTREME - 1], signs[NUM_EXTREME]
    same = (upper == lower) & (lower != 0)
    sign = jnp.where(upper == 0, lower, upper)
    sign = jnp.where(sign == 0, 1, sign)
    flat = jnp.where((signs == 0)[None], ritz.vectors, 0)

    def without_flat(v):
        return mask * (v - flat @ (flat.T @ v))

    def pseudoinverse(v):
        # Project twice, since CG never removes a flat component from its residual, not even one of
        # rounding size. If v itself is flat, the remainder is only rounding, and is set to zero.
        curved = without_flat(without_flat(v))
        curved = jnp.where(jnp.linalg.norm(curved) > 16 * eps * jnp.linalg.norm(v), curved, 0)
        with jax.default_matmul_precision("highest"):
            solution, _ = jax.scipy.sparse.linalg.cg(
                lambda v: sign * without_flat(operator.flat_mv(without_flat(v))),
                sign * curved,
                tol=1e-6,
                maxiter=300,
            )
        return solution

    def form_size(v):
        return ritz.norm * (v @ v)

    known = jnp.ones(ritz.values.shape, bool)
    values, vectors = ritz.values, ritz.vectors
    return Inertia(values, vectors, error_bound, known, pseudoinverse, form_size, ~same)
