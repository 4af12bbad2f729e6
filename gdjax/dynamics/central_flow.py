"""The central flow, the average of gradient descent at the edge of stability.

    dw/dt = -grad [C(w) + <Sigma, H(w)> / 2],   Sigma >= 0,   H <= 2/eta,   <Sigma, 2/eta - H> = 0

At the edge of stability, descent oscillates across the valley along the sharpest directions. The
covariance Sigma of these oscillations decreases the curvature exactly as much as the gradient
increases it. Away from the edge, Sigma is 0 and the central flow is the gradient flow. The average
of descent follows the flow only if its oscillation has not died out below the edge: an oscillation
that has shrunk to rounding errors needs many steps to grow again, in which descent exceeds the
edge.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from gdjax.base.arguments import check_limits, check_whole
from gdjax.base.limits import Count
from gdjax.base.reprs import fields_with
from gdjax.curvature import eigensolvers
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.curvature.operators import HessianOperator
from gdjax.dynamics import semidefinite_complementarity
from gdjax.dynamics.gradient_flow import FlowStatus, check_positive, solve_ode, tolerances
from gdjax.problems.checks import ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem

CLOSE = 1e-3  # maximum residual of an eigenvector, relative to the largest eigenvalue
RESTARTS = 60  # maximum number of restarts for eigenvectors; random starts need a few dozen


class CentralFlow(NamedTuple):
    """The central flow at equally spaced times, including 0 and the final time.

    Args:
        time: time since the start, eta times the number of descent steps.
        params: the center w, a pytree like the starting point whose leading axis indexes the times.
        cost: cost C at the center.
        mean_cost: C + <Sigma, H> / 2, the cost of descent averaged over its oscillations.
        eigenvalues: largest eigenvalues of the Hessian at the center, descending.
        covariance: covariance of descent around the center, in the basis of the eigenvectors.
        residual: residual of the complementarity problem (see `ComplementaritySolution`).
        status: a `FlowStatus`.
    """

    time: Float[Array, " times"]
    params: PyTree
    cost: Float[Array, " times"]
    mean_cost: Float[Array, " times"]
    eigenvalues: Float[Array, "times k"]
    covariance: Float[Array, "times k k"]
    residual: Float[Array, " times"]
    status: Int[Array, ""]

    __repr__, _repr_html_ = fields_with(status=FlowStatus)


class _Edge(NamedTuple):
    """Largest eigenvalues, eigenvectors as columns, and a block for the next search."""

    values: Float[Array, " k"]
    vectors: Float[Array, "n k"]
    block: Float[Array, "n b"]
    converged: Bool[Array, ""]


def central_flow(
    problem: Problem | Callable,
    params: PyTree,
    learning_rate: ArrayLike,
    time: ArrayLike,
    *,
    eigenvectors: int = 3,
    intervals: int = 100,
    rtol: float | None = None,
    atol: float | None = None,
) -> CentralFlow:
    """Solve the central flow, the average of descent at the edge of stability.

        dw/dt = -grad C - 1/2 sum_ij X_ij grad (u_i^T H u_j),   Sigma = U X U^T

    Time is divided into intervals. At the start of each interval, the eigenvectors U of the k
    largest eigenvalues are computed from the previous ones, and X >= 0 is the smallest matrix that
    keeps U^T H U <= 2/eta until the end of the interval. X is the solution of a complementarity
    problem with k (k + 1) / 2 unknowns. During the interval, the second term is constant and the
    flow is solved like `gradient_flow`. If no direction is at the edge, the result is that of
    `gradient_flow`; otherwise the error is of first order in the length of intervals. The function
    is one program and can be mapped over learning rates and starting points.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: starting point w_0, any pytree of real arrays.
        learning_rate: learning rate eta of descent, > 0; may be traced.
        time: final time (eta times the number of descent steps), > 0; may be traced.
        eigenvectors: maximum number k of directions at the edge. It is sufficient if the last of
            the `eigenvalues` stays below 2 / eta.
        intervals: number of intervals. Intervals of one to four steps of descent (eta to 4 eta) are
            short enough.
        rtol, atol: tolerances of the solver, as for `gradient_flow`.

    Examples:
        Away from the edge, the result is the gradient flow:

        >>> bowl = lambda w: 3 * w[0] ** 2 + w[1] ** 2
        >>> flow = central_flow(bowl, jnp.ones(2), 0.1, 1.0, eigenvectors=1, intervals=10)
        >>> [round(float(w), 3) for w in flow.params[-1]], float(flow.covariance.max())
        ([0.002, 0.135], 0.0)

    References: Cohen, Damian, Talwalkar, Kolter, Lee 2024, *Understanding Optimization in Deep
    Learning with Central Flows*, arXiv 2410.24206.
    """
    flat, unravel = ravel_params(params)
    check_positive("central_flow", learning_rate=learning_rate, time=time)
    check_limits("central_flow: intervals", intervals, Count)
    remedy = ", the number of parameters"
    check_whole("central_flow: eigenvectors", eigenvectors, 1, flat.size, remedy=remedy)
    problem = problem_at(problem, params)
    dtype = cost_type(params)
    flat = flat.astype(dtype)
    rate, interval = jnp.asarray(learning_rate, dtype), jnp.asarray(time, dtype) / intervals
    rtol, atol = tolerances("central_flow", dtype, rtol, atol)
    end_times, first = interval[None], jnp.minimum(interval, rate)

    derivatives = directional_derivatives(problem, unravel)

    def velocity(_time, w, correction):
        return -derivatives.gradient(w)[1] - correction

    def body_fun(state, _):
        w, block, converged, completed = state
        edge = _edge(problem, unravel, w, block)
        value, g = derivatives.gradient(w)
        X, slopes = _balance(derivatives, w, g, edge, 2 / rate, interval)
        correction = semidefinite_complementarity.coordinates(X.X) @ slopes / 2
        solution = solve_ode(velocity, w, correction, end_times, rtol=rtol, atol=atol, first=first)
        mean = value + jnp.vdot(edge.values, jnp.diagonal(X.X)) / 2
        record = (w, value, mean, edge.values, X.X, X.residual)
        converged &= edge.converged
        completed &= solution.status == FlowStatus.COMPLETED
        return (solution.ys[0], edge.block, converged, completed), record

    block = jax.random.normal(jax.random.key(0), (flat.size, eigenvectors + 1), dtype)
    # An additional interval starts at the end of the flow and records the values there.
    state = flat, block, jnp.array(True), jnp.array(True)
    (_, _, converged, completed), records = jax.lax.scan(body_fun, state, length=intervals + 1)
    w, value, mean, values, X, residual = records
    status = jnp.where(converged, FlowStatus.COMPLETED, FlowStatus.EIGENVECTORS_NOT_CONVERGED)
    is_finite = completed & jnp.all(jnp.isfinite(value))
    status = jnp.where(is_finite, status, FlowStatus.NOT_COMPLETED).astype(jnp.int32)
    times = interval * jnp.arange(intervals + 1)
    return CentralFlow(times, jax.vmap(unravel)(w), value, mean, values, X, residual, status)


def _edge(problem, unravel, w, block):
    """Return the largest eigenpairs, starting from eigenvectors of a nearby point."""
    operator, k = HessianOperator(problem, unravel(w)), block.shape[1] - 1
    if len(w) <= 2 * (k + 1):
        values, vectors = eigensolvers.eigh(operator.as_matrix())
        return _Edge(values[::-1][:k], vectors[:, ::-1][:, :k], block, jnp.isfinite(values[0]))

    def allowed(values, norm):
        return CLOSE * jnp.max(jnp.abs(values)) + 8 * jnp.finfo(w.dtype).eps * norm

    ritz = eigensolvers.extreme_ritz_pairs(
        operator.flat_mv,
        jnp.ones_like(w),
        jax.random.key(1),
        largest=k,
        smallest=0,
        tolerance=allowed,
        max_restarts=RESTARTS,
        block=block,
        space=eigensolvers.Sizes(upper=k + 1, lower=0, basis=2 * (k + 1)),
    )
    converged = jnp.max(ritz.residuals) <= allowed(ritz.values, ritz.norm)
    # A block that is not finite cannot start the next search, so the previous one is used.
    block = jnp.where(jnp.isfinite(ritz.block), ritz.block, block)
    return _Edge(ritz.values, ritz.vectors, block, converged)


def _balance(derivatives, w, g, edge, limit, interval):
    """Return X, and the gradients of the coordinates of U^T H U.

    In a time t, a unit force moves w by (1 - e^(-c t)) / c along an eigenvector with eigenvalue c,
    and by t in other directions. The first expression is necessary since, at the edge, an interval
    is longer than the time in which w reaches equilibrium along the eigenvector.
    """
    k = len(edge.values)
    slopes = _slopes(derivatives, w, edge.vectors)
    exponent = edge.values * interval
    small = jnp.abs(exponent) < 1e-4
    decay = jnp.where(
        small, 1 - exponent / 2, -jnp.expm1(-exponent) / jnp.where(small, 1, exponent)
    )

    def reach(forces):
        """Return the displacements of w by forces, one per row."""
        along = forces @ edge.vectors
        return interval * (forces + (along * (decay - 1)[None]) @ edge.vectors.T)

    with jax.default_matmul_precision("highest"):
        changes = reach(jnp.concatenate([slopes, g[None]])) @ slopes.T
    slack = limit * jnp.eye(k, dtype=w.dtype) - jnp.diag(edge.values)
    M = (changes[:-1] + changes[:-1].T) / 4
    Q = slack + semidefinite_complementarity.matrix(changes[-1])
    return semidefinite_complementarity.solve(M, Q), slopes


def _slopes(derivatives, w, vectors):
    """Return grad (u_i^T H u_j) for i <= j as rows, multiplied by sqrt(2) for i < j.

    Only T3[u, u, .] of u_i and of (u_i + u_j) / sqrt(2) is evaluated, since third derivatives along
    a single direction are cheaper than mixed ones.
    """
    k = vectors.shape[1]
    rows, columns = np.triu_indices(k)
    is_diagonal = rows == columns
    mixed = (vectors[:, rows] + vectors[:, columns]) / np.where(is_diagonal, 2, np.sqrt(2))[None]
    squares = jax.vmap(lambda u: derivatives.third(w, u), in_axes=1)(mixed)
    diagonal = squares[np.flatnonzero(is_diagonal)]
    off_diagonal = np.sqrt(2) * (squares - (diagonal[rows] + diagonal[columns]) / 2)
    return jnp.where(is_diagonal[:, None], squares, off_diagonal)
