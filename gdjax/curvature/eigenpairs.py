"""Eigenpairs of the Hessian with error bounds, and signs of the eigenvalues.

    H v = lambda v + residual,   |v| = 1,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue limits the stable learning rates, and the smallest shows whether a critical
point is a minimum.

Up to 512 parameters the dense matrix is decomposed. For more, only Hessian-vector products are
computed (see `eigensolvers`).

The sign of an eigenvalue is known if its absolute value exceeds its residual plus rounding. An
indeterminate eigenvalue may be positive, negative or zero. Coordinates on which the cost does not
depend (dead coordinates) are masked and do not count as indeterminate.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, ScalarLike

from gdjax.arguments import check_number, check_whole, is_whole
from gdjax.curvature import eigensolvers
from gdjax.curvature.operators import SymmetricOperator, as_operator
from gdjax.errors import InputError
from gdjax.keys import check_key
from gdjax.problems.problem import Problem
from gdjax.summaries import fields_with

DENSE = 512  # maximum number of parameters for which the dense matrix is decomposed
# Rounding error of a product H v in units of eps |H| |v|: 10 times the value measured for the digit
# network.
ROUNDING = 8
NUM_EXTREME = 3  # number of eigenvalues computed at each end if not all are computed


class EigenpairsStatus(IntEnum):
    """Status of the computation of eigenpairs."""

    CONVERGED = 0
    TOLERANCE_NOT_REACHED = 1
    NOT_FINITE = 2

    @property
    def label(self) -> str:
        """Name in words, such as "tolerance not reached"."""
        return self.name.lower().replace("_", " ")


class Eigenpairs(NamedTuple):
    """Eigenpairs at the ends of a spectrum.

    Args:
        values: the requested largest eigenvalues, then the requested smallest ones, both
            descending.
        vectors: eigenvectors of length 1, a pytree like the parameters whose leading axis indexes
            the k eigenvalues.
        residuals: upper bounds on |H v - value v|, from products with H plus rounding. An
            eigenvalue lies within this distance of each value. The search starts from several
            random vectors, so an eigenvalue further out is unlikely, but not excluded.
        norm: largest |eigenvalue| found, an estimate of the operator's norm.
        status: an `EigenpairsStatus`.
        num_hvps: number of products with the operator.
    """

    values: Float[Array, " k"]
    vectors: PyTree
    residuals: Float[Array, " k"]
    norm: Float[Array, ""]
    status: Int[Array, ""]
    num_hvps: Int[Array, ""]

    __repr__ = fields_with(status=EigenpairsStatus)


def extreme_eigenpairs(
    operator: SymmetricOperator | Problem | Callable,
    params: PyTree = None,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    largest: int = 1,
    smallest: int = 0,
    rtol: ScalarLike = 1e-3,
    max_restarts: int = 100,
) -> Eigenpairs:
    """Return the largest and smallest eigenpairs of a Hessian, with residuals.

    The iteration ends when every residual is at most `rtol` times the operator's norm, or after
    `max_restarts` restarts. Up to 512 parameters the dense matrix is decomposed instead.

    Args:
        operator: linear operator, such as `GaussNewtonOperator(problem, params)`; or a Problem or a
            cost (`cost(params, batch)` with data, `cost(params)` without), whose Hessian is taken.
        params: parameters at which to take the Hessian of a problem. Types of fewer than 32 bits
            are converted to float32.
        key: key for the random starts.
        data: data used instead of the problem's data.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        rtol: tolerance of the residuals, relative to the largest |eigenvalue|.
        max_restarts: maximum number of restarts of block Lanczos, each of a few dozen products.

    Returns:
        The eigenpairs. Their `status` reports a tolerance that was not reached or a Hessian that is
        not finite.

    Examples:
        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> pairs = extreme_eigenpairs(bowl, jnp.ones(2), key=jax.random.key(0), smallest=1)
        >>> pairs.values.tolist(), EigenpairsStatus(int(pairs.status)).name
        ([10.0, 1.0], 'CONVERGED')

    References: Golub and Underwood 1977, *The block Lanczos method*; Wu and Simon 2000,
    *Thick-restart Lanczos method*.
    """
    check_key(key)
    check_number("extreme_eigenpairs: rtol", rtol, above=0)
    check_whole("extreme_eigenpairs: max_restarts", max_restarts, 1)
    operator = as_operator("extreme_eigenpairs", operator, params, data)
    flat, unravel = ravel_pytree(operator.like)
    are_whole = is_whole(largest) and is_whole(smallest)
    if not are_whole or not 1 <= largest + smallest <= flat.size:
        raise InputError(
            f"extreme_eigenpairs: largest = {largest} and smallest = {smallest}, expected a total "
            f"of 1 to {flat.size}, the number of parameters"
        )
    if flat.size <= DENSE:
        ritz = _dense(operator.as_matrix(), largest, smallest)
    else:
        ritz = eigensolvers.extreme_ritz_pairs(
            operator.flat_mv,
            jnp.ones_like(flat),
            key,
            largest=largest,
            smallest=smallest,
            tolerance=rtol,
            max_restarts=max_restarts,
        )
    residuals = with_rounding(ritz.residuals, ritz.norm)
    finite = jnp.all(jnp.isfinite(residuals)) & jnp.isfinite(ritz.norm)
    exact = (jnp.max(residuals) <= rtol * ritz.norm) | (ritz.norm == 0)
    status = jnp.select(
        [~finite, exact],
        [jnp.int32(EigenpairsStatus.NOT_FINITE), jnp.int32(EigenpairsStatus.CONVERGED)],
        jnp.int32(EigenpairsStatus.TOLERANCE_NOT_REACHED),
    )
    return Eigenpairs(
        values=ritz.values,
        vectors=jax.tree.map(
            lambda vector, leaf: vector.astype(jnp.result_type(leaf)),
            jax.vmap(unravel, in_axes=1)(ritz.vectors),
            operator.like if params is None else params,
        ),
        residuals=residuals,
        norm=ritz.norm,
        status=status,
        num_hvps=ritz.num_hvps,
    )


def with_rounding(residuals: Float[Array, " k"], norm: Float[Array, ""]) -> Float[Array, " k"]:
    """Return residuals of unit vectors plus a bound on the rounding of products."""
    return residuals + ROUNDING * jnp.finfo(residuals.dtype).eps * norm


def _dense(matrix, largest, smallest):
    values, vectors = jnp.linalg.eigh(matrix)
    n = len(values)
    selected = jnp.array([*range(n - 1, n - 1 - largest, -1), *range(smallest - 1, -1, -1)])
    values, vectors = values[selected], vectors[:, selected]
    with jax.default_matmul_precision("highest"):
        difference = matrix @ vectors - values[None] * vectors
    return eigensolvers.Ritz(
        values,
        vectors,
        jnp.linalg.norm(difference, axis=0),
        jnp.max(jnp.abs(values)),
        jnp.array(n, jnp.int32),
        vectors[:, :0],
    )


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
    def least(self) -> Float[Array, ""]:
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
    return Inertia(
        values, vectors, error_bound, known, pseudoinverse, form_size, incomplete=jnp.array(False)
    )


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
        operator: Hessian, as an operator on flat vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        perturbation: change of Hessian-vector products when the last digits of the parameters
            change.
        eps: rounding unit of products with the operator.
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
        tolerance=rtol,
        max_restarts=max_restarts,
    )
    error_bound = ritz.residuals + ROUNDING * eps * ritz.norm + perturbation
    # With fewer live coordinates than basis vectors, some basis vectors lie outside their space.
    enough = jnp.sum(mask) >= eigensolvers.sizes(NUM_EXTREME, NUM_EXTREME).basis
    error_bound = jnp.where(enough, error_bound, jnp.inf)
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
    return Inertia(
        ritz.values, ritz.vectors, error_bound, known, pseudoinverse, form_size, incomplete=~same
    )
