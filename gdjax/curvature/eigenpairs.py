"""Eigenpairs of the Hessian with error bounds.

    H v = lambda v + residual,   |v| = 1,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue limits the stable learning rates, and the smallest shows whether a critical
point is a minimum.

Up to 512 parameters the dense matrix is decomposed. For more, only Hessian-vector products are
computed (see `eigensolvers`).
"""

import contextlib
from collections.abc import Callable, Generator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.base import arrays, progress
from gdjax.base.arguments import check_limits, is_traced, is_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Count, Positive
from gdjax.base.reprs import fields
from gdjax.base.status import Status
from gdjax.curvature import eigensolvers
from gdjax.curvature.operators import HessianOperator, SymmetricOperator, as_operator
from gdjax.problems.problem import Problem

DENSE = 512  # maximum number of parameters for which the dense matrix is decomposed
# Rounding error of a product H v in units of eps |H| |v|: 10 times the value measured for the digit
# network.
ROUNDING = 8


class EigenpairsStatus(Status):
    """Status of the computation of eigenpairs."""

    CONVERGED = 0
    TOLERANCE_NOT_REACHED = 1
    NOT_FINITE = 2


ARRAYS = {
    "values": arrays.Array("eigenvalue of the Hessian", ("end",)),
    "residuals": arrays.Array("|H v - eigenvalue v|", ("end",)),
    "status": arrays.Array("status of the eigenpairs", (), codes=EigenpairsStatus),
    "num_hvps": arrays.Array("products with the Hessian"),
}
"""What `gd.measure` stores of eigenpairs."""


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

    __repr__, _repr_html_ = fields
    arrays = ARRAYS


def extreme_eigenpairs(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    largest: int = 1,
    smallest: int = 0,
    operator: Callable[..., SymmetricOperator] = HessianOperator,
    rtol: ScalarLike = 1e-3,
    max_steps: int = 100,
) -> Eigenpairs:
    """Return the largest and smallest eigenpairs of a Hessian, with residuals.

    The iteration ends when every residual is at most `rtol` times the operator's norm, or after
    `max_steps` restarts. Up to 512 parameters the dense matrix is decomposed instead. For more, the
    time is that of a few dozen to a few thousand Hessian-vector products; outside a jitted
    function, a progress bar appears after two seconds.

    Args:
        problem: a Problem, or a cost `cost(params)`.
        params: parameters at which to take the Hessian. Types of fewer than 32 bits are converted
            to float32.
        key: key for the random starts.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        operator: operator of a problem and parameters, such as `GaussNewtonOperator` or
            `functools.partial(HessianOperator, layer="0")`; for `FunctionOperator`, the first
            arguments are its function and a pytree like its vectors.
        rtol: tolerance of the residuals, relative to the largest |eigenvalue|.
        max_steps: maximum number of restarts of block Lanczos, each of a few dozen products.

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
    check_limits("extreme_eigenpairs: rtol", rtol, Positive)
    check_limits("extreme_eigenpairs: max_steps", max_steps, Count)
    matrix = as_operator("extreme_eigenpairs", operator, problem, params)
    like = matrix.like
    flat, unravel = ravel_pytree(like)
    are_whole = is_whole(largest) and is_whole(smallest)
    if not are_whole or not 1 <= largest + smallest <= flat.size:
        raise InputError(
            f"extreme_eigenpairs: largest = {largest} and smallest = {smallest}, expected a total "
            f"of 1 to {flat.size}, the number of parameters"
        )
    if flat.size <= DENSE:
        dense = matrix.as_matrix()
        pairs = jnp.linalg.eigh(dense)
        ritz = eigensolvers.dense_ritz_pairs(dense, pairs, largest, smallest)
    else:
        upper, lower, size = eigensolvers.sizes(largest, smallest)
        max_evaluations = (size + max_steps * (size - upper - lower)) // eigensolvers.BLOCK
        with products_with_bar(matrix, key, max_evaluations) as product:
            ritz = eigensolvers.extreme_ritz_pairs(
                product,
                jnp.ones_like(flat),
                key,
                largest=largest,
                smallest=smallest,
                tolerance=lambda _, norm: norm * rtol,
                max_restarts=max_steps,
            )
    residuals = ritz.residuals + ROUNDING * jnp.finfo(ritz.residuals.dtype).eps * ritz.norm
    finite = jnp.all(jnp.isfinite(residuals)) & jnp.isfinite(ritz.norm)
    exact = (jnp.max(residuals) <= rtol * ritz.norm) | (ritz.norm == 0)
    converged, not_reached, not_finite = EigenpairsStatus
    status = jnp.where(exact, converged, not_reached)
    status = jnp.where(finite, status, not_finite).astype(jnp.int32)
    return Eigenpairs(
        values=ritz.values,
        vectors=jax.tree.map(
            lambda vector, leaf: vector.astype(jnp.result_type(leaf)),
            jax.vmap(unravel, in_axes=1)(ritz.vectors),
            params if jax.tree.structure(params) == jax.tree.structure(like) else like,
        ),
        residuals=residuals,
        norm=ritz.norm,
        status=status,
        num_hvps=ritz.num_hvps,
    )


@contextlib.contextmanager
def products_with_bar(
    operator: SymmetricOperator, key: Key[Array, ""], total: int
) -> Generator[Callable]:
    """Yield the operator's `flat_mv`, whose evaluations advance a progress bar.

    Evaluations in compiled loops are counted, too, at most `total`; those of a vmapped product
    count once. If the key or an array of the operator is traced, the computation runs later, and
    there is no bar.
    """
    if any(map(is_traced, jax.tree.leaves((operator, key)))):
        yield operator.flat_mv
        return
    with progress.bar(total=total, unit="step") as bar:

        def product(vector):
            jax.debug.callback(bar.update)
            return operator.flat_mv(vector)

        yield product
        jax.effects_barrier()  # until the last evaluation has been counted
