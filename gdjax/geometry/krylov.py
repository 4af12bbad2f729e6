"""Extreme eigenvalues of a symmetric operator by block Lanczos with thick restarts.

    basis S of V, A V, A^2 V, ...,   S^T A S y = theta y,   A (S y) = theta S y + residual

The block V starts as two random vectors, so that both copies of a double eigenvalue are seen; one
vector would see one. Where both places are taken by equal eigenvalues and more are asked for, a
random block starts afresh and finds further copies. Two products together share the samples and the
activations of a network; wider blocks make one network faster still, but need more products in all,
and 16 networks in one program slower.

The basis is kept orthonormal to rounding, and where the operator maps it into itself (the identity,
a matrix of low rank) random directions go on. Its images are kept as well: Ritz values come from
S^T (A S), never from a recurrence, and so do residuals.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, ScalarLike

Product = Callable[[Float[Array, " n"]], Float[Array, " n"]]

BLOCK = 2  # random vectors in the block
ROUND = 20  # products from one restart to the next, at least
PASSES = 4  # of orthogonalisation, at most


class Ritz(NamedTuple):
    """What a Krylov space says about the ends of a spectrum.

    Args:
        values: the largest, falling, then the smallest, falling: the last is the smallest.
        vectors: one a column, of length 1.
        residuals: |A v - value v|, from the products that were taken.
        norm: largest |eigenvalue| seen, a lower bound of the operator's norm.
        products: how many were taken.
    """

    values: Float[Array, " k"]
    vectors: Float[Array, "n k"]
    residuals: Float[Array, " k"]
    norm: Float[Array, ""]
    products: Int[Array, ""]


class _Basis(NamedTuple):
    """Orthonormal columns, their images, the block that comes next, a key for more."""

    columns: Float[Array, "n m"]
    images: Float[Array, "n m"]
    block: Float[Array, "n b"]
    key: Key[Array, ""]


class _Found(NamedTuple):
    """Ritz pairs kept, those wanted first at the upper end and last at the lower."""

    values: Float[Array, " kept"]
    vectors: Float[Array, "n kept"]
    images: Float[Array, "n kept"]
    residuals: Float[Array, " kept"]
    norm: Float[Array, ""]


class _State(NamedTuple):
    """What a restart needs."""

    basis: _Basis
    found: _Found
    norm: Float[Array, ""]
    count: Int[Array, ""]
    done: Bool[Array, ""]


def sizes(largest: int, smallest: int) -> tuple[int, int, int]:
    """Ritz vectors kept at the upper and the lower end, and vectors in the basis.

    Examples:
        >>> sizes(largest=10, smallest=0), sizes(largest=1, smallest=1)
        ((12, 0, 40), (4, 4, 28))
    """
    # A few beside the wanted ones make restarts converge faster.
    upper, lower = ((-(-k // BLOCK) + 1) * BLOCK if k else 0 for k in (largest, smallest))
    kept = upper + lower
    return upper, lower, kept + max(ROUND, 2 * kept + 4)


def extremes(
    product: Product,
    start: Float[Array, " n"],
    key: Key[Array, ""],
    *,
    largest: int,
    smallest: int,
    tolerance: ScalarLike,
    restarts: int,
) -> Ritz:
    """The ends of the spectrum, restarted until every residual is at most `tolerance * norm`.

    Args:
        product: v -> A v, symmetric; it is mapped over blocks of vectors.
        start: 1 where the search goes on, 0 at coordinates that A maps to zero and that are to be
            left out.
        key: for the random vectors.
        largest: eigenvalues wanted at the upper end.
        smallest: at the lower end.
        tolerance: relative to the operator's norm.
        restarts: at most so many; fewer if the tolerance is reached or numbers are not finite.
    """
    upper, lower, size = sizes(largest, smallest)
    kept = upper + lower
    ends = jnp.array([*range(size - 1, size - 1 - upper, -1), *range(lower - 1, -1, -1)])
    wanted = jnp.array([*range(largest), *range(kept - smallest, kept)])
    many = jax.vmap(product, in_axes=1, out_axes=1)

    def random(key):
        return jax.random.normal(key, (start.size, BLOCK), start.dtype) * start[:, None]

    def expand(basis, first):
        """Fill the basis up from its block number `first`."""

        def add(number, basis):
            key, key_noise = jax.random.split(basis.key)
            images = many(basis.block)
            columns = _put(basis.columns, basis.block, number * BLOCK)
            # Where nothing new is left, rounding decides the direction: make it random.
            length = jnp.linalg.norm(images) * jnp.finfo(start.dtype).eps
            noise = random(key_noise) * (jnp.where(length > 0, length, 1) / start.size**0.5)
            return _Basis(
                columns,
                _put(basis.images, images, number * BLOCK),
                _orthonormal(images + noise, columns),
                key,
            )

        return jax.lax.fori_loop(first, size // BLOCK, add, basis)

    def ritz(basis):
        """Ritz pairs at the ends of the spectrum, with their images and residuals."""
        matrix = basis.columns.T @ basis.images
        values, small = jnp.linalg.eigh((matrix + matrix.T) / 2)
        vectors, images = (a @ small[:, ends] for a in (basis.columns, basis.images))
        residuals = jnp.linalg.norm(images - values[ends][None] * vectors, axis=0)
        return _Found(values[ends], vectors, images, residuals, jnp.max(jnp.abs(values)))

    def crowded(values, norm):
        """Whether equal eigenvalues take all the places that a block has for them."""
        upper, lower = values[:largest], -values[kept - smallest :][::-1]
        gaps = [end[:-BLOCK] - end[BLOCK - 1 : -1] for end in (upper, lower) if len(end) > BLOCK]
        return jnp.any(jnp.concatenate([*gaps, jnp.full(1, jnp.inf)]) <= tolerance * norm)

    def going_on(state):
        worst = jnp.max(state.found.residuals)
        finite = jnp.isfinite(worst) & jnp.isfinite(state.norm)
        return finite & ~state.done & (state.count < restarts)

    def restart(state):
        basis, found = state.basis, state.found
        empty = jnp.zeros_like(basis.columns)
        columns, images = (_put(empty, a, 0) for a in (found.vectors, found.images))
        key, key_fresh = jax.random.split(basis.key)
        # Residuals of all kept vectors lie in the next block; a fresh one looks elsewhere.
        fresh = exact(found, state.norm)
        block = jnp.where(fresh, _orthonormal(random(key_fresh), columns), basis.block)
        basis = expand(_Basis(columns, images, block, key), kept // BLOCK)
        found = ritz(basis)
        norm = jnp.maximum(state.norm, found.norm)
        moved = jnp.max(jnp.abs(found.values - state.found.values)[wanted])
        same = fresh & (moved <= tolerance * norm)
        done = exact(found, norm) & (same | ~crowded(found.values, norm))
        return _State(basis, found, norm, state.count + 1, done)

    def exact(found, norm):
        return jnp.max(found.residuals[wanted]) <= tolerance * norm

    key_start, key_noise = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        empty = jnp.zeros((start.size, size), start.dtype)
        first = _orthonormal(random(key_start), empty)
        basis = expand(_Basis(empty, empty, first, key_noise), 0)
        found = ritz(basis)
        done = exact(found, found.norm) & ~crowded(found.values, found.norm)
        state = _State(basis, found, found.norm, jnp.zeros((), jnp.int32), done)
        _, found, norm, count, _ = jax.lax.while_loop(going_on, restart, state)
    values, vectors, _, residuals, _ = found
    return Ritz(
        values[wanted],
        vectors[:, wanted],
        residuals[wanted],
        norm,
        size + count * (size - kept),
    )


def _put(columns, block, at):
    return jax.lax.dynamic_update_slice_in_dim(columns, block, at, 1)


def _orthonormal(block, columns):
    """The block made orthogonal to orthonormal columns and in itself.

    A pass that finds little along the columns, and the block nearly orthonormal, is the last: twice
    is enough, except where nothing but rounding is left. The inverse root of a small Gram matrix is
    all matrix products; LAPACK's QR took longer than the operator.
    """
    eps = jnp.finfo(block.dtype).eps

    def again(state):
        block, _, passes = state
        along = columns.T @ block
        rest = block - columns @ along
        length = jnp.linalg.norm(rest, axis=0, keepdims=True)
        rest = rest / jnp.where(length > 0, length, 1)
        values, vectors = jnp.linalg.eigh(rest.T @ rest)
        good = jnp.all(jnp.abs(along) <= jnp.sqrt(eps) * length) & (values[0] > 0.5)
        return rest @ (vectors / jnp.sqrt(jnp.maximum(values, 10 * eps))[None]), good, passes + 1

    def unfinished(state):
        _, good, passes = state
        return ~good & (passes < PASSES)

    return jax.lax.while_loop(unfinished, again, (block, jnp.array(False), 0))[0]
