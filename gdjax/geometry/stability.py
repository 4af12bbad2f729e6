"""How sharply the cost bends along a descent, and how sharp it may be for a learning rate.

    sharpness = largest eigenvalue of the Hessian;   descent is stable below 2 / learning_rate

On a bowl of curvature 4, a learning rate of 0.49 is just below the limit and one of 0.51 above it:

>>> float(stability_threshold(0.5))
4.0
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: 2 * w[0] ** 2 - 9 * w[1] ** 2)
>>> measure = sharpness(bowl)
>>> value, state = measure.function(jnp.ones(2), None, measure.init(jnp.ones(2), None))
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
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.geometry.products import hessian_vector_product
from gdjax.problems.problem import Measure, Problem, declared

# Two vectors taken together cost little more than one, since the network is evaluated once for
# both; four powers of the Hessian on them follow a descent's sharpness within one round mostly.
TOGETHER = 2
POWERS = 4
DENSE = TOGETHER * POWERS  # as few parameters as that get their whole Hessian
ROUNDS = 20


class Warm(NamedTuple):
    """What the next estimate starts from.

    Args:
        vectors: approximate eigenvectors of the largest eigenvalues, the largest one last.
        residual: |H v - sharpness v| of the last estimate, v its eigenvector of length 1.
        products: products of the Hessian and a vector, all estimates taken together.
        drawn: how often random directions were drawn.
    """

    vectors: Float[Array, "together n"]
    residual: Float[Array, ""]
    products: Int[Array, ""]
    drawn: Int[Array, ""]


def stability_threshold(
    learning_rate: ArrayLike, momentum: ArrayLike = 0.0, nesterov: bool = False
) -> Float[Array, "..."]:
    """The sharpness above which a descent is unstable on a quadratic cost.

        plain 2 / eta,   heavy ball (2 + 2 b) / eta,   Nesterov (2 + 2 b) / ((1 + 2 b) eta)

    as Optax's `sgd(learning_rate, momentum, nesterov)` steps: v <- b v + g, w <- w - eta v.

    Args:
        learning_rate: eta, > 0; any shape.
        momentum: b, in [0, 1).
        nesterov: whether the gradient is taken ahead.

    Examples:
        >>> float(stability_threshold(0.1, momentum=0.9))
        38.0
        >>> float(stability_threshold(0.1, momentum=0.5, nesterov=True))
        15.0

    Source: Cohen et al. 2021, arXiv 2103.00065.
    """
    rate, b = jnp.asarray(learning_rate, float), jnp.asarray(momentum, float)
    limit = (2 + 2 * b) / rate
    return limit / (1 + 2 * b) if nesterov else limit


def sharpness(problem: Problem, *, every: int = 1, tolerance: float = 1e-3) -> Measure:
    """The Hessian's largest eigenvalue along a descent, each estimate begun from the one before.

        sharpness = max v^T H v over |v| = 1,   H = grad grad C over the whole training set

    It is the most positive eigenvalue, however negative others are. The estimate is the largest
    Ritz value of the Krylov space of two vectors: the eigenvector found last, and the second one,
    blended with a random direction so that an eigenvector that rises from elsewhere is seen, too.
    Rounds of 8 products are repeated until |H v - sharpness v| <= tolerance |sharpness| (or is
    rounding). So an eigenvalue lies within that distance, and the error is of the order of its
    square over the gap to the next one. That no other is larger is likely, not proven. Up to 8
    parameters the whole Hessian is taken. The number is NaN where 20 rounds are not enough or
    nothing is finite.

    Args:
        problem: whose cost, over its data. Keywords of the cost can be swept.
        every: records from one estimate to the next.
        tolerance: of the residual, relative to the sharpness.

    Returns:
        A measure for `descend(..., measures=...)` and `sweep(..., measures=...)`. An estimate costs
        8 products of the Hessian and a vector where little has changed: the time of about 10
        gradients (measured on the digit network).

    Raises:
        InputError: a tolerance that is not above 0.

    Source: Cohen et al. 2021, arXiv 2103.00065; Saad 2011, *Numerical Methods for Large Eigenvalue
    Problems*, chapter 6, on block Krylov methods with restarts.
    """
    if not tolerance > 0:
        raise InputError(f"sharpness: tolerance = {tolerance!r}, expected a number above 0")
    return Measure(
        _Sharpness(problem.cost, float(tolerance)),
        data=problem.data,
        every=every,
        init=_cold,
        long_name="sharpness, the Hessian's largest eigenvalue",
    )


@dataclass(frozen=True)
class _Sharpness:
    """`(params, data, state, **settings) -> (sharpness, state)`, with the cost's keywords."""

    cost: Callable
    tolerance: float

    def __call__(self, params, data, state, **settings):
        def cost(params, *batch):
            return self.cost(params, *batch, **settings)

        return follow(cost, params, data, state, tolerance=self.tolerance)

    @property
    def __signature__(self):
        place, keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return inspect.Signature(
            [
                *(inspect.Parameter(name, place) for name in ("params", "data", "state")),
                *(
                    inspect.Parameter(name, keyword, default=default)
                    for name, default in declared(self.cost).items()
                ),
            ]
        )


