"""Largest and smallest eigenvalues of the Hessian, with vectors and residuals.

    H v = lambda v + residual,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue limits the stable learning rates, and the smallest shows whether a critical
point is a minimum. For a quadratic cost:

>>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
>>> pairs = extreme_eigenpairs(bowl, jnp.ones(2), key=jax.random.key(0), largest=1, smallest=1)
>>> pairs.values.tolist(), EigenpairsStatus(int(pairs.status)).name
([10.0, 1.0], 'CONVERGED')

Up to 512 parameters the dense matrix is decomposed. For more, only products with it are computed
(see `block_lanczos`).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.arguments import check_number, check_whole, is_whole
from gdjax.curvature import block_lanczos
from gdjax.curvature.operators import SymmetricOperator, as_operator
from gdjax.errors import InputError
from gdjax.keys import check_key
from gdjax.problems.problem import Problem
from gdjax.summaries import fields_with

DENSE = 512  # maximum number of parameters for which the dense matrix is decomposed
# Rounding error of a product H v in units of eps |H| |v|: 10 times the value measured for the digit
# network.
ROUNDING = 8


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
        values: largest eigenvalues, descending, then the smallest, descending; the last is the
            smallest.
        vectors: eigenvectors of length 1, a tree like the parameters with a leading axis of length
            k.
        residuals: upper bounds of |H v - value v|, from products with H plus rounding. An
            eigenvalue lies within this distance of each value. That no other eigenvalue lies
            further out is likely, since there are several random starts, but not proven.
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
    max_steps: int = 100,
) -> Eigenpairs:
    """Return the largest and smallest eigenvalues, with vectors and residuals.

    The iteration ends when every residual is at most `rtol` times the operator's norm, or after
    `max_steps` restarts. Up to 512 parameters the dense matrix is decomposed instead.

    Args:
        operator: linear operator, such as `GaussNewtonOperator(problem, params)`; or a Problem or a
            cost (`cost(params, batch)` with data, `cost(params)` without), whose Hessian is taken.
        params: parameters at which to take the Hessian of a problem. Types of fewer than 32 bits
            are converted to float32.
        key: key for the random starts.
        data: data that replaces the problem's own.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        rtol: tolerance of the residuals, relative to the largest |eigenvalue|.
        max_steps: maximum number of restarts of block Lanczos, each of a few dozen products.

    Returns:
        The eigenpairs. Their `status` reports a tolerance that was not reached or a Hessian that is
        not finite.

    Raises:
        InputError: if no eigenvalue is requested, or more than the operator has; if `rtol` is not
            above 0, `max_steps` is below 1, or `key` is not a random key.

    References: Golub and Underwood 1977, *The block Lanczos method*; Wu and Simon 2000,
    *Thick-restart Lanczos method*.
    """
    check_key(key)
    check_number("extreme_eigenpairs: rtol", rtol, above=0)
    check_whole("extreme_eigenpairs: max_steps", max_steps, 1)
    operator = as_operator("extreme_eigenpairs", operator, params, data)
    flat, unravel = ravel_pytree(operator.like)
    whole = is_whole(largest) and is_whole(smallest)
    if not whole or not 1 <= largest + smallest <= flat.size:
        raise InputError(
            f"extreme_eigenpairs: largest = {largest} and smallest = {smallest}, expected 1 "
            f"to {flat.size} together, the number of parameters"
        )
    if flat.size <= DENSE:
        ritz = _dense(operator.as_matrix(), largest, smallest)
    else:
        ritz = block_lanczos.extreme_ritz_pairs(
            operator.flat_mv,
            jnp.ones_like(flat),
            key,
            largest=largest,
            smallest=smallest,
            tolerance=rtol,
            max_steps=max_steps,
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
    ends = jnp.array([*range(n - 1, n - 1 - largest, -1), *range(smallest - 1, -1, -1)])
    values, vectors = values[ends], vectors[:, ends]
    with jax.default_matmul_precision("highest"):
        rest = matrix @ vectors - values[None] * vectors
    return block_lanczos.Ritz(
        values,
        vectors,
        jnp.linalg.norm(rest, axis=0),
        jnp.max(jnp.abs(values)),
        jnp.array(n, jnp.int32),
        vectors[:, :0],
    )
