"""How the cost bends, as products: the Hessian with a vector, its Gauss-Newton part, all of it.

    H v = d/de grad C(w + e v) at e = 0,   H = J^T L J + sum_i (dl/da_i) grad grad a_i

J is the Jacobian of a model's outputs a, L the Hessian of the loss in those outputs. The simplest
instance, a saddle:

>>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
>>> hessian(saddle, jnp.zeros(2)).tolist()
[[2.0, 0.0], [0.0, -2.0]]

Products cost about two gradients each and no memory beyond a block of samples; the dense Hessian
costs as many products as there are parameters.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.errors import InputError
from gdjax.problems.checks import check_params, check_value
from gdjax.problems.chunks import in_chunks

# Columns of a dense Hessian computed together: they share the samples and their activations.
TOGETHER = 64
# A dense Hessian of so many parameters takes 64 MiB in float32.
MOST = 4096


def hessian_vector_product(
    cost: Callable, params: PyTree, vector: PyTree, data: PyTree = None
) -> PyTree:
    """The Hessian of the cost times a vector, exactly, without the Hessian.

        H v = d/de grad C(w + e v) at e = 0

    Forward over reverse: about twice the work of a gradient, and no memory beyond a block's.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point w.
        vector: v, a tree like `params`.
        data: a pytree of arrays with a leading sample axis, or None.

    Returns:
        H v, a tree like `params`.

    Raises:
        InputError: parameters that are no real floats, a cost that is no scalar, or a vector whose
            tree or shapes are not those of `params`.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
        >>> hessian_vector_product(saddle, jnp.zeros(2), jnp.array([1.0, 1.0])).tolist()
        [2.0, -2.0]

    Source: Pearlmutter 1994, *Fast exact multiplication by the Hessian*.
    """
    check_params(params)
    check_like("hessian_vector_product: vector", vector, params)
    cost = of_two(cost)

    def product(point, part):
        w, v = point
        return jax.jvp(lambda w: jax.grad(cost)(w, part), (w,), (v,))[1]

    return mean_over_blocks(product, (params, _tangent(vector, params)), data)


def gauss_newton_vector_product(
    predict: Callable,
    loss: Callable,
    params: PyTree,
    vector: PyTree,
    data: tuple[PyTree, PyTree],
) -> PyTree:
    """The Gauss-Newton part of the Hessian times a vector: for models with `predict` and `loss`.

        G v = J^T L J v,   J = d predict / dw,   L = the loss's Hessian in the outputs

    G leaves out how the outputs themselves bend. It has no negative eigenvalues where the loss is
    convex in the outputs, and equals H where every sample is fitted.

    Args:
        predict: `predict(params, inputs) -> outputs`, such as `Problem.predict`.
        loss: `loss(outputs, targets) -> scalar`, the mean over samples, such as `Problem.loss`.
        params: the point w.
        vector: v, a tree like `params`.
        data: `(inputs, targets)`, each with a leading sample axis.

    Returns:
        G v, a tree like `params`.

    Raises:
        InputError: parameters that are no real floats, or a vector whose tree or shapes are not
            those of `params`.

    Examples:
        >>> line = lambda w, x: w * x
        >>> mean_square = lambda a, y: jnp.mean((a - y) ** 2)
        >>> xs, ys = jnp.array([1.0, 2.0]), jnp.zeros(2)
        >>> float(gauss_newton_vector_product(line, mean_square, jnp.array(3.0), 1.0, (xs, ys)))
        5.0

    Source: Schraudolph 2002, *Fast curvature matrix-vector products*.
    """
    check_params(params)
    check_like("gauss_newton_vector_product: vector", vector, params)

    def product(point, part):
        w, v = point
        inputs, targets = part
        outputs, moved = jax.jvp(lambda w: predict(w, inputs), (w,), (v,))
        slope = jax.grad(lambda a: loss(a, targets))
        bent = jax.jvp(slope, (outputs,), (moved,))[1]
        return jax.vjp(lambda w: predict(w, inputs), w)[1](bent)[0]

    return mean_over_blocks(product, (params, _tangent(vector, params)), data)


def hessian(cost: Callable, params: PyTree, data: PyTree = None) -> Float[Array, "n n"]:
    """The whole Hessian as a matrix, for small problems.

        H_ij = d^2 C / dw_i dw_j,   i and j in the order of `jax.flatten_util.ravel_pytree`

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point w, of at most 4,096 parameters.
        data: a pytree of arrays with a leading sample axis, or None.

    Returns:
        H, symmetric.

    Raises:
        InputError: more parameters than that, or what `hessian_vector_product` refuses.
    """
    flat, _ = raveled(params)
    if flat.size > MOST:
        raise InputError(
            f"hessian: {flat.size} parameters, expected at most {MOST}; for larger problems take "
            f"`extremes`, `trace` and `density`, which need no matrix"
        )
    return dense(flat_product(cost, params, data), flat)


def flat_product(
    cost: Callable, params: PyTree, data: PyTree = None
) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """`v -> H v` on vectors in the order of `ravel_pytree`."""
    unravel = ravel_pytree(params)[1]
    return lambda v: ravel_pytree(hessian_vector_product(cost, params, unravel(v), data))[0]


def dense(product: Callable, like: Float[Array, " n"]) -> Float[Array, "n n"]:
    """A symmetric operator as a matrix, from its products with the unit vectors."""
    columns = jax.lax.map(product, jnp.eye(like.size, dtype=like.dtype), batch_size=TOGETHER)
    return (columns + columns.T) / 2


def _tangent(vector, params):
    return jax.tree.map(lambda v, w: jnp.asarray(v, jnp.result_type(w)), vector, params)


def mean_over_blocks(function: Callable, params: PyTree, data: PyTree) -> PyTree:
    """A mean over samples, in blocks of them and with matrix products in full precision."""
    with jax.default_matmul_precision("highest"):
        return in_chunks(function)(params, jax.tree.map(jnp.asarray, data))


def of_two(cost: Callable) -> Callable:
    """Every cost as a function of `(params, batch)`; what is no scalar is refused."""

    def two(params, batch):
        value = cost(params) if batch is None else cost(params, batch)
        check_value(value)
        return value

    return two


def raveled(params: PyTree) -> tuple[Float[Array, " n"], Callable]:
    """Parameters as one vector, and the way back; what cannot change a little is refused."""
    check_params(params)
    return ravel_pytree(params)


def check_like(what: str, tree: Any, params: Any) -> None:
    """Make sure that a tree has the structure and shapes of the parameters."""
    same = jax.tree.structure(tree) == jax.tree.structure(params)
    shapes = [[jnp.shape(a) for a in jax.tree.leaves(t)] for t in (tree, params)]
    if not same or shapes[0] != shapes[1]:
        raise InputError(
            f"{what} has {jax.tree.structure(tree)} with shapes {shapes[0]}, expected the tree of "
            f"the parameters, {jax.tree.structure(params)} with shapes {shapes[1]}"
        )
