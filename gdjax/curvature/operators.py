"""How the cost bends, as products: the Hessian with a vector, its Gauss-Newton part, all of it.

    H v = d/de grad C(w + e v) at e = 0,   H = J^T L J + sum_i (dl/da_i) grad grad a_i

J is the Jacobian of a model's outputs a, L the Hessian of the loss in those outputs. The simplest
instance, a saddle:

>>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
>>> hessian(saddle, jnp.zeros(2)).tolist()
[[2.0, 0.0], [0.0, -2.0]]

Products cost about two gradients each and no memory beyond a chunk of samples; the dense Hessian
costs as many products as there are parameters. What is looked at everywhere is the problem's
deterministic cost (see `gdjax.problems.evaluation_of`), over all its data. Where a problem is an
argument of a jitted function its data are, too:

>>> line = Problem(init=jnp.zeros, cost=lambda w, x: jnp.mean((w * x) ** 2), data=jnp.arange(3.0))
>>> jax.jit(hessian)(line, jnp.zeros(1)).round(3).tolist()
[[3.333]]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.errors import InputError
from gdjax.problems.chunks import in_chunks
from gdjax.problems.evaluation import evaluation_chunk, evaluation_of
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import check_like, check_params, check_value, ravel_params

# Columns of a dense Hessian computed together: they share the samples and their activations.
TOGETHER = 64
# A dense Hessian of so many parameters takes 64 MiB in float32.
MOST = 4096


def hessian_vector_product(
    problem: Problem | Callable, params: PyTree, vector: PyTree, *, data: PyTree = None
) -> PyTree:
    """The Hessian of the cost times a vector, exactly, without the Hessian.

        H v = d/de grad C(w + e v) at e = 0

    Forward over reverse: about twice the work of a gradient, and no memory beyond a chunk's. If a
    part of the cost has no forward mode (a custom_vjp), reverse over reverse.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point w.
        vector: v, a tree like `params`.
        data: instead of the problem's own.

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

    def product_of(cost):
        return lambda point, batch: along(lambda w: jax.grad(cost)(w, batch), *point)

    point = params, _tangent(vector, params)
    return averaged(as_problem(problem, data), product_of, point)


def gauss_newton_vector_product(
    problem: Problem, params: PyTree, vector: PyTree, *, data: tuple[PyTree, PyTree] | None = None
) -> PyTree:
    """The Gauss-Newton part of the Hessian times a vector; needs `problem.predict` and `loss`.

        G v = J^T L J v,   J = d predict / dw,   L = the loss's Hessian in the outputs

    G leaves out how the outputs themselves bend. It has no negative eigenvalues where the loss is
    convex in the outputs, and equals H where every sample is fitted.

    Args:
        problem: with `predict(params, inputs) -> outputs`, `loss(outputs, targets) -> scalar`, the
            mean over samples, and data `(inputs, targets)`.
        params: the point w.
        vector: v, a tree like `params`.
        data: instead of the problem's own.

    Returns:
        G v, a tree like `params`.

    Raises:
        InputError: a problem without these, parameters that are no real floats, or a vector whose
            tree or shapes are not those of `params`.

    Examples:
        >>> line = Problem(
        ...     init=lambda key: jnp.zeros(()),
        ...     cost=lambda w, xy: jnp.mean((w * xy[0] - xy[1]) ** 2),
        ...     data=(jnp.array([1.0, 2.0]), jnp.zeros(2)),
        ...     predict=lambda w, x: w * x,
        ...     loss=lambda a, y: jnp.mean((a - y) ** 2),
        ... )
        >>> float(gauss_newton_vector_product(line, jnp.array(3.0), 1.0))
        5.0

    Source: Schraudolph 2002, *Fast curvature matrix-vector products*.
    """
    check_params(params)
    check_like("gauss_newton_vector_product: vector", vector, params)
    problem = as_problem(problem, data)
    predict, loss = problem.predict, problem.loss
    if (
        predict is None
        or loss is None
        or not (isinstance(problem.data, tuple) and len(problem.data) == 2)
    ):
        raise InputError(
            "gauss_newton_vector_product: the problem has no predict, no loss or no data (inputs, "
            "targets); give gd.Problem(..., predict=..., loss=..., data=(inputs, targets))"
        )

    def product_of(_cost):
        def product(point, batch):
            w, v = point
            inputs, targets = batch
            outputs, moved = jax.jvp(lambda w: predict(w, inputs), (w,), (v,))
            slope = jax.grad(lambda a: loss(a, targets))
            bent = jax.jvp(slope, (outputs,), (moved,))[1]
            return jax.vjp(lambda w: predict(w, inputs), w)[1](bent)[0]

        return product

    return averaged(problem, product_of, (params, _tangent(vector, params)))


