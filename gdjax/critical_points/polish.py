"""From where a descent stopped to the critical point next to it, so that it can be told what it is.

    H p = -g within |p| <= radius,   w <- w + p if the cost fell as g and H had promised

A descent's gradient shrinks slowly at the end; Newton's step makes it vanish, to rounding. That is
done in float64, whatever the descent was in: in float32 a gradient ends at 1e-4 or so, and whether
a point is a minimum cannot be said from there. The simplest instance:

>>> valley = lambda w: w[0] ** 2 + 100 * w[1] ** 2
>>> found = polish(valley, jnp.array([0.05, 0.001]))
>>> bool(found.gradient_norm <= 1e-10), int(found.steps), Stop(int(found.stop)).name
(True, 1, 'ARRIVED')

`downhill` is the same inside a program, in the type of the parameters it is given.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from gdjax.curvature import jacobi_eigh
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.curvature.eigenpairs import DENSE
from gdjax.curvature.operators import FunctionOperator
from gdjax.errors import InputError
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import check_params, ravel_params
from gdjax.summaries import fields

RADIUS = 0.1  # of the first step: short, since the point beside this one is looked for
INNER = 200  # products for one step, at most


class Stop(IntEnum):
    """Why polishing ended.

    - ARRIVED: the gradient's norm is at most the tolerance.
    - STEPS: all steps were taken, and it was still on its way.
    - ROUNDING: no step that parameters of this type can take makes the cost fall.
    - NOT_FINITE: the gradient is not.
    """

    ARRIVED = 0
    STEPS = 1
    ROUNDING = 2
    NOT_FINITE = 3


class Polished(NamedTuple):
    """Where polishing ended.

    Args:
        params: the point.
        cost: there.
        gradient_norm: there; above the tolerance if it was not reached.
        steps: how many were tried.
        stop: why it ended, a value of `Stop`; `advice` says what would help.
    """

    params: PyTree
    cost: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    steps: Int[Array, ""]
    stop: Int[Array, ""]

    __repr__ = fields


def advice(polished: Polished) -> str:
    """What would help where polishing did not arrive; "" where it did.

    Examples:
        >>> advice(polish(lambda w: jnp.sum(jnp.exp(-w)), jnp.zeros(2), steps=3))
        'after 3 steps the gradient is 0.86: take more steps; if the parameters go on growing, the
         minimum lies at infinity, and weight decay brings it back'
    """
    stop, size = Stop(int(polished.stop)), float(polished.gradient_norm)
    if stop == Stop.STEPS:
        return (
            f"after {int(polished.steps)} steps the gradient is {size:.2g}: take more steps; if "
            f"the parameters go on growing, the minimum lies at infinity, and weight decay brings "
            f"it back"
        )
    if stop == Stop.ROUNDING:
        single = polished.cost.dtype == np.float32
        wider = "polish in float64, or" if single else "scale the cost, or"
        return (
            f"the gradient is {size:.2g} and rounding hides which way is down: {wider} allow a "
            f"larger tolerance; at a kink of the cost no gradient becomes small"
        )
    if stop == Stop.NOT_FINITE:
        return "the gradient is not finite where it began: the descent diverged"
    return ""


class _Downhill(NamedTuple):
    w: Float[Array, " n"]
    cost: Float[Array, ""]
    g: Float[Array, " n"]
    radius: Float[Array, ""]
    steps: Int[Array, ""]


def polish(
    problem: Problem | Callable,
    params: PyTree,
    *,
    data: PyTree = None,
    steps: int = 100,
    tolerance: ScalarLike = 1e-10,
) -> Polished:
    """Downhill to the critical point beside this one, in float64.

    Each step solves H p = -g by conjugate gradients, which stop at the region's edge and follow a
    direction that bends down as far as that; so it leaves saddles, unless it starts on one. The
    first step is at most 0.1 long. Where the change of the cost drowns in rounding, it is taken
    from the gradients at both ends, -(g + g') p / 2.

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)`.
        params: where the descent stopped.
        data: instead of the problem's own.
        steps: at most so many, with up to 200 products each.
        tolerance: norm of the gradient at which it ends.

    Returns:
        The point, as NumPy's float64; `stop` says whether it arrived, and `advice` what would help.

    Raises:
        InputError: parameters that are no real floats, or are traced: inside a program, take
            `downhill`.

    Source: Steihaug 1983; Nocedal and Wright, *Numerical Optimization* (2006), algorithm 7.2; for
    rounding, Hager and Zhang 2005.
    """
    problem = as_problem(problem, data)
    check_params(params)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        raise InputError(
            "polish: params are traced, and float64 cannot be switched on inside a program; take "
            "`downhill` there, in the type that the parameters have"
        )
    with jax.enable_x64(True):
        found = _compiled(problem, wide(params), steps=steps, tolerance=tolerance)
        # NumPy's float64 can be used where JAX's would be cut to float32.
        return jax.tree.map(np.asarray, found)


def wide(tree: PyTree) -> PyTree:
    """Real arrays in float64, to be called where that is switched on; integers stay what they are.

    The way there goes by NumPy, since JAX keeps the type of what it already holds.
    """

    def widened(leaf):
        array = np.asarray(leaf)
        real = np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"
        return jnp.asarray(array.astype(np.float64) if real else array)

    return jax.tree.map(widened, tree)


def downhill(
    problem: Problem | Callable,
    params: PyTree,
    *,
    data: PyTree = None,
    steps: int = 100,
    tolerance: ScalarLike = 1e-6,
) -> Polished:
    """As `polish`, for use inside a program: in the type of the parameters.

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)`.
        params: where the descent stopped.
        data: instead of the problem's own.
        steps: at most so many, with up to 200 products each.
        tolerance: norm of the gradient at which it ends; 1e-6 suits float32, 1e-10 float64.
    """
    flat, unravel = ravel_params(params)
    eps = jnp.finfo(flat.dtype).eps
    at = directional_derivatives(as_problem(problem, data), unravel)
    start = at.gradient(flat)
    first = jnp.linalg.norm(start[1])

    def going_on(state):
        size = jnp.linalg.norm(state.g)
        moving = state.radius > eps * jnp.linalg.norm(state.w)
        return (size > tolerance) & (state.steps < steps) & moving & jnp.isfinite(size)

    def step(state):
        size = jnp.linalg.norm(state.g)
        product = partial(at.product, state.w)
        precise = size * jnp.minimum(0.1, jnp.sqrt(size / first))
        p, bent = _steihaug(product, state.g, state.radius, jnp.maximum(precise, tolerance / 10))
        promised = -(state.g @ p + p @ bent / 2)
        value, g = at.gradient(state.w + p)
        fell = jnp.where(
            promised > 100 * eps * jnp.abs(state.cost),
            state.cost - value,
            -(state.g + g) @ p / 2,
        )
        kept = jnp.where(promised > 0, fell / promised, -1.0)
        better = (kept > 1e-4) & jnp.all(jnp.isfinite(g)) & jnp.isfinite(value)
        length = jnp.linalg.norm(p)
        radius = jnp.where(
            better & (kept > 0.75) & (length > 0.9 * state.radius),
            2 * state.radius,
            jnp.where(better & (kept > 0.25), state.radius, length / 4),
        )
        return _Downhill(
            jnp.where(better, state.w + p, state.w),
            jnp.where(better, value, state.cost),
            jnp.where(better, g, state.g),
            radius,
            state.steps + 1,
        )

    end = jax.lax.while_loop(
        going_on,
        step,
        _Downhill(flat, *start, jnp.full_like(first, RADIUS), jnp.zeros((), jnp.int32)),
    )
    return _ended(unravel(end.w), end.cost, end.g, end.steps, steps, tolerance)


@partial(jax.jit, static_argnames="steps")
def _compiled(problem, params, *, steps, tolerance):
    return downhill(problem, params, steps=steps, tolerance=tolerance)


def _ended(params, cost, g, taken, steps, tolerance):
    size = jnp.linalg.norm(g)
    stop = jnp.select(
        [~jnp.isfinite(size), size <= tolerance, taken >= steps],
        [int(Stop.NOT_FINITE), int(Stop.ARRIVED), int(Stop.STEPS)],
        int(Stop.ROUNDING),
    )
    return Polished(params, cost, size, taken, stop.astype(jnp.int32))


def nearest_critical_point(
    problem: Problem | Callable,
    params: PyTree,
    *,
    data: PyTree = None,
    steps: int = 100,
    tolerance: ScalarLike = 1e-6,
) -> Polished:
    """To a critical point near by, be it minimum, maximum or saddle, for small problems.

        (H^2 + damping I) p = -H g,   which makes |g| fall

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)`.
        params: where to start, at most 512 parameters.
        data: instead of the problem's own.
        steps: at most so many.
        tolerance: norm of the gradient at which it ends.

    Returns:
        The point; its gradient's norm stays above the tolerance where |g| has a minimum that is
        not zero.

    Raises:
        InputError: more parameters than that.

    Examples:
        >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[0] * w[1] ** 3
        >>> found = nearest_critical_point(saddle, jnp.array([0.1, -0.1]))
        >>> bool(jnp.max(jnp.abs(found.params)) < 1e-5)
        True

    Source: Levenberg 1944, Marquardt 1963, for the equations g(w) = 0.
    """
    flat, unravel = ravel_params(params)
    if flat.size > DENSE:
        raise InputError(
            f"nearest_critical_point: {flat.size} parameters, expected at most {DENSE}; `polish` "
            f"goes downhill from any number of them"
        )
    at = directional_derivatives(as_problem(problem, data), unravel)
    eps = jnp.finfo(flat.dtype).eps

    def going_on(state):
        _, _, g, damping, count = state
        size = jnp.linalg.norm(g)
        return (size > tolerance) & (count < steps) & jnp.isfinite(size) & (damping < 1 / eps)

    def step(state):
        w, value, g, damping, count = state
        hessian = FunctionOperator(partial(at.product, w), w)
        with jax.default_matmul_precision("highest"):
            values, vectors = jacobi_eigh.eigh(hessian.as_matrix())
            bend = values**2 + damping * jnp.max(values**2)
            p = -vectors @ (values / jnp.where(bend > 0, bend, 1) * (vectors.T @ g))
        value_next, g_next = at.gradient(w + p)
        better = jnp.linalg.norm(g_next) < jnp.linalg.norm(g)
        return (
            jnp.where(better, w + p, w),
            jnp.where(better, value_next, value),
            jnp.where(better, g_next, g),
            damping * jnp.where(better, 0.1, 10),
            count + 1,
        )

    value, g = at.gradient(flat)
    w, value, g, _, count = jax.lax.while_loop(
        going_on, step, (flat, value, g, jnp.full_like(value, 1e-3), jnp.zeros((), jnp.int32))
    )
    return _ended(unravel(w), value, g, count, steps, tolerance)


def _steihaug(product, g, radius, precise):
    """H p = -g by conjugate gradients, to |H p + g| <= precise or the edge; p and H p."""
    most = min(INNER, 2 * g.size + 10)

    def going_on(state):
        _, _, _, _, done, count = state
        return ~done & (count < most)

    def step(state):
        p, bent, r, d, _, count = state
        image = product(d)
        curvature = d @ image
        length = r @ r / jnp.where(curvature > 0, curvature, 1)
        over = (curvature <= 0) | (jnp.linalg.norm(p + length * d) >= radius)
        # |p + length d| = radius; p is shorter than that.
        a, b, c = d @ d, p @ d, radius**2 - p @ p
        edge = c / (b + jnp.sqrt(jnp.maximum(b**2 + a * c, 0)))
        length = jnp.where(over, edge, length)
        r_next = r + length * image
        d_next = -r_next + (r_next @ r_next) / (r @ r) * d
        done = over | (jnp.linalg.norm(r_next) <= precise)
        return p + length * d, bent + length * image, r_next, d_next, done, count + 1

    zero = jnp.zeros_like(g)
    begin = (zero, zero, g, -g, jnp.array(False), jnp.zeros((), jnp.int32))
    p, bent, *_ = jax.lax.while_loop(going_on, step, begin)
    return p, bent
