"""Steepest descent in norms other than the Euclidean norm.

    w_{t+1} = w_t - eta |g|_* d,   d = argmax over |d| <= 1 of g . d,   |g|_* = g . d

The norm determines the direction: the signs of the gradient in the maximum norm, the coordinate of
the largest |entry| in the 1-norm, the orthogonal factor of each matrix in the spectral norm (Muon
without momentum). With the 2-norm the step is that of gradient descent.

References: Islamov et al. 2026, *Non-Euclidean Gradient Descent Operates at the Edge of Stability*,
arXiv 2603.05002; Bernstein and Newhouse 2024, *Old Optimizer, New Norm*, arXiv 2409.20325.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.arguments import check_choice, check_flag, check_numbers
from gdjax.problems.checks import check_params

ITERATIONS = 30  # a singular value of 1e-7 of the Frobenius norm then becomes at least 0.9


def polar_factor(
    matrix: Float[Array, "*batch rows columns"],
) -> Float[Array, "*batch rows columns"]:
    """Return the orthogonal factor U V^T of matrices U diag(s) V^T.

        X <- X (15 - 10 X^T X + 3 (X^T X)^2) / 8,   X = A / |A|_F at the start

    The iteration needs only matrix products. It maps singular values in [0, 1] monotonically to
    [0, 1], so that no singular value of the result exceeds 1. Those that are 0 remain 0.

    References: Higham 2008, *Functions of Matrices*, section 8.3.
    """
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    X = jnp.swapaxes(matrix, -1, -2) if is_tall else matrix
    # Divide by the largest entry first, since squares of small entries would underflow.
    X = _divided(X, jnp.max(jnp.abs(X), axis=(-2, -1), keepdims=True))
    X = _divided(X, jnp.sqrt(jnp.sum(X * X, axis=(-2, -1), keepdims=True)))

    def step(_, X):
        A = X @ jnp.swapaxes(X, -1, -2)
        return (15 * X - 10 * (A @ X) + 3 * (A @ (A @ X))) / 8

    with jax.default_matmul_precision("highest"):
        X = jax.lax.fori_loop(0, ITERATIONS, step, X)
    return jnp.swapaxes(X, -1, -2) if is_tall else X


def _divided(array, size):
    """Return `array / size`, and 0 where the size is 0."""
    return array / jnp.where(size == 0, 1, size)


def _signs(gradient):
    return jax.tree.map(jnp.sign, gradient)


def _coordinate(gradient):
    flat, unravel = ravel_pytree(gradient)
    chosen = jnp.arange(len(flat)) == jnp.argmax(jnp.abs(flat))
    return unravel(jnp.where(chosen, jnp.sign(flat), jnp.zeros_like(flat)))


def _unit(gradient):
    largest = jnp.max(jnp.abs(ravel_pytree(gradient)[0]))
    scaled = jax.tree.map(lambda g: _divided(g, largest).astype(g.dtype), gradient)
    size = optax.tree.norm(scaled)
    return jax.tree.map(lambda g: _divided(g, size).astype(g.dtype), scaled)


def _polar(gradient):
    return jax.tree.map(lambda g: _unit(g) if jnp.ndim(g) < 2 else polar_factor(g), gradient)


def _block(gradient):
    leaves, tree = jax.tree.flatten(gradient)
    largest = jnp.argmax(jnp.stack([jnp.linalg.norm(jnp.ravel(leaf)) for leaf in leaves]))
    units = [_unit(leaf) * (largest == i).astype(leaf.dtype) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, units)


NORMS: Mapping[str, Callable[[PyTree], PyTree]] = MappingProxyType(
    {"linf": _signs, "l1": _coordinate, "l2": _unit, "spectral": _polar, "block": _block}
)
"""Functions from a gradient to the direction d of the step, by name of the norm."""


def steepest_direction(gradient: PyTree, norm: str) -> PyTree:
    """Return the direction of steepest ascent in a norm.

        d = argmax over |d| <= 1 of g . d

    Args:
        gradient: gradient g, a pytree of arrays.
        norm: "linf", the largest |entry| (d has the signs of g); "l1", the sum of |entries| (one
            coordinate); "l2" (g / |g|); "spectral", the largest singular value of all matrices
            (their orthogonal factors), where arrays of one dimension count as single columns, and
            arrays of more than two dimensions as stacks of matrices; "block", the sum of the
            2-norms of all arrays (only the array with the largest gradient is updated).

    Returns:
        A pytree like the gradient. Parts of d that the maximum does not determine, such as entries
        at which the gradient is 0, are 0.

    Examples:
        >>> g = jnp.array([3.0, -4.0])
        >>> {norm: steepest_direction(g, norm).round(3).tolist() for norm in ("linf", "l1", "l2")}
        {'linf': [1.0, -1.0], 'l1': [0.0, -1.0], 'l2': [0.6, -0.8]}
    """
    check_choice("norm", norm, NORMS)
    check_params(gradient, "gradient: ")
    return NORMS[norm](jax.tree.map(jnp.asarray, gradient))


def dual_norm(gradient: PyTree, norm: str) -> Float[Array, ""]:
    """Return the dual norm of a gradient, its slope along the steepest direction.

        |g|_* = max over |d| <= 1 of g . d

    Args:
        gradient: gradient g, a pytree of arrays.
        norm: norm of d, as for `steepest_direction`.

    Examples:
        >>> [float(dual_norm(jnp.array([3.0, -4.0]), norm)) for norm in ("linf", "l1", "l2")]
        [7.0, 4.0, 5.0]
    """
    return jnp.asarray(optax.tree.vdot(gradient, steepest_direction(gradient, norm)))


def non_euclidean_descent(
    learning_rate: Any, norm: str = "linf", *, scaled: bool = True
) -> optax.GradientTransformation:
    """Return the optimizer that takes steps of steepest descent in a norm.

        w <- w - eta |g|_* d   if scaled, else   w <- w - eta d

    Args:
        learning_rate: learning rate eta, or a schedule.
        norm: norm of d, as for `steepest_direction`. Up to the length of the steps, "linf" gives
            sign descent, "l1" coordinate descent, "l2" gradient descent, "spectral" Muon without
            momentum, and "block" block coordinate descent.
        scaled: whether a step has the length eta |g|_* in the norm, where |g|_* is the dual norm of
            the gradient. Otherwise it has the length eta, as in `optax.sign_sgd` and
            `optax.contrib.muon`.

    Examples:
        >>> rule = non_euclidean_descent(0.1, "linf")
        >>> rule.update(jnp.array([3.0, -4.0]), rule.init(jnp.zeros(2)))[0].round(3).tolist()
        [-0.7, 0.7]

    References: Islamov et al. 2026, arXiv 2603.05002.
    """
    check_choice("non_euclidean_descent: norm", norm, NORMS)
    check_flag("non_euclidean_descent: scaled", scaled)
    if not callable(learning_rate):
        check_numbers("non_euclidean_descent: learning_rate", learning_rate)

    def step(gradient, _params):
        direction = NORMS[norm](gradient)
        if not scaled:
            return direction
        size = optax.tree.vdot(gradient, direction)
        return jax.tree.map(lambda d: (size * d).astype(d.dtype), direction)

    return optax.chain(optax.stateless(step), optax.scale_by_learning_rate(learning_rate))
