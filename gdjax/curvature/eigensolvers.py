"""Eigenvalue solvers: Jacobi rotations and block Lanczos.

    A <- J^T A J until A is diagonal;   basis S of V, A V, A^2 V, ...,   S^T A S y = theta y

On CPUs `jnp.linalg.eigh` calls LAPACK, and two devices of one program that call it at the same time
can deadlock. `eigh` therefore decomposes small matrices by rotations, with JAX operations only.

`extreme_ritz_pairs` computes extreme eigenvalues of a symmetric operator by thick-restart block
Lanczos, from products with it. The block V starts as two random vectors, so that both eigenvectors
of a double eigenvalue are found; a single start vector would give only one. If equal eigenvalues
fill the block and more are requested, a new random block finds further copies. Two products
computed together share the samples and the activations of a network. Wider blocks are even faster
for a single network, but they require more products in total and slow down 16 networks in one
program.

If the eigenvectors of a nearby operator are known, the block starts from them. This is how the
sharpness is tracked along a descent with a few products per estimate.

The basis is kept orthonormal within rounding. If the operator maps it into itself (the identity, a
matrix of low rank), random directions extend it. The images A S are stored as well: Ritz values are
computed from S^T (A S) and residuals from A S, not from a recurrence.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

BLOCK = 2  # number of vectors in the block
ROUND = 20  # minimum number of products between restarts
PASSES = 4  # maximum number of orthogonalization passes
MAX_ROTATED = 16  # maximum number of rows for rotations; with 40 LAPACK is ten times as fast
MAX_SWEEPS = 20  # maximum number of sweeps; 6 to 10 are enough for up to 100 rows


def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the eigenvalues (ascending) and eigenvectors of a symmetric matrix.

    Eigenvectors are the columns of the second result. On CPUs, matrices of up to 16 rows are
    decomposed without LAPACK; all other matrices by `jnp.linalg.eigh`.

    Args:
        matrix: symmetric matrix.

    Examples:
        >>> values, vectors = eigh(jnp.array([[0.0, 2.0], [2.0, 3.0]]))
        >>> values.tolist()
        [-1.0, 4.0]
    """
    if len(matrix) > MAX_ROTATED:
        return _library(matrix)
    return jax.lax.platform_dependent(matrix, cpu=jacobi_eigh, default=_library)


def _library(matrix):
    return tuple(jnp.linalg.eigh(matrix))