def _cold(params: PyTree, data: Any) -> Warm:
    """The state before the first estimate: random directions."""
    size = ravel_pytree(params)[0].size
    dtype = cost_type(params)
    count = size if size <= DENSE else TOGETHER
    return Warm(
        vectors=_random(jnp.zeros((), jnp.int32), (count, size), dtype),
        residual=jnp.full((), jnp.inf, dtype),
        products=jnp.zeros((), jnp.int32),
        drawn=jnp.ones((), jnp.int32),
    )


def _random(drawn, shape, dtype):
    """Directions of length near 1, the same for every run and every caller."""
    # Which ones does not matter to an eigenvalue that is known to a tolerance: no key of its own.
    key = jax.random.fold_in(jax.random.key(0), drawn)
    return jax.random.normal(key, shape, dtype) / jnp.sqrt(jnp.asarray(shape[-1], dtype))


def follow(
    cost: Callable, params: PyTree, data: PyTree, state: Warm, *, tolerance: float = 1e-3
) -> tuple[Float[Array, ""], Warm]:
    """The sharpness at a point, from the eigenvectors at a point nearby; see `sharpness`.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point.
        data: a pytree of arrays with a leading sample axis, or None.
        state: of the estimate before.
        tolerance: of the residual, relative to the sharpness.

    Returns:
        The sharpness, NaN where it was not found, and the state for the next point.
    """
    flat, unravel = ravel_pytree(params)
    dtype = state.vectors.dtype

    def product(vector):
        tangent = unravel(vector.astype(flat.dtype))
        return ravel_pytree(hessian_vector_product(cost, params, tangent, data))[0].astype(dtype)

    count, size = state.vectors.shape
    powers = 1 if size <= DENSE else POWERS

    def again(loop):
        round_number, value, scale, state = loop
        return (round_number < ROUNDS) & ~_reached(value, scale, state.residual, tolerance)

    def improve(loop):
        round_number, _, _, state = loop
        spare = _random(state.drawn, (count * powers, size), dtype)
        values, vectors, residual = _ritz(jax.vmap(product), state.vectors, spare, powers)
        state = Warm(vectors, residual, state.products + count * powers, state.drawn + 1)
        return round_number + 1, values[-1], jnp.max(jnp.abs(values)), state

    blended = state.vectors
    if size > DENSE:
        blended = blended.at[0].add(_random(state.drawn, (size,), dtype))
    begin = state._replace(
        vectors=blended, drawn=state.drawn + 1, residual=jnp.full((), jnp.inf, dtype)
    )
    unknown = jnp.zeros((), dtype)
    _, value, scale, found = jax.lax.while_loop(again, improve, (0, unknown, unknown, begin))
    good = jnp.isfinite(value) & jnp.isfinite(found.residual)
    # A run that left the numbers must not take its eigenvector along.
    kept = found._replace(vectors=jnp.where(good, found.vectors, state.vectors))
    good &= _reached(value, scale, found.residual, tolerance)
    return jnp.where(good, value, jnp.nan), kept


def _reached(value, scale, residual, tolerance):
    """Whether a residual is small enough, or as small as rounding lets it be; or is no number."""
    rounding = 8 * jnp.finfo(residual.dtype).eps * scale
    return ~(residual > tolerance * jnp.abs(value) + rounding)


def _ritz(products: Callable, block: Array, spare: Array, powers: int):
    """The best approximations to the largest eigenvalues in a Krylov space of several vectors.

    Args:
        products: [count, n] vectors to the Hessian's products with them.
        block: [count, n], what the space is spanned by: these, H these, H^2 these ...
        spare: [count * powers, n], random directions, taken where the space cannot grow by itself.
        powers: of H, the identity included.

    Returns:
        All Ritz values, ascending; the vectors of the last `count`; the residual of the last.
    """
    count, size = block.shape
    precise = jax.lax.Precision.HIGHEST

    def outside(vector, basis):
        for _ in range(2):  # once leaves what rounding put back
            inside = jnp.matmul(basis, vector, precision=precise)
            vector = vector - jnp.matmul(inside, basis, precision=precise)
        return vector

    def unit(vector):
        length = jnp.linalg.norm(vector)
        return vector / jnp.where(length > 0, length, 1)

    def add(row, loop):
        basis, block, spare = loop
        given = unit(block[row % count])
        rest = outside(given, basis)
        # What is left of a vector of the space itself is rounding.
        lost = ~(jnp.linalg.norm(rest) > 100 * jnp.finfo(rest.dtype).eps)
        rest = outside(unit(jnp.where(lost, spare[row], rest)), basis)
        return basis.at[row].set(unit(rest)), block, spare

    def power(number, loop):
        basis, images, block = loop
        first = number * count
        basis, _, _ = jax.lax.fori_loop(first, first + count, add, (basis, block, spare))
        image = products(jax.lax.dynamic_slice_in_dim(basis, first, count))
        return basis, jax.lax.dynamic_update_slice_in_dim(images, image, first, 0), image

    empty = jnp.zeros((count * powers, size), block.dtype)
    basis, images, _ = jax.lax.fori_loop(0, powers, power, (empty, empty, block))
    small = jnp.matmul(basis, images.T, precision=precise)
    values, mixes = jnp.linalg.eigh((small + small.T) / 2)
    top = mixes[:, -count:].T
    vectors = jnp.matmul(top, basis, precision=precise)
    image = jnp.matmul(top[-1], images, precision=precise)
    return values, vectors, jnp.linalg.norm(image - values[-1] * vectors[-1])
