"""How sharply the cost bends along a descent.

    sharpness = largest eigenvalue of the Hessian;   descent is stable below 2 / learning_rate

How sharp it may be for a learning rate: `thresholds`. The most positive of two curvatures:

>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: 2 * w[0] ** 2 - 9 * w[1] ** 2)
>>> measure = sharpness(bowl)
>>> value, memory = measure.function(jnp.ones(2), None, measure.init(jnp.ones(2), None))
>>> float(value)
4.0

Source: Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge of
Stability*, arXiv 2103.00065.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.geometry import jacobi, krylov
from gdjax.geometry.products import dense, flat_product, with_data, without_data
from gdjax.geometry.spectrum import ROUNDING
from gdjax.problems.evaluation import frozen
from gdjax.problems.problem import Measure, Problem, as_problem, declared, given_to

# Four powers of the Hessian on two vectors follow a descent's sharpness within one round mostly.
SPACE = krylov.Sizes(upper=krylov.BLOCK, lower=0, basis=8)
RESTARTS = 19


class Warm(NamedTuple):
    """What the next estimate starts from.

    Args:
        vectors: approximate eigenvectors of the largest eigenvalues, the largest first; none where
            the whole Hessian is taken.
        residual: |H v - sharpness v| of the last estimate, v its eigenvector of length 1.
        products: products of the Hessian and a vector, all estimates taken together.
        drawn: how often random directions were drawn.
    """

    vectors: Float[Array, "n together"]
    residual: Float[Array, ""]
    products: Int[Array, ""]
    drawn: Int[Array, ""]


def sharpness(
    problem: Problem | Callable, *, data: PyTree = None, every: int = 1, tolerance: float = 1e-3
) -> Measure:
    """The Hessian's largest eigenvalue along a descent, each estimate begun from the one before.

        sharpness = max v^T H v over |v| = 1,   H = grad grad C over the whole training set

    It is the most positive eigenvalue, however negative others are, by block Lanczos (`krylov`)
    from the two eigenvectors found last, the second blended with a random direction so that an
    eigenvector that rises from elsewhere is seen, too. It goes on until |H v - sharpness v| <=
    tolerance |sharpness| (or is rounding). So an eigenvalue lies within that distance, and the
    error is of the order of its square over the gap to the next one. That no other is larger is
    likely, not proven. Up to 8 parameters the whole Hessian is taken. The number is NaN where 19
    restarts are not enough or nothing is finite. On CPUs no LAPACK is called, so that runs on
    several devices cannot wait for each other in it.

    Args:
        problem: whose deterministic cost, over its data. Keywords of the cost can be swept; a
            state that the cost carries is the run's own at each estimate.
        data: instead of the problem's own.
        every: records from one estimate to the next.
        tolerance: of the residual, relative to the sharpness.

    Returns:
        A measure for `descend(..., measures=...)` and `sweep(..., measures=...)`. An estimate costs
        8 products of the Hessian and a vector where little has changed, and 6 for each restart.

    Raises:
        InputError: a tolerance that is not above 0.

    Source: Cohen et al. 2021, arXiv 2103.00065.
    """
    if not 0 < tolerance < jnp.inf:
        raise InputError(f"sharpness: tolerance = {tolerance!r}, expected a number above 0")
    problem = as_problem(problem, data)
    return Measure(
        _Sharpness(without_data(problem), float(tolerance)),
        data=problem.data,
        every=every,
        init=_cold,
        long_name="sharpness, the Hessian's largest eigenvalue",
    )


@dataclass(frozen=True)
class _Sharpness:
    """`(params, data, memory, **settings) -> (sharpness, memory)`, with the cost's keywords.

    Args:
        without_data: the problem as a tree without leaves, so that measures of one problem are one
            program.
        tolerance: of the residual.
    """

    without_data: Any
    tolerance: float

    def __call__(self, params, data, memory, **settings):
        problem = frozen(with_data(self.without_data, data), **settings)
        return follow(problem, params, memory, tolerance=self.tolerance)

    @property
    def __signature__(self):
        problem = with_data(self.without_data, None)
        cost = problem.cost if problem.evaluation is None else problem.evaluation
        place, keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        defaults = declared(problem.cost)
        if "state" in given_to(cost):
            defaults["state"] = None
        return inspect.Signature(
            [
                *(inspect.Parameter(name, place) for name in ("params", "data", "memory")),
                *(inspect.Parameter(name, keyword, default=v) for name, v in defaults.items()),
            ]
        )


def _cold(params: PyTree, data: Any) -> Warm:
    """The memory before the first estimate: random directions."""
    size = ravel_pytree(params)[0].size
    dtype = cost_type(params)
    count = krylov.BLOCK if size > SPACE.basis else 0
    return Warm(
        vectors=_random(jnp.zeros((), jnp.int32), (size, count), dtype),
        residual=jnp.full((), jnp.inf, dtype),
        products=jnp.zeros((), jnp.int32),
        drawn=jnp.ones((), jnp.int32),
    )


def _key(drawn):
    # Which directions does not matter to an eigenvalue that is known to a tolerance: they are the
    # same for every run and every caller, and no key of its own is asked for.
    return jax.random.fold_in(jax.random.key(0), drawn)


def _random(drawn, shape, dtype):
    """Directions of length near 1, one a column."""
    return jax.random.normal(_key(drawn), shape, dtype) / jnp.sqrt(jnp.asarray(shape[0], dtype))


def follow(
    problem: Problem, params: PyTree, memory: Warm, *, tolerance: float = 1e-3
) -> tuple[Float[Array, ""], Warm]:
    """The sharpness at a point, from the eigenvectors at a point nearby; see `sharpness`.

    Args:
        problem: whose deterministic cost, over its data.
        params: the point.
        memory: of the estimate before.
        tolerance: of the residual, relative to the sharpness.

    Returns:
        The sharpness, NaN where it was not found, and the memory for the next point.
    """
    flat, dtype = ravel_pytree(params)[0], memory.residual.dtype
    exact = flat_product(problem, params)

    def product(vector):
        return exact(vector.astype(flat.dtype)).astype(dtype)

    def allowed(values, norm):
        return tolerance * jnp.abs(values) + ROUNDING * jnp.finfo(dtype).eps * norm

    if flat.size <= SPACE.basis:
        matrix = dense(product, flat.astype(dtype))
        values, vectors = jacobi.eigh(matrix)
        top, block = vectors[:, -1], memory.vectors
        rest = jnp.matmul(matrix, top, precision="highest") - values[-1] * top
        value, residual, products = values[-1], jnp.linalg.norm(rest), flat.size
        norm = jnp.max(jnp.abs(values))
    else:
        elsewhere = _random(memory.drawn, (flat.size,), dtype)
        ritz = krylov.extremes(
            product,
            jnp.ones(flat.size, dtype),
            _key(memory.drawn + 1),
            largest=1,
            smallest=0,
            tolerance=allowed,
            restarts=RESTARTS,
            block=memory.vectors.at[:, 1].add(elsewhere),
            space=SPACE,
        )
        value, residual, products = ritz.values[0], ritz.residuals[0], ritz.products
        block, norm = ritz.block, ritz.norm
    finite = jnp.isfinite(value) & jnp.isfinite(residual)
    reached = finite & (residual <= allowed(value, norm))
    # A run that left the numbers must not take its eigenvector along.
    block = jnp.where(finite, block, memory.vectors)
    memory = Warm(block, residual, memory.products + products, memory.drawn + 2)
    return jnp.where(reached, value, jnp.nan), memory
