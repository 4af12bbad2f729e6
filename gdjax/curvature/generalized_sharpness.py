"""Sharpness in norms other than the Euclidean norm, with bounds.

    S = max over |d| <= 1 of d^T H d;   a quadratic cost falls while S < 2 / eta

This condition applies to the steps w - eta |g|_* d of `gdjax.descent.non_euclidean_descent`, where
d maximizes g . d over |d| <= 1, since on a quadratic cost

    C(w - eta |g|_* d) <= C(w) - eta |g|_*^2 (1 - eta S / 2)

For the steps w - eta d of sign descent and Muon without momentum, replace 2 / eta by
2 |g|_* / eta. In the 2-norm S is the largest eigenvalue of H, or 0 if that is negative. In the
maximum norm S is NP-hard to compute, and `generalized_sharpness` returns a lower and an upper
bound.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from gdjax.base.arguments import MAX_COUNT, check_choice, check_limits, check_whole
from gdjax.base.keys import check_key
from gdjax.base.limits import Count, NotNegative
from gdjax.base.reprs import fields_with
from gdjax.base.status import Status
from gdjax.curvature import norm_bounds
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.operators import HessianOperator
from gdjax.descent.norms import NORMS
from gdjax.problems.checks import at_least_float32
from gdjax.problems.metrics import described
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem

MAX_DENSE = 2048  # maximum number of parameters for which an upper bound is computed


class GeneralizedSharpnessStatus(Status):
    """Status of a generalized sharpness.

    BOUNDED: both bounds are known. LOWER_BOUND_ONLY: the Hessian is too large for an upper bound,
    which is +inf. NOT_FINITE: the gradient or the Hessian has entries that are not finite, and all
    values are NaN.
    """

    BOUNDED = 0
    LOWER_BOUND_ONLY = 1
    NOT_FINITE = 2


class GeneralizedSharpness(NamedTuple):
    """Bounds on the generalized sharpness S, and the curvature along the step.

    Args:
        low: d^T H d of the best direction found, a lower bound on S; 0, with d = 0, if no positive
            value was found.
        high: an upper bound on S; +inf if none was computed.
        direction: the direction with d^T H d = low, a pytree like the parameters.
        step_curvature: d^T H d along the direction d of the step, of norm 1. It is at most S.
        dual_norm: |g|_*, the slope along that direction.
        status: a `GeneralizedSharpnessStatus`.
    """

    low: float
    high: float
    direction: PyTree
    step_curvature: float
    dual_norm: float
    status: int

    __repr__, _repr_html_ = fields_with(status=GeneralizedSharpnessStatus)


def generalized_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    norm: str,
    *,
    key: Key[Array, ""],
    num_starts: int = 8,
    max_steps: int = 200,
    rtol: float = 1e-4,
) -> GeneralizedSharpness:
    """Return bounds on the generalized sharpness at a point.

    It solves programs on the host, so that JAX cannot transform it; `WarmGeneralizedSharpness` is
    the lower bound as a measurement of runs.

        low <= max over |d| <= 1 of d^T H d <= high

    The lower bound is computed by a local search: Frank-Wolfe steps with exact line search, from
    the steepest direction, from random directions, and from solutions of the problem of the upper
    bound. In the maximum norm these solutions are rounded, and changes of single signs follow the
    search. The upper bound is the best of several (see `norm_bounds`), among them dual solutions of
    a semidefinite relaxation for "linf" and "spectral", the largest diagonal entry of the positive
    part of H for "l1", and the largest eigenvalue of any diagonal block of that part for "block".
    For "l2" both are the largest eigenvalue, or 0 if that is negative. Both bounds are valid up to
    rounding of H.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used.
        params: parameters at which to take the Hessian H and the gradient g.
        norm: norm of d, as for `non_euclidean_descent`: "linf", "l1", "l2", "spectral"
            or "block".
        key: random key of the starts.
        num_starts: number of random starts of the search.
        max_steps: maximum number of steps of each search.
        rtol: relative duality gap at which a search ends.

    Returns:
        Bounds with a status. Above 2,048 parameters, where the dense Hessian would be too large,
        the search uses Hessian-vector products and the upper bound is +inf.

    Examples:
        >>> square = lambda w: jnp.sum(w**2) / 2
        >>> key = jax.random.key(0)
        >>> result = generalized_sharpness(square, jnp.ones((2, 3)), "spectral", key=key)
        >>> round(result.low, 3), round(result.high, 3)
        (2.0, 2.0)

        In the maximum norm, both bounds are the trace if H is diagonal and has no negative entry:

        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> result = generalized_sharpness(bowl, jnp.array([1.0, 1.0]), "linf", key=key)
        >>> round(result.low, 4), round(result.high, 4)
        (11.0, 11.0)

    References: Islamov et al. 2026, *Non-Euclidean Gradient Descent Operates at the Edge of
    Stability*, arXiv 2603.05002.
    """
    check_choice("generalized_sharpness: norm", norm, NORMS)
    check_key(key)
    check_whole("generalized_sharpness: num_starts", num_starts, 0, MAX_COUNT)
    check_limits("generalized_sharpness: max_steps", max_steps, Count)
    check_limits("generalized_sharpness: rtol", rtol, NotNegative)
    params = at_least_float32(params)
    operator = HessianOperator(problem, params)
    flat, unravel = ravel_pytree(params)
    gradient = ravel_pytree(jax.jit(_gradient)(operator))[0]
    steepest = partial(_steepest, norm=norm, unravel=unravel)
    step = steepest(gradient)
    H = None
    if len(flat) <= MAX_DENSE:
        H = np.asarray(jax.jit(lambda o: o.as_matrix())(operator), float)
    image = jax.jit(lambda o, v: o.flat_mv(v))(operator, step)
    if not all(np.all(np.isfinite(a)) for a in (gradient, image, () if H is None else H)):
        nan_direction = jax.tree.map(lambda w: jnp.full_like(w, jnp.nan), params)
        status = GeneralizedSharpnessStatus.NOT_FINITE
        return GeneralizedSharpness(np.nan, np.nan, nan_direction, np.nan, np.nan, int(status))
    high, candidates = np.inf, np.zeros((0, len(flat)))
    if H is not None:
        high, candidates = norm_bounds.upper_bound(H, norm, params)
    random = jax.vmap(steepest)(jax.random.normal(key, (num_starts, len(flat)), flat.dtype))
    starts = jnp.concatenate([step[None], random, jnp.asarray(candidates, flat.dtype)])
    search = partial(_search, norm=norm, unravel=unravel, max_steps=max_steps, rtol=rtol)
    if H is None:
        searched = jax.jit(jax.vmap(lambda o, d: search(o.flat_mv, d), (None, 0)))
        directions, values = searched(operator, starts)
    else:
        searched = jax.jit(jax.vmap(lambda A, d: search(lambda v: A @ v, d), (None, 0)))
        directions, _ = searched(jnp.asarray(H, flat.dtype), starts)
        directions = np.asarray(directions, float)
        if norm == "linf":
            directions = np.stack([norm_bounds.change_signs(H, d) for d in directions])
        values = np.sum(directions * (directions @ H), axis=1)
    best = int(np.argmax(values))
    low, direction = float(values[best]), directions[best]
    if low < 0:
        low, direction = 0.0, np.zeros(len(flat))
    status = GeneralizedSharpnessStatus.BOUNDED
    if H is None:
        status = GeneralizedSharpnessStatus.LOWER_BOUND_ONLY
    return GeneralizedSharpness(
        low,
        # If the bound is attained, rounding may make it smaller than `low`.
        max(float(high), low),
        unravel(jnp.asarray(direction, flat.dtype)),
        float(np.asarray(step, float) @ np.asarray(image, float)),
        float(np.asarray(gradient, float) @ np.asarray(step, float)),
        int(status),
    )


def _gradient(operator):
    return averaged(operator.problem, jax.grad, operator.params)


def _steepest(flat, *, norm, unravel):
    return ravel_pytree(NORMS[norm](unravel(flat)))[0]


def _search(product, direction, *, norm, unravel, max_steps, rtol):
    """Return a stationary direction of d^T H d in the unit ball, and its value.

    Each step goes to the maximum on the segment from d to a v that maximizes v . H d over |v| <= 1.
    """

    def unfinished(state):
        steps, _, _, gap, value = state
        return (steps < max_steps) & (gap > rtol * jnp.abs(value))

    def move(state):
        steps, d, image, _, value = state
        v = _steepest(image, norm=norm, unravel=unravel)
        if norm == "linf":
            v = jnp.where(image == 0, d, v)
        target = product(v)
        slope, curvature = jnp.vdot(v - d, image), jnp.vdot(v - d, target - image)
        t = jnp.where(curvature < -slope, -slope / jnp.where(curvature < 0, curvature, 1), 1)
        t = jnp.where(slope > 0, t, 0).astype(d.dtype)
        next_value = value + t * (2 * slope + t * curvature)
        return steps + 1, d + t * (v - d), image + t * (target - image), slope, next_value

    image = product(direction)
    value = jnp.vdot(direction, image)
    first = (jnp.zeros((), int), direction, image, jnp.full_like(value, jnp.inf), value)
    _, direction, image, _, _ = jax.lax.while_loop(unfinished, move, first)
    return direction, jnp.vdot(direction, image)


@dataclass(frozen=True)
class WarmGeneralizedSharpness:
    """Measurement of a lower bound on the generalized sharpness, which starts at the last one.

        low = d^T H d <= max over |d| <= 1 of d^T H d

    One search starts from the direction found by the last estimate (at first a random one), and
    another from the steepest direction, so that the bound is at least the curvature along the
    latter. Upper bounds require the dense Hessian; see `generalized_sharpness`.

    Args:
        norm: norm of d, as for `generalized_sharpness`. For "l2", use `Sharpness`.
        max_steps: maximum number of steps of each of the two searches, with one Hessian-vector
            product per step.

    Examples:
        >>> import gdjax as gd
        >>> bowl, w = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2, jnp.ones(2)
        >>> float(gd.measure({"low": WarmGeneralizedSharpness("linf")}, (bowl, w)).low.round(3))
        11.0
    """

    norm: str
    _: KW_ONLY
    max_steps: int = 20

    def __post_init__(self):
        check_choice("WarmGeneralizedSharpness: norm", self.norm, NORMS)
        check_limits("WarmGeneralizedSharpness: max_steps", self.max_steps, Count)

    @property
    def long_name(self) -> str:
        """Description of the value."""
        return f"generalized sharpness in the norm {self.norm}, lower bound"

    def init(self, problem: Problem, params: PyTree) -> Float[Array, " n"]:
        """Return a random direction of norm 1, the initial state."""
        flat, unravel = ravel_pytree(params)
        normal = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
        return _steepest(normal, norm=self.norm, unravel=unravel)

    def __call__(
        self, problem: Problem, params: PyTree, last: Float[Array, " n"]
    ) -> tuple[Float[Array, ""], Float[Array, " n"]]:
        """Return the lower bound, and its direction, from which the next search starts."""
        operator, _, step = _step_at("WarmGeneralizedSharpness", problem, params, self.norm)
        unravel = ravel_pytree(params)[1]
        options = {"norm": self.norm, "unravel": unravel, "max_steps": self.max_steps}
        search = partial(_search, operator.flat_mv, rtol=1e-3, **options)
        directions, values = jax.vmap(search)(jnp.stack([step, last]))
        best = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))
        # If the best direction is not finite, the next search starts from the previous one.
        direction = jnp.where(jnp.all(jnp.isfinite(directions[best])), directions[best], last)
        low = jnp.where(jnp.isnan(values[best]), jnp.nan, jnp.maximum(values[best], 0))
        return low.astype(cost_type(params)), direction


@described(long_name="curvature along the steepest direction")
def step_curvature(problem: Problem | Callable, params: PyTree, *, norm: str) -> Float[Array, ""]:
    """Return the curvature along the steepest direction.

        d^T H d,   d = argmax over |d| <= 1 of g . d

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used.
        params: parameters at which to evaluate.
        norm: norm of d, as for `generalized_sharpness`.

    Examples:
        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> float(step_curvature(bowl, jnp.ones(2), norm="linf"))
        11.0
    """
    operator, _, step = _step_at("step_curvature", problem, params, norm)
    return jnp.vdot(step, operator.flat_mv(step)).astype(cost_type(params))


@described(long_name="dual norm of the gradient")
def dual_gradient_norm(
    problem: Problem | Callable, params: PyTree, *, norm: str
) -> Float[Array, ""]:
    """Return the dual norm of the gradient.

        |g|_* = max over |d| <= 1 of g . d

    For steps that are not scaled by the dual norm, the limit of the generalized sharpness is 2
    |g|_* / eta.

    Args:
        problem, params, norm: as for `step_curvature`.

    Examples:
        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> float(dual_gradient_norm(bowl, jnp.ones(2), norm="linf"))
        11.0
    """
    _, gradient, step = _step_at("dual_gradient_norm", problem, params, norm)
    return jnp.vdot(step, gradient).astype(cost_type(params))


def _step_at(caller, problem, params, norm):
    """Return the Hessian, the gradient, and the steepest direction, both as flat vectors."""
    check_choice(f"{caller}: norm", norm, NORMS)
    operator = HessianOperator(problem, params)
    gradient = ravel_pytree(_gradient(operator))[0]
    step = _steepest(gradient, norm=norm, unravel=ravel_pytree(params)[1])
    return operator, gradient, step
