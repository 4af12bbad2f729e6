"""The ends of the Hessian's spectrum, with vectors and with how far each is from being exact.

    H v = lambda v + residual,   an eigenvalue of H lies within |residual| of lambda

The largest eigenvalue decides which learning rates can work, the smallest whether a point is a
minimum. The simplest instance:

>>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
>>> pairs = extreme_eigenpairs(bowl, jnp.ones(2), key=jax.random.key(0), largest=1, smallest=1)
>>> pairs.values.tolist(), Convergence(int(pairs.status)).name
([10.0, 1.0], 'CONVERGED')

Up to 512 parameters the whole matrix is taken; above, only products with it (see `block_lanczos`).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.curvature import block_lanczos
from gdjax.curvature.operators import dense, flat_product
from gdjax.errors import InputError
from gdjax.problems.evaluation import restricted
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import ravel_params
from gdjax.summaries import fields

DENSE = 512  # parameters up to which the whole matrix is taken
# Rounding of a product H v, in units of eps |H| |v|: 10 times what was seen at the digit network.
ROUNDING = 8


class Convergence(IntEnum):
    """Whether an iteration reached its tolerance."""

    CONVERGED = 0
    TOLERANCE_NOT_REACHED = 1
    NOT_FINITE = 2

    @property
    def label(self) -> str:
        """For tables: "tolerance not reached"."""
        return self.name.lower().replace("_", " ")


class Eigenpairs(NamedTuple):
    """Eigenvalues from the ends of a Hessian's spectrum.

    Args:
        values: the largest, falling, then the smallest, falling: the last is the smallest.
        vectors: a tree like the parameters with a leading axis of k; each has length 1.
        residuals: at least |H v - value v|: from products with H, plus what rounding may have
            hidden. An eigenvalue lies that close to the value; that no other lies further out is
            likely (there were several random starts), not proven.
        norm: largest |eigenvalue| seen, the operator's norm.
        status: a `Convergence`.
        products: Hessian-vector products that were taken.
    """

    values: Float[Array, " k"]
    vectors: PyTree
    residuals: Float[Array, " k"]
    norm: Float[Array, ""]
    status: Int[Array, ""]
    products: Int[Array, ""]

    __repr__ = fields


class Layer(NamedTuple):
    """A problem as one of some parameters alone, the others held where they are.

    Args:
        problem: whose cost is a function of these parameters.
        params: their values.
    """

    problem: Problem
    params: PyTree

    __repr__ = fields


def extreme_eigenpairs(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    largest: int = 1,
    smallest: int = 0,
    tolerance: ScalarLike = 1e-3,
    restarts: int = 100,
) -> Eigenpairs:
    """The largest and smallest eigenvalues of the Hessian, with vectors and residuals.

    Products go on until every residual is at most `tolerance` times the operator's norm, or
    `restarts` times. Up to 512 parameters the dense matrix is decomposed instead.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point.
        key: for the random starts.
        data: instead of the problem's own.
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
    flat, unravel = ravel_params(params)
    if min(largest, smallest) < 0 or not 1 <= largest + smallest <= flat.size:
        raise InputError(
            f"extreme_eigenpairs: largest = {largest} and smallest = {smallest}, expected 1 "
            f"to {flat.size} together, the number of parameters"
        )
    product = flat_product(problem, params, data)
    if flat.size <= DENSE:
        ritz = _dense(dense(product, flat), largest, smallest)
    else:
        ritz = block_lanczos.extreme_ritz_pairs(
            product,
            jnp.ones_like(flat),
            key,
            largest=largest,
            smallest=smallest,
            tolerance=tolerance,
            restarts=restarts,
        )
    residuals = with_rounding(ritz.residuals, ritz.norm)
    finite = jnp.all(jnp.isfinite(residuals)) & jnp.isfinite(ritz.norm)
    exact = (jnp.max(residuals) <= tolerance * ritz.norm) | (ritz.norm == 0)
    status = jnp.select(
        [~finite, exact],
        [jnp.int32(Convergence.NOT_FINITE), jnp.int32(Convergence.CONVERGED)],
        jnp.int32(Convergence.TOLERANCE_NOT_REACHED),
    )
    return Eigenpairs(
        values=ritz.values,
        vectors=jax.vmap(unravel, in_axes=1)(ritz.vectors),
        residuals=residuals,
        norm=ritz.norm,
        status=status,
        products=ritz.products,
    )


def with_rounding(residuals: Float[Array, " k"], norm: Float[Array, ""]) -> Float[Array, " k"]:
    """Residuals of unit vectors, and what the rounding of products may have hidden."""
    return residuals + ROUNDING * jnp.finfo(residuals.dtype).eps * norm


def layers(problem: Problem | Callable, params: PyTree) -> dict[str, Layer]:
    """One problem a child of the parameters' root: a layer each, for a network.

    The Hessian of a layer is a diagonal block of the Hessian: `extreme_eigenpairs`,
    `hessian_trace` and `spectral_density` of `layer.problem` at `layer.params` are those of the
    block.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point; an array is its own only layer.

    Examples:
        >>> cost = lambda w: w["a"] ** 2 + 3 * w["a"] * w["b"] + 5 * w["b"] ** 2
        >>> each = layers(cost, {"a": jnp.array(0.0), "b": jnp.array(0.0)})
        >>> {k: float(jax.hessian(part.problem.cost)(part.params)) for k, part in each.items()}
        {'a': 2.0, 'b': 10.0}
    """
    problem = as_problem(problem)
    children, tree = jax.tree.flatten_with_path(params, is_leaf=lambda a: a is not params)

    def layer(number):
        def whole(child):
            others = [child if i == number else other for i, (_, other) in enumerate(children)]
            return jax.tree.unflatten(tree, others)

        return Layer(restricted(problem, whole), children[number][1])

    names = [jax.tree_util.keystr(path, simple=True) or "all" for path, _ in children]
    return {name: layer(number) for number, name in enumerate(names)}


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
