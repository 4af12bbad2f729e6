"""Which kind of critical point is this? A name where the evidence holds beyond rounding.

    strict minimum:   L |H^-1 g| / lambda_min < 1/2,   every eigenvalue of H beyond its own error

The sign of an eigenvalue is known where it is larger than its residual and rounding; where some
have no sign, the third and fourth order along their directions are looked at, and whether the cost
stays the same there. The simplest instance:

>>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
>>> certificate = classify(saddle, jnp.zeros(2), key=jax.random.key(0))
>>> name(certificate), float(certificate.smallest), float(certificate.largest)
('saddle', -2.0, 2.0)

Rounding is measured: gradient and Hessian are taken again at parameters whose last digits differ.
A parameter is taken to be known to `eps` times its size, and to `eps` if it is smaller than 1.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Key, PyTree, ScalarLike

from gdjax.geometry import bends
from gdjax.geometry.bends import Bends
from gdjax.geometry.certificates import Certificate, Kind, name
from gdjax.geometry.floors import follow
from gdjax.geometry.higher_orders import Derivatives, derivatives, largest_third, reduced
from gdjax.geometry.products import raveled
from gdjax.problems.checks import check_params
from gdjax.problems.problem import Problem, as_problem

__all__ = ["Certificate", "Kind", "classify", "name"]

DENSE = 2048  # parameters up to which the whole Hessian is decomposed: every sign is looked at
LEVEL = 4  # random directions among those that do not bend
FAR = (0.01, 0.1, 1.0)  # how far away it is looked whether a coordinate is dead
MEASURED = 4  # what was measured once of a rounding error may be so many times as large
FINE = 1e-12  # relative to the steepest curvature, a floor's must be seen to be less
NEAR = 0.5  # Newton and Kantorovich's bound
DOMINANT = 4  # a third or fourth order must be so much larger than what could imitate it


class _Slope(NamedTuple):
    """The gradient at a point, and how exact it is.

    Args:
        cost: at the point.
        g: gradient.
        size: its norm.
        near: the point with other last digits, twice.
        changes: of the gradient there.
        rounding: of the gradient.
        live: coordinates that the cost depends on.
        jumps: whether it changes too much in the last digits to be one of a smooth cost.
    """

    cost: Float[Array, ""]
    g: Float[Array, " n"]
    size: Float[Array, ""]
    near: Float[Array, "2 n"]
    changes: Float[Array, "2 n"]
    rounding: Float[Array, ""]
    live: Bool[Array, " n"]
    jumps: Bool[Array, ""]


class _Beside(NamedTuple):
    """Whether a critical point is near by, as far as the directions that bend are concerned.

    Args:
        kantorovich: L |H^+ g| / |eigenvalue nearest to zero|.
        distance: to that point, at most.
        level: unit directions that do not bend, and those among them along which the third
            derivative is largest.
        third: largest third derivative along the latter.
    """

    kantorovich: Float[Array, ""]
    distance: Float[Array, ""]
    level: Float[Array, "directions n"]
    third: Float[Array, ""]


class _Beyond(NamedTuple):
    """What the third and fourth order say along directions that do not bend, and whether there is
    a floor; signs are those of a cost that bends up elsewhere.

    Args:
        sign: -1 where the others bend down.
        still: whether the slope along these directions is gone.
        cubic: largest third derivative.
        cubic_rounding: how exact it is.
        third_speaks: whether it is larger than what could imitate it.
        quartic: smallest reduced fourth derivative.
        quartic_rounding: how exact it is.
        rises: whether it is above 0 along one.
        falls: whether it is below 0 along one.
        settled: whether the second order has decided all that it can.
        may_be_floor: whether nothing speaks against a floor.
        floor_length: how far it was followed.
    """

    sign: Float[Array, ""]
    still: Bool[Array, ""]
    cubic: Float[Array, ""]
    cubic_rounding: Float[Array, ""]
    third_speaks: Bool[Array, ""]
    quartic: Float[Array, ""]
    quartic_rounding: Float[Array, ""]
    rises: Bool[Array, ""]
    falls: Bool[Array, ""]
    settled: Bool[Array, ""]
    may_be_floor: Bool[Array, ""]
    floor_length: Float[Array, ""]

    @property
    def third_is_silent(self) -> Bool[Array, ""]:
        """Whether third derivatives cannot be told from 0."""
        return self.cubic <= self.cubic_rounding


def classify(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    gradient_tolerance: ScalarLike = 1e-5,
    tolerance: ScalarLike = 1e-6,
    restarts: int = 100,
) -> Certificate:
    """Say what kind of point this is, with the evidence: see `Kind` and `Certificate`.

    Parameters in float64 are looked at in float64, whether JAX is set to it or not; numbers are
    NumPy's then.

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)`.
        params: the point, polished (see `polish`).
        key: for random probes and starts.
        data: instead of the problem's own.
        gradient_tolerance: of the gradient's norm, in units of the cost a unit of parameter.
        tolerance: of residuals of eigenvalues, relative to the largest |eigenvalue|; above 2,048
            parameters, where they come from products.
        restarts: as for `extremes`, above 2,048 parameters.

    Raises:
        InputError: parameters that are no real floats, or a cost that is no scalar.

    Examples:
        >>> found = classify(lambda w: 1e4 * w[0]**2 - 0.4 * w[1]**2, jnp.zeros(2),
        ...                  key=jax.random.key(0))
        >>> name(found)
        'saddle'

    Source: Kantorovich 1948; Ortega and Rheinboldt 1970, *Iterative Solution of Nonlinear
    Equations in Several Variables*, 12.6.2.
    """
    problem = as_problem(problem, data)
    leaves = jax.tree.leaves((params, problem.data, key))
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return _traced(problem, params, key, gradient_tolerance, tolerance, restarts)
    check_params(params)
    wide = any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(params))
    with jax.enable_x64(jax.config.read("jax_enable_x64") or wide):
        found = _compiled(problem, params, key, gradient_tolerance, tolerance, restarts)
        # NumPy's float64 can be used where JAX's would be cut to float32.
        return jax.tree.map(np.asarray, found) if wide else found


def _traced(problem, params, key, gradient_tolerance, tolerance, restarts):
    flat, unravel = raveled(params)
    at = derivatives(problem, unravel)
    return _certificate(at, flat, key, gradient_tolerance, tolerance, restarts)


_compiled = jax.jit(_traced, static_argnames="restarts")


def _certificate(at, w, key, gradient_tolerance, tolerance, restarts):
    # One draw: every one of its own takes longer to compile than all the rest.
    draw = jax.random.normal(key, (2 + len(FAR) + 2 + LEVEL, w.size), w.dtype)
    signs, away, probes, combined = jnp.split(draw, (2, 2 + len(FAR), 4 + len(FAR)))
    slope = _slope(at, w, signs, away)
    mask = slope.live.astype(w.dtype)
    probes = mask[None] * probes

    # How the Hessian changes in the last digits.
    products = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(
        jnp.stack([w, slope.near[0]]), probes
    )
    shaken = MEASURED * jnp.max(jnp.linalg.norm(products[1] - products[0], axis=1))
    product = partial(at.product, w)
    if w.size <= DENSE:
        bent = bends.every(product, mask, shaken)
    else:
        bent = bends.ends(product, mask, shaken, key=key, tolerance=tolerance, restarts=restarts)
    beside = _beside(at, w, slope, bent, mask, probes[0], combined)
    lean = bent.inverse(shaken * probes[1]) / w.size**0.5
    lean = lean / jnp.maximum(1, 1e3 * jnp.linalg.norm(lean))
    beyond = _beyond(at, w, slope, bent, beside, lean)

    stationary = jnp.maximum(gradient_tolerance, slope.rounding)
    finite = jnp.all(
        jnp.isfinite(jnp.stack([slope.size, bent.norm, shaken, slope.cost.astype(w.dtype)]))
    )
    kind = _kind(slope, bent, beside, beyond, stationary, finite)
    lowest = jnp.argmin(jnp.where(bent.known, bent.values, jnp.inf))
    highest = jnp.argmax(jnp.where(bent.known, bent.values, -jnp.inf))
    seen = jnp.any(slope.live) & finite
    not_bent = bent.nullity > 0
    return Certificate(
        kind=kind,
        cost=slope.cost,
        gradient_norm=slope.size,
        gradient_tolerance=stationary,
        smallest=jnp.where(seen, bent.values[lowest], jnp.nan),
        largest=jnp.where(seen, bent.values[highest], jnp.nan),
        smallest_residual=jnp.where(seen, bent.radius[lowest], jnp.nan),
        largest_residual=jnp.where(seen, bent.radius[highest], jnp.nan),
        resolution=jnp.max(jnp.where(bent.known, bent.radius, 0)),
        negative=jnp.sum(bent.down).astype(jnp.int32),
        nullity=bent.nullity.astype(jnp.int32),
        dead=jnp.sum(~slope.live).astype(jnp.int32),
        kantorovich=beside.kantorovich,
        distance=beside.distance,
        cubic=jnp.where(not_bent, beyond.cubic, jnp.nan),
        cubic_resolution=jnp.where(not_bent, beyond.cubic_rounding, jnp.nan),
        quartic=jnp.where(not_bent, beyond.sign * beyond.quartic, jnp.nan),
        quartic_resolution=jnp.where(not_bent, beyond.quartic_rounding, jnp.nan),
        floor_length=beyond.floor_length,
    )


def _slope(at: Derivatives, w, signs, away) -> _Slope:
    """Gradients here, at other last digits, and far away, where only dead coordinates have none."""
    eps = jnp.finfo(w.dtype).eps
    digit = eps * jnp.maximum(1, jnp.abs(w))
    near = w[None] + digit[None] * jnp.where(signs < 0, -1, 1)
    far = w[None] + jnp.array(FAR, w.dtype)[:, None] * away
    costs, gradients = jax.vmap(at.gradient)(jnp.concatenate([w[None], near, far]))
    changes = gradients[1:3] - gradients[:1]
    size = jnp.linalg.norm(gradients[0])
    # A smooth gradient changes by far more over 0.01 than in the last digits.
    over = jnp.maximum(1e-3 * jnp.linalg.norm(gradients[3]), jnp.sqrt(eps))
    return _Slope(
        cost=costs[0],
        g=gradients[0],
        size=size,
        near=near,
        changes=changes,
        rounding=MEASURED * jnp.max(jnp.linalg.norm(changes, axis=1)) + eps * size,
        live=jnp.any(gradients != 0, axis=0),
        jumps=jnp.linalg.norm(changes[0]) > over,
    )


def _beside(at: Derivatives, w, slope: _Slope, bent: Bends, mask, probe, combined) -> _Beside:
    """Newton's step and, from third derivatives, whether it arrives.

    Third derivatives are sought in all directions, here and where the step leads, and in those that
    do not bend: one program for all, which takes long to compile.
    """
    step = -bent.inverse(slope.g)
    length = jnp.linalg.norm(step)
    length += MEASURED * jnp.max(jnp.linalg.norm(jax.vmap(bent.inverse)(slope.changes), axis=1))
    basis = bent.basis
    combined = combined @ basis @ basis.T
    level = combined / jnp.maximum(jnp.linalg.norm(combined, axis=1, keepdims=True), 1e-30)
    starts = jnp.stack([step, bent.flattest, probe])
    points = jnp.concatenate([jnp.stack([w] * 3 + [w + step] * 3), jnp.stack([w] * LEVEL)])
    among = (jnp.arange(6 + LEVEL) >= 6)[:, None]
    thirds, turned = largest_third(
        at,
        points,
        jnp.concatenate([starts, starts, level]),
        lambda vectors: jnp.where(among, vectors @ basis @ basis.T, vectors * mask[None]),
    )
    changing = jnp.max(thirds[:6])
    signed = jnp.any(bent.up | bent.down)
    kantorovich = jnp.where(signed, changing * length / bent.least, 0)
    root = jnp.sqrt(jnp.maximum(1 - 2 * kantorovich, 0))
    return _Beside(
        kantorovich=kantorovich,
        distance=jnp.where(kantorovich < NEAR, 2 * length / (1 + root), jnp.inf),
        level=jnp.concatenate([level, turned[6:]]),
        third=jnp.max(thirds[6:]),
    )


def _beyond(at: Derivatives, w, slope: _Slope, bent: Bends, beside: _Beside, lean) -> _Beyond:
    """Where no second order speaks: a slope along level directions must be gone first."""
    eps = jnp.finfo(w.dtype).eps
    any_up, any_down = jnp.any(bent.up), jnp.any(bent.down)
    basis = bent.basis

    def among_level(v):
        return jnp.linalg.norm(basis.T @ v)

    rounding = MEASURED * jnp.max(jax.vmap(among_level)(slope.changes))
    rounding += eps * (slope.rounding + slope.size)
    still = among_level(slope.g) <= 2 * rounding
    sign = jnp.where(any_down & ~any_up, -1, 1).astype(w.dtype)
    cubics, quartics, cubic_rounding, quartic_rounding = _orders(
        at, w, slope.near[1], beside.level, lean, bent, sign
    )
    cubic = jnp.maximum(jnp.max(jnp.abs(cubics)), beside.third)
    cubic_rounding += 64 * eps * cubic
    # What a quartic looks like a little beside its point.
    unsigned = jnp.max(jnp.where(bent.level, bent.radius + jnp.abs(bent.values), 0))
    steepest = jnp.max(jnp.abs(quartics))
    imitation = jnp.maximum(jnp.sqrt(2 * unsigned * steepest), jnp.cbrt(6 * rounding * steepest**2))
    rises, falls = jnp.any(quartics > quartic_rounding), jnp.any(quartics < -quartic_rounding)
    settled = (bent.nullity > 0) & ~(any_up & any_down) & still & (beside.kantorovich < NEAR)
    silent = (cubic <= cubic_rounding) & ~rises & ~falls
    may_be_floor = settled & silent & (sign > 0) & ~bent.hidden
    floor_length = jnp.zeros_like(slope.cost)
    if eps < FINE:  # in float32 a floor and a bowl of condition 1e8 are the same
        along = jnp.concatenate([beside.level[:2], -beside.level[:2]])
        followed = partial(follow, at, w, slope.cost, slope.g, scale=bent.norm, wanted=may_be_floor)
        floor_length = jnp.min(jax.vmap(followed)(along))
    return _Beyond(
        sign=sign,
        still=still,
        cubic=cubic,
        cubic_rounding=cubic_rounding,
        third_speaks=cubic > DOMINANT * jnp.maximum(cubic_rounding, imitation),
        quartic=jnp.min(quartics),
        quartic_rounding=quartic_rounding,
        rises=rises,
        falls=falls,
        settled=settled,
        may_be_floor=may_be_floor,
        floor_length=floor_length,
    )


def _orders(at: Derivatives, w, near, directions, lean, bent: Bends, sign):
    """Third and reduced fourth derivatives along directions, and how exact they are.

    They are taken again with other last digits and with directions as inexact as they are.
    """
    eps = jnp.finfo(w.dtype).eps

    def orders(point, direction):
        third, fourth, terms = reduced(at, point, direction, bent.inverse)
        return sign * third, sign * fourth, terms

    leaning = directions + lean[None] * jnp.linalg.norm(directions, axis=1, keepdims=True)
    third, fourth, terms = jax.vmap(jax.vmap(orders, (None, 0)), (0, 0))(
        jnp.stack([w, near]), jnp.stack([directions, leaning])
    )
    third_error = 2 * MEASURED * jnp.max(jnp.abs(third[1] - third[0]))
    fourth_error = 2 * MEASURED * jnp.max(jnp.abs(fourth[1] - fourth[0]))
    return third[0], fourth[0], third_error, fourth_error + 64 * eps * jnp.max(terms)


def _kind(slope: _Slope, bent: Bends, beside: _Beside, beyond: _Beyond, stationary, finite):
    """The first of the kinds whose evidence holds."""
    any_up, any_down = jnp.any(bent.up), jnp.any(bent.down)
    both = any_up & any_down
    near_by = beside.kantorovich < NEAR
    saddle = (near_by & beyond.still) | (slope.size <= slope.rounding)
    all_signs = (bent.nullity == 0) & ~bent.hidden & near_by
    one = (bent.nullity == 1) & ~bent.hidden
    rises, falls = beyond.rises, beyond.falls
    cases = [
        (~finite, Kind.UNDECIDED),
        (~jnp.any(slope.live), Kind.FLAT),
        (slope.jumps, Kind.NO_DERIVATIVE),
        (slope.size > stationary, Kind.NOT_STATIONARY),
        (both & saddle, Kind.SADDLE),
        (both, Kind.UNDECIDED),
        (all_signs & any_up, Kind.STRICT_MINIMUM),
        (all_signs & any_down, Kind.STRICT_MAXIMUM),
        (~beyond.settled, Kind.UNDECIDED),
        (beyond.third_speaks, Kind.DEGENERATE_SADDLE),
        (~beyond.third_is_silent, Kind.UNDECIDED),
        (falls & (any_up | any_down | rises), Kind.DEGENERATE_SADDLE),
        (one & rises & (beyond.sign > 0), Kind.DEGENERATE_MINIMUM),
        (one & (rises | falls), Kind.DEGENERATE_MAXIMUM),
        (beyond.may_be_floor & (beyond.floor_length >= 1), Kind.FLOOR),
    ]
    conditions, kinds = zip(*cases, strict=True)
    found = jnp.select(conditions, [int(kind) for kind in kinds], int(Kind.UNDECIDED))
    return found.astype(jnp.int32)