def hessian(
    problem: Problem | Callable, params: PyTree, *, data: PyTree = None
) -> Float[Array, "n n"]:
    """The whole Hessian as a matrix, for small problems.

        H_ij = d^2 C / dw_i dw_j,   i and j in the order of `jax.flatten_util.ravel_pytree`

    Args:
        problem: as for `hessian_vector_product`.
        params: the point w, of at most 4,096 parameters.
        data: instead of the problem's own.

    Returns:
        H, symmetric.

    Raises:
        InputError: more parameters than that, or what `hessian_vector_product` refuses.
    """
    flat, _ = ravel_params(params)
    if flat.size > MOST:
        raise InputError(
            f"hessian: {flat.size} parameters, expected at most {MOST}; for larger problems take "
            f"`extreme_eigenpairs`, `hessian_trace` and `spectral_density`, which need no matrix"
        )
    return dense(flat_product(problem, params, data), flat)


def flat_product(
    problem: Problem | Callable, params: PyTree, data: PyTree = None
) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """`v -> H v` on vectors in the order of `ravel_pytree`."""
    problem, unravel = as_problem(problem, data), ravel_pytree(params)[1]
    return lambda v: ravel_pytree(hessian_vector_product(problem, params, unravel(v)))[0]


def dense(product: Callable, like: Float[Array, " n"]) -> Float[Array, "n n"]:
    """A symmetric operator as a matrix, from its products with the unit vectors."""
    columns = jax.lax.map(product, jnp.eye(like.size, dtype=like.dtype), batch_size=TOGETHER)
    return (columns + columns.T) / 2


def _tangent(vector, params):
    return jax.tree.map(lambda v, w: jnp.asarray(v, jnp.result_type(w)), vector, params)


def along(
    field: Callable[[PyTree], PyTree], w: PyTree, v: PyTree, *, value: bool = False
) -> PyTree:
    """Return the derivative of a gradient field along a direction, in forward mode if it has one.

        d/de F(w + e v) at e = 0

    The derivative of a gradient, and of its derivatives along fixed directions, is symmetric. So
    the product with its transpose, which reverse mode gives, is the same.

    Args:
        field: `F(w)`: a gradient, or a derivative of one along fixed directions.
        w: the point.
        v: the direction.
        value: whether to return `(F(w), derivative)`.

    Raises:
        InputError: the field has a derivative in neither mode.
    """
    if not _has_custom_vjp(jax.make_jaxpr(field)(w).jaxpr):
        both = jax.jvp(field, (w,), (v,))
    else:
        try:
            at, transposed = jax.vjp(field, w)
            both = at, transposed(v)[0]
        except Exception as error:  # whatever a library raises that has no second derivative
            raise InputError(
                "problem: second derivatives need the forward mode, or the reverse mode twice, and "
                "a part of this cost (a custom_vjp) has neither; give the Problem an evaluation "
                "without it (with diffrax, a solve with adjoint=diffrax.DirectAdjoint())"
            ) from error
    return both if value else both[1]


def _has_custom_vjp(jaxpr):
    """Whether a function with a reverse mode alone is in a program, or in a program inside it."""
    return any(
        equation.primitive.name.startswith("custom_vjp_call")
        or any(map(_has_custom_vjp, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


def averaged(
    problem: Problem, function_of: Callable[[Callable], Callable], point: PyTree
) -> PyTree:
    """`function_of(cost)(point, batch)` as a mean over the problem's samples, in full precision.

    It is taken in chunks of samples, so that memory does not grow with them, but for a cost that
    couples samples. On a GPU the default precision would spoil second derivatives.

    Args:
        problem: whose deterministic cost, over its data.
        function_of: what is made of the cost `(params, batch) -> scalar`, such as `jax.grad`.
        point: its first argument.

    Raises:
        InputError: a cost that cannot be derived in forward mode.
    """
    evaluation = evaluation_of(problem)

    def cost(params, batch):
        value = evaluation(params, batch)
        check_value(value)
        return value

    mean = in_chunks(function_of(cost), evaluation_chunk(problem))
    try:
        with jax.default_matmul_precision("highest"):
            return mean(point, jax.tree.map(jnp.asarray, problem.data))
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise InputError(
            "problem: second derivatives are taken in forward mode, and something in this cost has "
            "a reverse mode alone (a custom_vjp); give the Problem an evaluation without it (with "
            "diffrax, a solve with adjoint=diffrax.DirectAdjoint())"
        ) from error