def jacobi_eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Return the result of `eigh` by Jacobi rotations, on every platform.

        A <- J^T A J until A is diagonal,   J rotates pairs of coordinates so that A_pq becomes 0

    All pairs of a round are rotated at once. The rounds are those of a round-robin tournament, so
    that every pair of coordinates is rotated.

    References: Golub and Van Loan, *Matrix Computations* (2013), section 8.5; Brent and Luk 1985.
    """
    size = len(matrix)
    scale = jnp.max(jnp.abs(matrix), initial=0)
    scale = jnp.where(scale > 0, scale, 1)
    # Pad an odd number of rows by one, whose eigenvalue lies below all others.
    even = size + size % 2
    A = jnp.full((even, even), 0, matrix.dtype).at[:size, :size].set(matrix / scale)
    A = A.at[size:, size:].set(-2 * even)
    half, eps = even // 2, jnp.finfo(matrix.dtype).eps
    next_round = _next_round(even)

    def rotate(rows, s, tau):
        # The result is c a - s b with 1 - c = s tau, in a form whose rounding decreases with the
        # angle.
        upper, lower = rows[:half], rows[half:]
        rotated = (upper - s * (lower + tau * upper), lower + s * (upper - tau * lower))
        return jnp.concatenate(rotated)[next_round]

    def rotate_round(_, state):
        A, V = state
        p, r = jnp.split(jnp.diagonal(A), 2)
        q = jnp.diagonal(A[:half, half:])
        slope = (r - p) / jnp.where(q == 0, 1, 2 * q)
        t = jnp.where(slope < 0, -1, 1) / (jnp.abs(slope) + jnp.sqrt(1 + slope**2))
        t = jnp.where(q == 0, 0, t)
        c = 1 / jnp.sqrt(1 + t**2)
        s, tau = (t * c)[:, None], (t * c / (1 + c))[:, None]
        return rotate(rotate(A, s, tau).T, s, tau), rotate(V, s, tau)

    def cond_fun(state):
        A, _, sweeps = state
        off_diagonal = jnp.linalg.norm(A - jnp.diag(jnp.diagonal(A)))
        return (off_diagonal > eps * jnp.linalg.norm(A[:size, :size])) & (sweeps < MAX_SWEEPS)

    def body_fun(state):
        A, V, sweeps = state
        A, V = jax.lax.fori_loop(0, even - 1, rotate_round, (A, V))
        return A, V, sweeps + 1

    state = A, jnp.eye(even, dtype=matrix.dtype), jnp.zeros((), jnp.int32)
    A, V, _ = jax.lax.while_loop(cond_fun, body_fun, state)
    values = jnp.diagonal(A)
    order = jnp.argsort(values)[even - size :]
    return values[order] * scale, V[order, :size].T


def _next_round(even):
    """Return the permutation of the rows to the next round; the first row is fixed."""
    positions = np.arange(even).reshape(2, -1)
    ring = np.r_[positions[0, 1:], positions[1, ::-1]]
    ring = np.roll(ring, 1)
    half = even // 2
    return np.r_[0, ring[: half - 1], ring[half - 1 :][::-1]]


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
        values: the requested largest Ritz values, then the requested smallest ones, both
            descending.
        vectors: Ritz vectors of length 1, one per column.
        residuals: residual norms |A v - value v|, computed from the images of the basis.
        norm: largest |Ritz value| of all rounds, a lower bound on the operator's norm.
        num_hvps: number of products with the operator.
        block: first kept vectors, a start block for a nearby operator.
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
    """Kept Ritz pairs: requested ones are first (upper end) and last (lower end).

    `norm` is the largest |Ritz value| of all rounds.
    """

    values: Float[Array, " kept"]
    vectors: Float[Array, "n kept"]
    images: Float[Array, "n kept"]
    residuals: Float[Array, " kept"]
    norm: Float[Array, ""]


class _State(NamedTuple):
    """State of the iteration; the first round is the start, later ones are restarts."""

    basis: _Basis
    pairs: _RitzPairs
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
    count = upper + lower
    return Sizes(upper, lower, count + max(ROUND, 2 * count + 4))


def dense_ritz_pairs(
    matrix: Float[Array, "n n"],
    eigenpairs: tuple[Float[Array, " n"], Float[Array, "n n"]],
    largest: int,
    smallest: int,
) -> Ritz:
    """Return eigenpairs at the ends of the spectrum of a dense matrix, with residuals.

    Args:
        matrix: symmetric matrix.
        eigenpairs: all its eigenvalues, ascending, and its eigenvectors as columns.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
    """
    all_values, all_vectors = eigenpairs
    n = len(matrix)
    selected = np.array([*range(n - 1, n - 1 - largest, -1), *range(smallest - 1, -1, -1)])
    values, vectors = all_values[selected], all_vectors[:, selected]
    with jax.default_matmul_precision("highest"):
        residuals = jnp.linalg.norm(matrix @ vectors - values[None] * vectors, axis=0)
    norm = jnp.max(jnp.abs(all_values))
    return Ritz(values, vectors, residuals, norm, jnp.array(n, jnp.int32), vectors[:, :0])


def extreme_ritz_pairs(
    product: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    mask: Float[Array, " n"],
    key: Key[Array, ""],
    *,
    largest: int,
    smallest: int,
    tolerance: Callable[[Float[Array, " k"], Float[Array, ""]], Float[Array, "..."]],
    max_restarts: int,
    block: Float[Array, "n b"] | None = None,
    space: Sizes | None = None,
) -> Ritz:
    """Return Ritz pairs at the ends of the spectrum, iterated to a tolerance.

    Args:
        product: symmetric linear function v -> A v, which is mapped over blocks of vectors.
        mask: 1 at coordinates of the search, 0 at excluded coordinates, which A maps to zero.
        key: key for the random vectors.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        tolerance: function of the Ritz values and the operator's norm that returns bounds on the
            residuals.
        max_restarts: maximum number of restarts. Fewer are made if the tolerance is reached or a
            value is not finite.
        block: first block, such as `Ritz.block` of a nearby operator; None for two random vectors.
        space: sizes that replace `sizes(largest, smallest)`, multiples of the block's width.
    """
    upper, lower, size = space or sizes(largest, smallest)
    width = BLOCK if block is None else block.shape[1]
    count = upper + lower
    ends = jnp.array([*range(size - 1, size - 1 - upper, -1), *range(lower - 1, -1, -1)])
    requested = jnp.array([*range(largest), *range(count - smallest, count)])
    products = jax.vmap(product, in_axes=1, out_axes=1)

    def random(key):
        return jax.random.normal(key, (mask.size, width), mask.dtype) * mask[:, None]

    def expand(basis, first):
        """Fill the basis from block number `first` on."""

        def add(number, basis):
            key, key_noise = jax.random.split(basis.key)
            images = products(basis.block)
            columns = _put(basis.columns, basis.block, number * width)
            # If an image has no new direction, rounding would determine its orthogonal part, so
            # random noise is added.
            length = jnp.linalg.norm(images) * jnp.finfo(mask.dtype).eps
            noise = random(key_noise) * (jnp.where(length > 0, length, 1) / mask.size**0.5)
            return _Basis(
                columns,
                _put(basis.images, images, number * width),
                _orthonormal(images + noise, columns),
                key,
            )

        return jax.lax.fori_loop(first, size // width, add, basis)

    def ritz(basis, norm):
        """Return Ritz pairs at the ends of the spectrum, with images and residuals."""
        matrix = basis.columns.T @ basis.images
        values, small = eigh((matrix + matrix.T) / 2)
        vectors, images = (a @ small[:, ends] for a in (basis.columns, basis.images))
        residuals = jnp.linalg.norm(images - values[ends][None] * vectors, axis=0)
        norm = jnp.maximum(norm, jnp.max(jnp.abs(values)))
        return _RitzPairs(values[ends], vectors, images, residuals, norm)

    def allowed(pairs):
        return tolerance(pairs.values[requested], pairs.norm)

    def is_converged(pairs):
        return jnp.all(pairs.residuals[requested] <= allowed(pairs))

    def may_hide_copies(pairs):
        """Return whether equal eigenvalues fill a block, which may hide more copies."""
        upper, lower = pairs.values[:largest], -pairs.values[count - smallest :][::-1]
        gaps = [end[:-width] - end[width - 1 : -1] for end in (upper, lower) if len(end) > width]
        nearest = jnp.min(jnp.concatenate([*gaps, jnp.full(1, jnp.inf)]))
        return nearest <= jnp.max(allowed(pairs))

    def cond_fun(state):
        finite = jnp.isfinite(jnp.max(state.pairs.residuals)) & jnp.isfinite(state.pairs.norm)
        return (state.rounds == 0) | (finite & ~state.done & (state.rounds <= max_restarts))

    def body_fun(state):
        """Extend the kept vectors (none at first) to a basis and return its Ritz pairs."""
        basis, pairs = state.basis, state.pairs
        is_restart = state.rounds > 0
        empty = jnp.zeros_like(basis.columns)
        columns, images = (_put(empty, a, 0) for a in (pairs.vectors, pairs.images))
        key, key_fresh = jax.random.split(basis.key)
        # The residuals of the kept vectors span a space of the width of a block, so random mixtures
        # of them continue the Krylov space. A random block finds directions outside this space.
        from_random = is_restart & is_converged(pairs)
        mixture = jax.random.normal(key_fresh, (count, width), mask.dtype)
        mixed_residuals = (pairs.images - pairs.values[None] * pairs.vectors) @ mixture
        block = jnp.where(
            from_random, random(key_fresh), jnp.where(is_restart, mixed_residuals, basis.block)
        )
        block = _orthonormal(block, columns)
        basis = _Basis(columns, images, block, jnp.where(is_restart, key, basis.key))
        basis = expand(basis, jnp.where(is_restart, count // width, 0))
        pairs = ritz(basis, state.pairs.norm)
        change = jnp.abs(pairs.values - state.pairs.values)[requested]
        same = from_random & jnp.all(change <= allowed(pairs))
        done = is_converged(pairs) & (same | ~may_hide_copies(pairs))
        return _State(basis, pairs, state.rounds + 1, done)

    key_start, key_noise = jax.random.split(key)
    with jax.default_matmul_precision("highest"):
        zeros = jnp.zeros((mask.size, size), mask.dtype)
        columns, values, norm = zeros[:, :count], zeros[0, :count], jnp.zeros((), mask.dtype)
        state = _State(
            _Basis(zeros, zeros, random(key_start) if block is None else block, key_noise),
            _RitzPairs(values, columns, columns, values, norm),
            rounds=jnp.zeros((), jnp.int32),
            done=jnp.array(False),
        )
        _, pairs, rounds, _ = jax.lax.while_loop(cond_fun, body_fun, state)
    return Ritz(
        pairs.values[requested],
        pairs.vectors[:, requested],
        pairs.residuals[requested],
        pairs.norm,
        size + (rounds - 1) * (size - count),
        pairs.vectors[:, :width],
    )


def _put(columns, block, at):
    return jax.lax.dynamic_update_slice_in_dim(columns, block, at, 1)


def _orthonormal(block, columns):
    """Return the block, orthonormal and orthogonal to the columns (Gram-Schmidt).

    The passes end when the components that a pass removes are small. Two passes are enough unless
    the remainder is only rounding. QR decomposition by LAPACK took longer than the product with the
    operator.
    """
    close = jnp.sqrt(jnp.finfo(block.dtype).eps)

    def cond_fun(state):
        _, good, passes = state
        return ~good & (passes < PASSES)

    def make_orthonormal(state):
        block, _, passes = state
        along = columns.T @ block
        orthogonal, length = _unit(block - columns @ along)
        good = jnp.all(jnp.abs(along) <= close * length)
        done = orthogonal[:, :1]
        for number in range(1, block.shape[1]):
            column = orthogonal[:, number : number + 1]
            column, last = _unit(column - done @ (done.T @ column))
            good &= last[0, 0] > 0.5
            done = jnp.concatenate([done, column], axis=1)
        return done, good, passes + 1

    return jax.lax.while_loop(cond_fun, make_orthonormal, (block, jnp.array(False), 0))[0]


def _unit(vectors):
    """Return the columns scaled to length 1, and their original lengths."""
    length = jnp.linalg.norm(vectors, axis=0, keepdims=True)
    return vectors / jnp.where(length > 0, length, 1), length
