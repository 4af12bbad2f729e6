"""Derivatives of the cost along directions, up to the fourth.

    C(w + t n + t^2 y / 2) = C(w) + t^3 / 6 T3[n^3] + t^4 / 24 (T4[n^4] - 3 T3[n,n,.] H^+ T3[n,n,.])

The expansion holds at a critical point w up to terms of order t^5. Here T3 and T4 are the tensors
of third and fourth derivatives, n is a unit vector with H n = 0, and y = -H^+ T3[n, n, .] minimizes
the cost (Lyapunov-Schmidt reduction). Without the second term, 0 would be classified as a minimum
of (y - x^2)(y - 2 x^2), which rises along every straight line through 0 but falls along
y = 1.5 x^2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.errors import InputError, explained
from gdjax.base.internals import has_custom_vjp
from gdjax.problems.checks import check_value
from gdjax.problems.evaluation import deterministic_cost, evaluation_microbatch
from gdjax.problems.microbatches import in_microbatches
from gdjax.problems.problem import Problem

ITERATIONS = 30  # maximum number of power iterations for third derivatives
SHIFT = 0.5  # multiple of |t| added along u, without which the iteration may cycle
MIN_GROWTH = 1.01  # growth per iteration below which a value has converged
NO_SECOND_DERIVATIVE = (
    "problem: second derivatives need the forward mode, or the reverse mode twice, and a part of "
    "this cost (a custom_vjp) has neither; give the Problem an evaluation without it (with "
    "diffrax, a solve with adjoint=diffrax.DirectAdjoint())"
)


def with_derivative(
    f: Callable[[PyTree], PyTree], w: PyTree, v: PyTree, *, is_symmetric: bool = False
) -> tuple[PyTree, PyTree]:
    """Return a function's value and its derivative along a direction.

        f(w),   J v = (u -> J^T u)^T v

    The second form, reverse mode twice, is used for functions that do not support forward mode (a
    custom_vjp).

    Args:
        f: function of parameters.
        w: parameters at which to evaluate.
        v: direction, a pytree like w.
        is_symmetric: whether J is symmetric, so that J^T v, reverse mode once, equals J v.
    """
    if not has_custom_vjp(jax.make_jaxpr(f)(w).jaxpr):
        return jax.jvp(f, (w,), (v,))
    try:
        value, pull_back = jax.vjp(f, w)
        if is_symmetric:
            return value, pull_back(v)[0]
        zeros = jax.tree.map(jnp.zeros_like, value)
        return value, jax.vjp(lambda u: pull_back(u)[0], zeros)[1](v)[0]
    except Exception as error:  # libraries raise various types of errors here
        raise InputError(NO_SECOND_DERIVATIVE) from error


def along(field: Callable[[PyTree], PyTree], w: PyTree, v: PyTree) -> PyTree:
    """Return the derivative of a gradient field along a direction.

        d/de F(w + e v) at e = 0,   F a gradient or a derivative of one along fixed directions

    The derivatives of such a field are symmetric.
    """
    return with_derivative(field, w, v, is_symmetric=True)[1]


def averaged(
    problem: Problem, function_of: Callable[[Callable], Callable], point: PyTree
) -> PyTree:
    """Return the mean of `function_of(cost)(point, batch)` over all samples.

    The mean is evaluated in full precision, since the default precision of a GPU makes second
    derivatives inaccurate. Unless the cost couples samples, it is evaluated in microbatches, so
    that memory does not grow with the number of samples.

    Args:
        problem: problem whose deterministic cost and data are used.
        function_of: transformation of the cost `(params, batch) -> scalar`, such as `jax.grad`.
        point: first argument of the transformed cost.
    """
    evaluation = deterministic_cost(problem)

    def cost(params, batch):
        value = evaluation(params, batch)
        check_value(value)
        return value

    mean = in_microbatches(function_of(cost), evaluation_microbatch(problem), problem.weight)
    with (
        explained(
            "problem: its cost or a derivative cannot be computed at these params",
            "expected a problem (pass `problem`, not `problem.cost`) or a function of params "
            "alone, params with the shapes of the problem's init, and operations that JAX can "
            "differentiate and map over points",
        ),
        jax.default_matmul_precision("highest"),
    ):
        try:
            return mean(point, jax.tree.map(jnp.asarray, problem.data))
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            raise InputError(NO_SECOND_DERIVATIVE) from error


class DirectionalDerivatives(NamedTuple):
    """Derivatives of a cost as functions of flat vectors in `ravel_pytree` order.

    Args:
        gradient: function `w -> (C, grad C)`.
        product: function `(w, v) -> H v`.
        third: function `(w, u) -> T3[u, u, .]`.
        fourth: function `(w, u) -> (T3[u, u, .], T4[u, u, u, u])`.
    """

    gradient: Callable
    product: Callable
    third: Callable
    fourth: Callable


def directional_derivatives(problem: Problem, unravel: Callable) -> DirectionalDerivatives:
    """Return the derivatives of a problem's deterministic cost over all its samples.

    Args:
        problem: problem whose deterministic cost is differentiated.
        unravel: function from a flat vector to parameters.

    Examples:
        A cost with H = diag(0, 2) that falls along a parabola:

        >>> from gdjax.problems.problem import as_problem
        >>> crossed = lambda w: (w[1] - w[0] ** 2) * (w[1] - 2 * w[0] ** 2)
        >>> derivatives = directional_derivatives(as_problem(crossed), lambda w: w)
        >>> third_vector, fourth = derivatives.fourth(jnp.zeros(2), jnp.array([1.0, 0.0]))
        >>> third_vector.tolist(), float(fourth), float(fourth - 3 * third_vector[1] ** 2 / 2)
        ([0.0, -6.0], 48.0, -6.0)
    """

    def value_and_gradient(cost, w, batch):
        return jax.value_and_grad(lambda w: cost(unravel(w), batch).astype(w.dtype))(w)

    def gradient(cost, w, batch):
        return ravel_pytree(jax.grad(lambda w: cost(unravel(w), batch))(w))[0]

    def product(cost, w, v, batch):
        return along(lambda w: gradient(cost, w, batch), w, v)

    def third(cost, w, u, batch):
        return along(lambda w: product(cost, w, u, batch), w, u)

    def fourth(cost, w, u, batch):
        twice, thrice = with_derivative(lambda w: third(cost, w, u, batch), w, u, is_symmetric=True)
        return twice, thrice @ u

    def mean_of(function):
        def function_of(cost):
            return lambda point, batch: function(cost, *point, batch)

        return lambda *point: averaged(problem, function_of, point)

    return DirectionalDerivatives(*map(mean_of, (value_and_gradient, product, third, fourth)))


def largest_third(
    derivatives: DirectionalDerivatives,
    points: Float[Array, "starts n"],
    starts: Float[Array, "starts n"],
    within: Callable,
) -> tuple[Float[Array, " starts"], Float[Array, "starts n"]]:
    """Return the largest |T3[u, u, u]| found from each start, and its direction u.

        u <- t + |t| u / 2, normalized to length 1;   t = T3[u, u, .], with the sign of T3[u, u, u]

    The largest value of a symmetric tensor on unit vectors is its norm (Banach), which bounds how
    fast the Hessian can change. Power iteration from a few starts gives a lower bound on the norm.

    Args:
        derivatives: derivatives of the cost.
        points: points at which to evaluate T3, one per start.
        starts: start vectors of any length.
        within: function `within(vectors) -> vectors` that projects each vector onto the search
            space.

    Examples:
        On the third derivative of xyz the iteration without the shift does not converge:

        >>> from gdjax.problems.problem import as_problem
        >>> cost = as_problem(lambda w: w[0] * w[1] * w[2])
        >>> derivatives = directional_derivatives(cost, lambda w: w)
        >>> starts = jnp.array([[3.0, 1.0, 0.5]])
        >>> best, _ = largest_third(derivatives, jnp.zeros((1, 3)), starts, lambda u: u)
        >>> round(float(best[0]) / (2 / 3**0.5), 2)
        1.0

    References: Kolda and Mayo 2011, *Shifted power method for computing tensor eigenpairs*.
    """

    def unit(u):
        length = jnp.linalg.norm(u, axis=1, keepdims=True)
        return u / jnp.where(length > 0, length, 1)

    def cond_fun(state):
        i, _, best, before, _ = state
        return (i < 3) | ((i < ITERATIONS) & jnp.any(best > MIN_GROWTH * before))

    def body_fun(state):
        i, u, best, _, best_direction = state
        images = within(jax.vmap(derivatives.third)(points, u))
        values = jnp.sum(images * u, axis=1)
        size = jnp.abs(values)
        best_direction = jnp.where((size > best)[:, None], u, best_direction)
        length = jnp.linalg.norm(images, axis=1, keepdims=True)
        shifted = jnp.where(values < 0, -1, 1)[:, None] * images + SHIFT * length * u
        return (
            i + 1,
            jnp.where(length > 0, unit(shifted), u),
            jnp.maximum(size, best),
            best,
            best_direction,
        )

    first = unit(within(starts))
    zero = jnp.zeros(len(starts), starts.dtype)
    _, _, best, _, best_direction = jax.lax.while_loop(
        cond_fun, body_fun, (0, first, zero, zero, first)
    )
    return best, best_direction


def reduced(
    derivatives: DirectionalDerivatives,
    w: Float[Array, " n"],
    n: Float[Array, " n"],
    pseudoinverse: Callable,
) -> tuple[Array, Array, Array, Array, Array]:
    """Return the reduced third and fourth derivatives along a flat direction n.

    The cost is minimized over all other directions.

    Args:
        derivatives: derivatives of the cost.
        w: point at which to evaluate.
        n: unit vector with H n = 0.
        pseudoinverse: function `v -> H^+ v` on the directions of nonzero curvature.

    Returns:
        T3[n^3]; T4[n^4] - 3 T3[n, n, .] H^+ T3[n, n, .]; the sum of the sizes of these two terms,
        of which the rounding error is a small multiple of eps; T3[n, n, .]; H^+ T3[n, n, .].
    """
    third_vector, fourth = derivatives.fourth(w, n)
    response = pseudoinverse(third_vector)
    correction = 3 * third_vector @ response
    size = jnp.abs(fourth) + jnp.abs(correction)
    return third_vector @ n, fourth - correction, size, third_vector, response
