"""Extreme eigenvalues of a symmetric operator by thick-restart block Lanczos.

    basis S of V, A V, A^2 V, ...,   S^T A S y = theta y,   A (S y) = theta S y + residual

The block V starts as two random vectors, so that both copies of a double eigenvalue are found. A
single vector would find only one. If equal eigenvalues fill the block and more are requested, a new
random block finds further copies. Two products computed together share the samples and the
activations of a network. Wider blocks are faster still for a single network, but they need more
products in total and slow down 16 networks in one program.

If the eigenvectors of a similar operator are known, the block starts from them. This is how the
sharpness is tracked along a descent with a few products per estimate.

The basis is kept orthonormal to rounding. If the operator maps it into itself (the identity, a
matrix of low rank), random directions extend it. The images A S are stored as well: Ritz values are
computed from S^T (A S) and residuals from A S, not from a recurrence.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, ScalarLike

from gdjax.curvature import jacobi_eigh

Product = Callable[[Float[Array, " n"]], Float[Array, " n"]]
# Function from Ritz values and the operator's norm to the largest acceptable residuals.
Allowed = Callable[[Float[Array, " k"], Float[Array, ""]], Float[Array, "..."]]

BLOCK = 2  # vectors in the block
ROUND = 20  # minimum number of products between restarts
PASSES = 4  # maximum number of orthogonalization passes


class Sizes(NamedTuple):
    """Numbers of vectors in the basis and of those kept at a restart.

    Args:
        upper: number of Ritz vectors kept at the upper end, a multiple of the block width.
        lower: number of Ritz vectors kept at the lower end, a multiple of the block width.
        basis: number of vectors in the basis, a multiple of the block width.
    """

    upper: int
    lower: int
    basis: int


class Ritz(NamedTuple):
    """Ritz pairs of a Krylov space at the ends of the spectrum.

    Args:
        values: largest Ritz values, descending, then the smallest, descending; the last is the
            smallest.
        vectors: Ritz vectors of length 1, one per column.
        residuals: residual norms |A v - value v|, computed from the images of the basis.
        norm: largest |Ritz value| of all rounds, a lower bound of the operator's norm.
        num_hvps: number of products with the operator.
        block: first kept vectors, a start block for a similar operator.
    """

    values: Float[Array, " k"]
    vectors: Float[Array, "n k"]
    residuals: Float[Array, " k"]
    norm: Float[Array, ""]
    num_hvps: Int[Array, ""]
    block: Float[Array, "n b"]


class _Basis(NamedTuple):
    """Orthonormal columns, their images, the next block and a key for random vectors."""

    columns: Float[Array, "n m"]
    images: Float[Array, "n m"]
    block: Float[Array, "n b"]
    key: Key[Array, ""]


class _RitzPairs(NamedTuple):
    """Kept Ritz pairs: requested ones are first (upper end) and last (lower end)."""

    values: Float[Array, " kept"]
    vectors: Float[Array, "n kept"]
    images: Float[Array, "n kept"]
    residuals: Float[Array, " kept"]
    norm: Float[Array, ""]


class _State(NamedTuple):
    """State of the iteration; the first round is the start, all others are restarts."""

    basis: _Basis
    kept: _RitzPairs
    norm: Float[Array, ""]
    rounds: Int[Array, ""]
    done: Bool[Array, ""]


def sizes(largest: int, smallest: int) -> Sizes:
    """Return the numbers of vectors for a search from random vectors.

    Examples:
        >>> tuple(sizes(largest=10, smallest=0)), tuple(sizes(largest=1, smallest=1))
        ((12, 0, 40), (4, 4, 28))
    """
    # A few vectors more than requested make restarts converge faster.
    upper, lower = ((-(-k // BLOCK) + 1) * BLOCK if k else 0 for k in (largest, smallest))
    kept = upper + lower
    return Sizes(upper, lower, kept + max(ROUND, 2 * kept + 4))


def extreme_ritz_pairs(
    product: Product,
    mask: Float[Array, " n"],
    key: Key[Array, ""],
    *,
    largest: int,
    smallest: int,
    tolerance: ScalarLike | Allowed,
    max_steps: int,
    block: Float[Array, "n b"] | None = None,
    space: Sizes | None = None,
) -> Ritz:
    """Return Ritz pairs at the ends of the spectrum, converged to a tolerance.

    Args:
        product: symmetric linear function v -> A v, which is mapped over blocks of vectors.
        mask: 1 at coordinates of the search, 0 at excluded coordinates, which A maps to zero.
        key: key for the random vectors.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        tolerance: bound on the residuals relative to the operator's norm; or a function of the Ritz
            values and the norm that returns the bounds.
        max_steps: maximum number of restarts. Fewer are made if the tolerance is reached or a value
            is not finite.
        block: first block, such as `Ritz.block` of a similar operator; None for two random vectors.
        space: sizes that replace `sizes(largest, smallest)`, multiples of the block's width.
    """
    upper, lower, size = space or sizes(largest, smallest)
    width = BLOCK if block is None else block.shape[1]
    count = upper + lower
    ends = jnp.array([*range(size - 1, size - 1 - upper, -1), *range(lower - 1, -1, -1)])
    wanted = jnp.array([*range(largest), *range(count - smallest, count)])
    products = jax.vmap(product, in_axes=1, out_axes=1)

    def allowed(values, norm):
        return tolerance(values, norm) if callable(tolerance) else tolerance * norm

    def random(key):
        return jax.random.normal(key, (mask.size, width), mask.dtype) * mask[:, None]

    def expand(basis, first):
        """Fill the basis from its block number `first`."""

        def add(number, basis):
            key, key_noise = jax.random.split(basis.key)
            images = products(basis.block)
            columns = _put(basis.columns, basis.block, number * width)
            # Rounding would determine an image without a new direction, so add noise to it.
            length = jnp.linalg.norm(images) * jnp.finfo(mask.dtype).eps
            noise = random(key_noise) * (jnp.where(length > 0, length, 1) / mask.size**0.5)
            return _Basis(
                columns,
                _put(basis.images, images, number * width),
                _orthonormal(images + noise, columns),
                key,
            )

        return jax.lax.fori_loop(first, size // width, add, basis)

    def ritz(basis):
        """Return Ritz pairs at the ends of the spectrum, with images and residuals."""
        matrix = basis.columns.T @ basis.images
        values, small = jacobi_eigh.eigh((matrix + matrix.T) / 2)
        vectors, images = (a @ small[:, ends] for a in (basis.columns, basis.images))
        residuals = jnp.linalg.norm(images - values[ends][None] * vectors, axis=0)
        return _RitzPairs(values[ends], vectors, images, residuals, jnp.max(jnp.abs(values)))

    def is_converged(kept, norm):
        return jnp.all(kept.residuals[wanted] <= allowed(kept.values[wanted], norm))

    def may_hide_copies(values, norm):
        """Return whether equal eigenvalues fill a block, which may hide more copies."""
        upper, lower = values[:largest], -values[count - smallest :][::-1]
        gaps = [end[:-width] - end[width - 1 : -1] for end in (upper, lower) if len(end) > width]
        nearest = jnp.min(jnp.concatenate([*gaps, jnp.full(1, jnp.inf)]))
        return nearest <= jnp.max(allowed(values[wanted], norm))

    def cond_fun(state):
        finite = jnp.isfinite(jnp.max(state.kept.residuals)) & jnp.isfinite(state.norm)
        return (state.rounds == 0) | (finite & ~state.done & (state.rounds <= max_steps))

    def body_fun(state):
        """Extend the kept vectors (none at first) to a basis and return its Ritz pairs."""
        basis, kept = state.basis, state.kept
        is_restart = state.rounds > 0
        empty = jnp.zeros_like(basis.columns)
        columns, images = (_put(empty, a, 0) for a in (kept.vectors, kept.images))
        key, key_fresh = jax.random.split(basis.key)
        # The residuals of the kept vectors span a space of the width of a block, so random mixtures
        # of them continue the Krylov space. A random block finds directions outside this space.
        from_random = is_restart & is_converged(kept, state.norm)
        mixture = jax.random.normal(key_fresh, (count, width), mask.dtype)
        left = (kept.images - kept.values[None] * kept.vectors) @ mixture
        block = jnp.where(from_random, random(key_fresh), jnp.where(is_restart, left, basis.block))
        block = _orthonormal(block, columns)
        basis = _Basis(columns, images, block, jnp.where(is_restart, key, basis.key))
        basis = expand(basis, jnp.where(is_restart, count // width, 0))
        kept = ritz(basis)
        norm = jnp.maximum(state.norm, kept.norm)
        moved = jnp.abs(kept.values - state.kept.values)[wanted]
        same = from_random & jnp.all(moved <= allowed(kept.values[wanted], norm))
        done = is_converged(kept, norm) & (same | ~may_hide_copies(kept.values, norm))
        return _State(basis, kept, norm, state.rounds + 1, done)

    key_start, key_noise = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        zeros = jnp.zeros((mask.size, size), mask.dtype)
        none, zero = zeros[:, :count], jnp.zeros((), mask.dtype)
        state = _State(
            _Basis(zeros, zeros, random(key_start) if block is None else block, key_noise),
            _RitzPairs(
                jnp.zeros(count, mask.dtype), none, none, jnp.zeros(count, mask.dtype), zero
            ),
            norm=zero,
            rounds=jnp.zeros((), jnp.int32),
            done=jnp.array(False),
        )
        _, kept, norm, rounds, _ = jax.lax.while_loop(cond_fun, body_fun, state)
    return Ritz(
        kept.values[wanted],
        kept.vectors[:, wanted],
        kept.residuals[wanted],
        norm,
        size + (rounds - 1) * (size - count),
        kept.vectors[:, :width],
    )


def _put(columns, block, at):
    return jax.lax.dynamic_update_slice_in_dim(columns, block, at, 1)


def _orthonormal(block, columns):
    """Return the block, orthonormal and orthogonal to the columns (Gram-Schmidt).

    Passes end when the components that one of them removes are small. Two passes are enough unless
    only rounding is left. QR by LAPACK took longer than the product with the operator.
    """
    close = jnp.sqrt(jnp.finfo(block.dtype).eps)

    def cond_fun(state):
        _, good, passes = state
        return ~good & (passes < PASSES)

    def make_orthonormal(state):
        block, _, passes = state
        along = columns.T @ block
        rest, length = _unit(block - columns @ along)
        good = jnp.all(jnp.abs(along) <= close * length)
        done = rest[:, :1]
        for number in range(1, block.shape[1]):
            one = rest[:, number : number + 1]
            one, left = _unit(one - done @ (done.T @ one))
            good &= left[0, 0] > 0.5
            done = jnp.concatenate([done, one], axis=1)
        return done, good, passes + 1

    return jax.lax.while_loop(cond_fun, make_orthonormal, (block, jnp.array(False), 0))[0]


def _unit(vectors):
    """Return the columns scaled to length 1, and their original lengths."""
    length = jnp.linalg.norm(vectors, axis=0, keepdims=True)
    return vectors / jnp.where(length > 0, length, 1), length
