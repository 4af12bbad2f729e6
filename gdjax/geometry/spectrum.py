"""The ends of the Hessian's spectrum, with vectors and with how far each is from being exact.

    H v = lambda v + residual,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue decides which learning rates can work, the smallest whether a point is a
minimum. The simplest instance:

>>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
>>> found = extremes(bowl, jnp.ones(2), key=jax.random.key(0), largest=1, smallest=1)
>>> found.values.tolist(), STATUSES[int(found.status)]
([10.0, 1.0], 'converged')

Up to 512 parameters the whole matrix is taken; above, only products with it (see `krylov`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.errors import InputError
from gdjax.geometry import krylov
from gdjax.geometry.products import dense, flat_product, raveled

DENSE = 512  # parameters up to which the whole matrix is taken
# Rounding of a product H v, in units of eps |H| |v|: 10 times what was seen at the digit network.
ROUNDING = 8

STATUSES = ("converged", "tolerance not reached", "not finite")


class Eigenpairs(NamedTuple):
    """Eigenvalues from the ends of a Hessian's spectrum.

    Args:
        values: the largest, falling, then the smallest, falling: the last is the smallest.
        vectors: a tree like the parameters with a leading axis of k; each has length 1.
        residuals: at least |H v - value v|: from products with H, plus what rounding may have
            hidden. An eigenvalue lies that close to the value; that no other lies further out is
            likely (there were several random starts), not proven.
        norm: largest |eigenvalue| seen, the operator's norm.
        status: position in `STATUSES`.
        products: Hessian-vector products that were taken.
    """

    values: Float[Array, " k"]
    vectors: PyTree
    residuals: Float[Array, " k"]
    norm: Float[Array, ""]
    status: Int[Array, ""]
    products: Int[Array, ""]


class Part(NamedTuple):
    """The cost as a function of some parameters alone, the others held where they are.

    Args:
        cost: `cost(params, batch) -> scalar`, or `cost(params)`, of these parameters.
        params: their values.
    """

    cost: Callable
    params: PyTree


def extremes(
    cost: Callable,
    params: PyTree,
    data: PyTree = None,
    *,
    key: Key[Array, ""],
    largest: int = 1,
    smallest: int = 0,
    tolerance: ScalarLike = 1e-3,
    restarts: int = 100,
) -> Eigenpairs:
    """The largest and smallest eigenvalues of the Hessian, with vectors and residuals.

    Products go on until every residual is at most `tolerance` times the operator's norm, or
    `restarts` times. Up to 512 parameters the dense matrix is decomposed instead.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point.
        data: a pytree of arrays with a leading sample axis, or None.
        key: for the random starts.
        largest: how many from the upper end.
        smallest: how many from the lower end.
        tolerance: of residuals, relative to the largest |eigenvalue|.
        restarts: how often products may go on, each time for a few dozen.

    Returns:
        The eigenpairs. Failure is in `status`: a tolerance that was not reached, a Hessian that is
        not finite.

    Raises:
        InputError: no eigenvalue asked for, or more than there are.

    Source: Golub and Underwood 1977, *The block Lanczos method*; Wu and Simon 2000, *Thick-restart
    Lanczos method*.
    """
    flat, unravel = raveled(params)
    if min(largest, smallest) < 0 or not 1 <= largest + smallest <= flat.size:
        raise InputError(
            f"extremes: largest = {largest} and smallest = {smallest}, expected 1 to {flat.size} "
            f"together, the number of parameters"
        )
    product = flat_product(cost, params, data)
    if flat.size <= DENSE:
        found = _dense(dense(product, flat), largest, smallest)
    else:
        found = krylov.extremes(
            product,
            jnp.ones_like(flat),
            key,
            largest=largest,
            smallest=smallest,
            tolerance=tolerance,
            restarts=restarts,
        )
    residuals = with_rounding(found.residuals, found.norm)
    finite = jnp.all(jnp.isfinite(residuals)) & jnp.isfinite(found.norm)
    exact = jnp.max(residuals) <= tolerance * found.norm
    return Eigenpairs(
        values=found.values,
        vectors=jax.vmap(unravel, in_axes=1)(found.vectors),
        residuals=residuals,
        norm=found.norm,
        status=jnp.where(finite, jnp.where(exact | (found.norm == 0), 0, 1), 2).astype(jnp.int32),
        products=found.products,
    )


def with_rounding(residuals: Float[Array, " k"], norm: Float[Array, ""]) -> Float[Array, " k"]:
    """Residuals of unit vectors, and what the rounding of products may have hidden."""
    return residuals + ROUNDING * jnp.finfo(residuals.dtype).eps * norm


def parts(cost: Callable, params: PyTree) -> dict[str, Part]:
    """One cost a child of the parameters' root: a layer each, for a network.

    The Hessian of a part is a diagonal block of the Hessian. `extremes`, `trace` and `density` of
    `part.cost` at `part.params` are those of the block.

    Args:
        cost: `cost(params, batch) -> scalar`, or `cost(params)`.
        params: the point; an array is its own only part.

    Examples:
        >>> cost = lambda w: w["a"] ** 2 + 3 * w["a"] * w["b"] + 5 * w["b"] ** 2
        >>> found = parts(cost, {"a": jnp.array(0.0), "b": jnp.array(0.0)})
        >>> {name: float(jax.hessian(part.cost)(part.params)) for name, part in found.items()}
        {'a': 2.0, 'b': 10.0}
    """
    children, tree = jax.tree.flatten_with_path(params, is_leaf=lambda a: a is not params)

    def part(at):
        def of_part(child, *batch):
            whole = [child if i == at else other for i, (_, other) in enumerate(children)]
            return cost(jax.tree.unflatten(tree, whole), *batch)

        return Part(of_part, children[at][1])

    names = [jax.tree_util.keystr(path, simple=True) or "all" for path, _ in children]
    return {name: part(at) for at, name in enumerate(names)}


def _dense(matrix, largest, smallest):
    values, vectors = jnp.linalg.eigh(matrix)
    n = len(values)
    ends = jnp.array([*range(n - 1, n - 1 - largest, -1), *range(smallest - 1, -1, -1)])
    values, vectors = values[ends], vectors[:, ends]
    with jax.default_matmul_precision("highest"):
        rest = matrix @ vectors - values[None] * vectors
    return krylov.Ritz(
        values,
        vectors,
        jnp.linalg.norm(rest, axis=0),
        jnp.max(jnp.abs(values)),
        jnp.array(n, jnp.int32),
    )
