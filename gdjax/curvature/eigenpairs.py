"""Largest and smallest eigenvalues of the Hessian, with eigenvectors and residuals.

    H v = lambda v + residual,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue decides which learning rates can work, the smallest whether a point is a
minimum. The simplest instance:

>>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
>>> pairs = extreme_eigenpairs(bowl, jnp.ones(2), key=jax.random.key(0), largest=1, smallest=1)
>>> pairs.values.tolist(), EigenpairsStatus(int(pairs.status)).name
([10.0, 1.0], 'CONVERGED')

Up to 512 parameters the whole matrix is taken; above, only products with it (see `block_lanczos`).
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

DENSE = 512  # parameters up to which the whole matrix is taken
# Rounding of a product H v, in units of eps |H| |v|: 10 times what was seen at the digit network.
ROUNDING = 8


class EigenpairsStatus(IntEnum):
    """Whether an iteration reached its tolerance."""

    CONVERGED = 0
    TOLERANCE_NOT_REACHED = 1
    NOT_FINITE = 2

    @property
    def label(self) -> str:
        """For tables: "tolerance not reached"."""
        return self.name.lower().replace("_", " ")


class Eigenpairs(NamedTuple):
    """Eigenvalues from the ends of a spectrum.

    Args:
        values: the largest, descending, then the smallest, descending: the last is the smallest.
        vectors: a tree like the parameters with a leading axis of k; each has length 1.
        residuals: upper bounds of |H v - value v|: from products with H, plus rounding. An
            eigenvalue lies within it of the value. That no other lies further out is likely, since
            there are several random starts, but not proven.
        norm: largest |eigenvalue| found, the operator's norm.
        status: a `EigenpairsStatus`.
        num_hvps: products with the operator that were taken.
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

    Products go on until every residual is at most `rtol` times the operator's norm, for at
    most `max_steps` restarts. Up to 512 parameters the dense matrix is decomposed instead.

    Args:
        operator: a linear operator, such as `GaussNewtonOperator(problem, params)`; or a Problem or
            a cost, `cost(params, batch)` with data, `cost(params)` without, for its Hessian.
        params: the point, with a problem. Parameters of fewer than 32 bits are computed with in
            float32.
        key: for the random starts.
        data: instead of the problem's own.
        largest: how many from the upper end.
        smallest: how many from the lower end.
        rtol: tolerance of residuals, relative to the largest |eigenvalue|.
        max_steps: restarts of the block Lanczos method, a few dozen products each.

    Returns:
        The eigenpairs. Failure is in `status`: a tolerance that was not reached, a Hessian that is
        not finite.

    Raises:
        InputError: no eigenvalue requested, or more than the operator has; a tolerance that is not
            above 0; no steps; no random key.

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
    """Return residuals of unit vectors, with what the rounding of products may have hidden."""
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
