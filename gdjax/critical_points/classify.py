"""Classify a critical point, with evidence.

    strict minimum:   L |H^-1 g| / lambda_min < 1/2,   every eigenvalue of H beyond its own error

The sign of an eigenvalue is known where it is larger than its residual and rounding. Where some
have no sign, the third and fourth order along their directions decide, or the cost is followed
along them. The simplest instance:

>>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
>>> certificate = classify(saddle, jnp.zeros(2), key=jax.random.key(0))
>>> certificate.kind_name, float(certificate.smallest), float(certificate.largest)
('saddle', -2.0, 2.0)

Rounding is measured: derivatives are taken again on both sides of the point, a few units in the
last place of each parameter away. A parameter is taken to be known to a few `eps` times its size,
and to a few `eps` if it is smaller than 1. So derivatives that jump at the point count as rounding.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Key, PyTree, ScalarLike

from gdjax.critical_points.certificate import Certificate, Kind
from gdjax.critical_points.flat_directions import falls_first, follow
from gdjax.curvature import inertia
from gdjax.curvature.directional_derivatives import (
    DirectionalDerivatives,
    directional_derivatives,
    largest_third,
    reduced,
)
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.inertia import Bends
from gdjax.curvature.operators import FunctionOperator
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import check_params, ravel_params

DENSE = 2048  # parameters up to which the whole Hessian is decomposed
FLAT_DIRECTIONS = 4  # random directions among those without a sign
NEAREST, FARTHEST = 0.01, 10.0  # probes for dead coordinates; the latter times max(1, |w|)
PROBES = 15  # radii from one to the other
DIGITS = 4  # units in the last place of a parameter by which the point is displaced
FINE = 1e-12  # relative to the largest curvature, a flat direction's must be seen to be less
NEAR = 0.5  # Newton and Kantorovich's bound
DOMINANT = 4  # a third or fourth order must be so much larger than what could imitate it
FORM_ROUNDING = 2  # units of rounding by which v^T H v is off, of |v|^T |H| |v|
JUMP = 1000  # units of rounding of a gradient nearby above which a change may be a jump


class GradientEvidence(NamedTuple):
    """The gradient at a point, and how exact it is.

    Args:
        cost: at the point.
        g: gradient.
        norm: of the gradient.
        displaced: the point a few last digits away, along two directions and their opposites.
        changes: of the gradient there.
        rounding: of the gradient.
        live: coordinates that the cost depends on.
        probe_radius: up to which the others were probed.
        displacement: length of the longest of these.
        jump: by how much the gradient jumps at the point, 0 where its changes are those of a smooth
            function.
    """

    cost: Float[Array, ""]
    g: Float[Array, " n"]
    norm: Float[Array, ""]
    displaced: Float[Array, "4 n"]
    changes: Float[Array, "4 n"]
    rounding: Float[Array, ""]
    live: Bool[Array, " n"]
    probe_radius: Float[Array, ""]
    displacement: Float[Array, ""]
    jump: Float[Array, ""]


class KantorovichEvidence(NamedTuple):
    """Whether a critical point is near, restricted to directions of nonzero curvature.

    Args:
        step: Newton's, -H^+ g.
        rounding: of its length.
        kantorovich: L |H^+ g| / |eigenvalue nearest to zero|, where L |H^+ g| is at least the
            Hessian's change in the last digits, and half of that over twice the step.
        digits: the former over |eigenvalue nearest to zero|.
        distance: to that point, at most.
        flat: unit directions without a sign of curvature, and those among them along which the
            third derivative is largest.
        third: largest third derivative along them.
    """

    step: Float[Array, " n"]
    rounding: Float[Array, ""]
    kantorovich: Float[Array, ""]
    digits: Float[Array, ""]
    distance: Float[Array, ""]
    flat: Float[Array, "directions n"]
    third: Float[Array, ""]

    @property
    def is_near(self) -> Bool[Array, ""]:
        """Whether Newton's method converges from here."""
        return self.kantorovich < NEAR


class HigherOrderEvidence(NamedTuple):
    """Third and fourth order along flat directions, and whether there is a floor.

    Signs are those of a cost that curves upwards elsewhere.

    Args:
        sign: -1 where the other directions curve downwards.
        flat_gradient_vanishes: whether the gradient along flat directions is rounding.
        cubic: largest third derivative.
        cubic_rounding: how exact it is.
        cubic_significant: whether it is larger than what could imitate it.
        quartic: smallest reduced fourth derivative.
        quartic_rounding: how exact it is.
        rises: whether it is above 0 along one direction, beyond what could imitate it.
        falls: whether it is below 0 along one direction, likewise.
        vanishes: whether no third or fourth derivative can be told from 0.
        second_order_decides_no_more: whether only higher orders can decide.
        may_be_floor: whether nothing contradicts a floor.
        floor_length: how far it was followed.
    """

    sign: Float[Array, ""]
    flat_gradient_vanishes: Bool[Array, ""]
    cubic: Float[Array, ""]
    cubic_rounding: Float[Array, ""]
    cubic_significant: Bool[Array, ""]
    quartic: Float[Array, ""]
    quartic_rounding: Float[Array, ""]
    rises: Bool[Array, ""]
    falls: Bool[Array, ""]
    vanishes: Bool[Array, ""]
    second_order_decides_no_more: Bool[Array, ""]
    may_be_floor: Bool[Array, ""]
    floor_length: Float[Array, ""]

    @property
    def cubic_vanishes(self) -> Bool[Array, ""]:
        """Whether third derivatives cannot be told from 0."""
        return self.cubic <= self.cubic_rounding


def classify(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    gradient_tolerance: ScalarLike = 1e-5,
    distance_tolerance: ScalarLike = 1e-3,
    rtol: ScalarLike = 1e-6,
    max_steps: int = 100,
) -> Certificate:
    """Classify a critical point, with evidence: see `Kind` and `Certificate`.

    Parameters in float64 are evaluated in float64, whether JAX is set to it or not; the numbers of
    the certificate are NumPy's then.

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)`.
        params: the point, polished (see `polish`).
        key: for random probes and starts.
        data: instead of the problem's own.
        gradient_tolerance: of the gradient's norm, in units of the cost per unit of parameter.
        distance_tolerance: of the distance to the critical point that is named, in units of
            max(1, |w|): where Newton's step is longer than this and its rounding, the point is not
            stationary.
        rtol: of residuals of eigenvalues, relative to the largest |eigenvalue|; above 2,048
            parameters, where they come from products.
        max_steps: as for `extreme_eigenpairs`, above 2,048 parameters.

    Raises:
        InputError: parameters that are not real floats, or a cost that is not a scalar.

    Examples:
        >>> found = classify(lambda w: 1e4 * w[0]**2 - 0.4 * w[1]**2, jnp.zeros(2),
        ...                  key=jax.random.key(0))
        >>> found.kind_name
        'saddle'

    References:
        Kantorovich 1948; Ortega and Rheinboldt 1970, *Iterative Solution of Nonlinear Equations in
        Several Variables*, 12.6.2.
    """
    problem = as_problem(problem, data)
    leaves = jax.tree.leaves((params, problem.data, key))
    tolerances = (gradient_tolerance, distance_tolerance, rtol)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return _traced(problem, params, key, *tolerances, max_steps)
    check_params(params)
    wide = any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(params))
    with jax.enable_x64(jax.config.read("jax_enable_x64") or wide):
        certificate = _compiled(problem, params, key, *tolerances, max_steps)
        # NumPy's float64 can be used where JAX's would be cut to float32.
        return jax.tree.map(np.asarray, certificate) if wide else certificate


def _traced(problem, params, key, gradient_tolerance, distance_tolerance, rtol, max_steps):
    w, unravel = ravel_params(params)
    at = directional_derivatives(problem, unravel)
    tolerances = (gradient_tolerance, distance_tolerance, rtol)
    certificate = _certificate(
        at, w, _data_scale(problem.data, w.dtype), key, *tolerances, max_steps
    )
    return certificate._replace(newton_point=unravel(certificate.newton_point))


_compiled = jax.jit(_traced, static_argnames="max_steps")


def _data_scale(data, dtype):
    """Return the largest |number| of the data; 1 where there is none."""
    leaves = [leaf for leaf in jax.tree.leaves(data) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    leaves = [leaf for leaf in leaves if leaf.size]
    if not leaves:
        return jnp.ones((), dtype)
    scale = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)).astype(dtype) for leaf in leaves]))
    return jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)


def _certificate(at, w, data_scale, key, gradient_tolerance, distance_tolerance, rtol, max_steps):
    # One draw: every one of its own takes longer to compile than all the rest.
    count = PROBES + 2
    draw = jax.random.normal(key, (2 + count + 2 + FLAT_DIRECTIONS, w.size), w.dtype)
    shifts, away, probes, combined = jnp.split(draw, (2, 2 + count, 4 + count))
    farthest = FARTHEST * jnp.maximum(1, jnp.max(jnp.abs(w)))
    radii = NEAREST * (farthest / NEAREST) ** jnp.linspace(0, 1, PROBES, dtype=w.dtype)
    radii = jnp.concatenate([radii, jnp.stack([data_scale, 1 / data_scale])])
    gradient = _gradient_evidence(at, w, shifts, radii, away)
    mask = gradient.live.astype(w.dtype)
    probes = mask[None] * probes

    # How the Hessian changes in the last digits.
    points = jnp.stack([w, gradient.displaced[0], gradient.displaced[2]])
    products = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(points, probes)
    change = jnp.max(_norm(products[1:] - products[:1]))
    hessian = FunctionOperator(partial(at.product, w), w)
    if w.size <= DENSE:
        curvature = inertia.every(hessian, mask, change)
    else:
        curvature = inertia.ends(hessian, mask, change, key=key, rtol=rtol, max_steps=max_steps)
    near = _kantorovich_evidence(at, w, gradient, curvature, mask, probes, combined)
    resolution = jnp.max(jnp.where(curvature.known, curvature.radius, 0))
    lean = curvature.inverse(resolution * probes[1]) / w.size**0.5
    lean = lean / jnp.maximum(1, 1e3 * jnp.linalg.norm(lean))
    higher = _higher_order_evidence(
        at, w, gradient, curvature, near, lean, resolution, distance_tolerance
    )

    stationary = jnp.maximum(gradient_tolerance, gradient.rounding)
    reach = distance_tolerance * jnp.maximum(1, jnp.linalg.norm(w))
    finite = jnp.all(
        jnp.isfinite(
            jnp.stack([gradient.norm, curvature.norm, change, gradient.cost.astype(w.dtype)])
        )
    )
    kind = _kind(gradient, curvature, near, higher, stationary, reach, finite)
    lowest = jnp.argmin(jnp.where(curvature.known, curvature.values, jnp.inf))
    highest = jnp.argmax(jnp.where(curvature.known, curvature.values, -jnp.inf))
    has_curvature = jnp.any(gradient.live) & finite
    is_flat = curvature.nullity > 0
    dead = jnp.sum(~gradient.live).astype(jnp.int32)
    on_dead_floor = (kind == Kind.FLOOR) & ~is_flat
    return Certificate(
        kind=kind,
        cost=gradient.cost,
        gradient_norm=gradient.norm,
        gradient_tolerance=stationary,
        smallest=jnp.where(has_curvature, curvature.values[lowest], jnp.nan),
        largest=jnp.where(has_curvature, curvature.values[highest], jnp.nan),
        smallest_residual=jnp.where(has_curvature, curvature.radius[lowest], jnp.nan),
        largest_residual=jnp.where(has_curvature, curvature.radius[highest], jnp.nan),
        resolution=resolution,
        negative=jnp.sum(curvature.down).astype(jnp.int32),
        nullity=curvature.nullity.astype(jnp.int32),
        dead=dead,
        probe_radius=gradient.probe_radius,
        kantorovich=near.kantorovich,
        distance=near.distance,
        newton_point=w + near.step,
        newton_distance=_norm(near.step),
        distance_tolerance=reach + near.rounding,
        cubic=jnp.where(is_flat, higher.cubic, jnp.nan),
        cubic_resolution=jnp.where(is_flat, higher.cubic_rounding, jnp.nan),
        quartic=jnp.where(is_flat, higher.sign * higher.quartic, jnp.nan),
        quartic_resolution=jnp.where(is_flat, higher.quartic_rounding, jnp.nan),
        floor_length=jnp.where(on_dead_floor, jnp.ones_like(w[0]), higher.floor_length),
    )


def _gradient_evidence(at: DirectionalDerivatives, w, shifts, radii, away) -> GradientEvidence:
    """Gradients at the point, in its last digits, and far away, to find dead coordinates."""
    eps = jnp.finfo(w.dtype).eps
    digits = DIGITS * eps * jnp.maximum(1, jnp.abs(w))
    size = jnp.abs(shifts)
    shifts = digits[None] * jnp.sign(shifts) * (1 + size) / (2 + size)
    shifts = jnp.concatenate([shifts, -shifts])
    # Around the point and around 0, to both sides, each coordinate by the radius at least.
    away = radii[:, None] * jnp.sign(away) * (1 + jnp.abs(away))
    far = jnp.concatenate([w[None] + away, w[None] - away, away, -away])
    points = jnp.concatenate([w[None], w[None] + shifts, w[None] + 2 * shifts, far])
    costs, gradients = jax.lax.map(at.gradient, points, batch_size=11)
    g, near, twice, distant = jnp.split(gradients, (1, 5, 9))
    changes = near - g
    norm = _norm(g[0])
    # A jump has one size at every distance; a smooth change grows in proportion to it.
    across, within = _norm(near[:2] - near[2:]), _norm(near - twice)
    nearby = _norm(distant[0])
    jumps = (across > DOMINANT * (within[:2] + within[2:])) & (across > JUMP * eps * nearby)
    jump = jnp.max(jnp.where(jumps, across, 0))
    return GradientEvidence(
        cost=costs[0],
        g=g[0],
        norm=norm,
        displaced=w[None] + shifts,
        changes=changes,
        rounding=jnp.max(_norm(changes)) + eps * norm,
        live=jnp.any((gradients != 0) & ~jnp.isnan(gradients), axis=0),
        probe_radius=jnp.max(radii),
        displacement=jnp.max(_norm(shifts)),
        jump=jump,
    )


def _kantorovich_evidence(
    at: DirectionalDerivatives,
    w,
    gradient: GradientEvidence,
    curvature: Bends,
    mask,
    probes,
    combined,
) -> KantorovichEvidence:
    """Newton's step and, from third derivatives, whether it converges.

    Third derivatives are sought in all directions, here and where the step leads, and in flat
    directions: one program for all, which takes long to compile.
    """
    step = -curvature.inverse(gradient.g)
    rounding = jnp.max(_norm(jax.vmap(curvature.inverse)(gradient.changes)))
    length = _norm(step) + rounding
    basis = curvature.basis
    flat = _flat_directions(combined @ basis @ basis.T)
    starts = jnp.stack([step, curvature.flattest, probes[0]])
    points = jnp.concatenate(
        [jnp.stack([w] * 3 + [w + step] * 3), jnp.stack([w] * FLAT_DIRECTIONS)]
    )
    among_flat = (jnp.arange(6 + FLAT_DIRECTIONS) >= 6)[:, None]
    thirds, turned = largest_third(
        at,
        points,
        jnp.concatenate([starts, starts, flat]),
        lambda vectors: jnp.where(among_flat, vectors @ basis @ basis.T, vectors * mask[None]),
    )
    # Of kinks third derivatives say nothing: products in the last digits, and as far behind the
    # critical point as that is away.
    others = jnp.stack([w, gradient.displaced[1], gradient.displaced[3], w + 2 * step])
    sought = jnp.concatenate([jnp.stack([curvature.flattest, curvature.steepest]), _unit(probes)])
    images = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(others, sought)
    kinks = _norm(images[1:] - images[:1]) / jnp.array([1, 1, 2], w.dtype)[:, None]
    change = jnp.maximum(jnp.max(thirds[:6]) * length, jnp.max(kinks))
    signed = jnp.any(curvature.up | curvature.down)
    kantorovich = jnp.where(signed, change / curvature.least, 0)
    digits = jnp.where(signed, jnp.max(kinks[:2]) / curvature.least, 0)
    root = jnp.sqrt(jnp.maximum(1 - 2 * kantorovich, 0))
    return KantorovichEvidence(
        step=step,
        rounding=rounding,
        kantorovich=kantorovich,
        digits=digits,
        distance=jnp.where(kantorovich < NEAR, 2 * length / (1 + root), jnp.inf),
        flat=jnp.concatenate([flat, turned[6:]]),
        third=jnp.max(thirds[6:]),
    )


def _flat_directions(combined):
    """Return unit vectors; those of a pair are orthogonal where there is more than one direction.

    Along a pair of orthogonal directions x^4 - y^4 rises and falls, whichever they are.
    """
    first, second = (_unit(vectors) for vectors in jnp.split(combined, 2))
    rest = second - jnp.sum(first * second, axis=1, keepdims=True) * first
    rest = rest - jnp.sum(first * rest, axis=1, keepdims=True) * first
    distinct = _norm(rest)[:, None] > 1e-2
    return jnp.concatenate([first, jnp.where(distinct, _unit(rest), second)])


def _unit(vectors):
    return vectors / jnp.maximum(_norm(vectors)[:, None], 1e-30)


def _norm(vectors):
    """Return lengths along the last axis; squares of 1e-27 would underflow in float32."""
    size = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    scale = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    return scale[..., 0] * jnp.linalg.norm(vectors / scale, axis=-1)


def _higher_order_evidence(
    at: DirectionalDerivatives,
    w,
    gradient: GradientEvidence,
    curvature: Bends,
    near: KantorovichEvidence,
    lean,
    resolution,
    distance,
) -> HigherOrderEvidence:
    """Higher orders along flat directions, where the gradient must vanish first.

    A third or fourth order is significant where, at the distance that a name is about, it is
    larger than what an eigenvalue without a sign could do:

        |T3| t^3 / 6, |T4| t^4 / 24 > DOMINANT |lambda| t^2 / 2   at t = distance
    """
    eps = jnp.finfo(w.dtype).eps
    any_up, any_down = jnp.any(curvature.up), jnp.any(curvature.down)
    basis = curvature.basis

    def among_flat(v):
        return jnp.linalg.norm(basis.T @ v)

    rounding = jnp.max(jax.vmap(among_flat)(gradient.changes))
    rounding += eps * (gradient.rounding + gradient.norm)
    flat_gradient_vanishes = among_flat(gradient.g) <= 2 * rounding
    sign = jnp.where(any_down & ~any_up, -1, 1).astype(w.dtype)
    orders = _orders(at, w, gradient, near, lean, curvature, resolution, sign)
    cubic = jnp.maximum(jnp.max(jnp.abs(orders.third)), near.third)
    cubic_rounding = orders.third_rounding + 64 * eps * cubic
    # What a quartic looks like a little beside its point.
    unsigned = jnp.max(jnp.where(curvature.level, curvature.radius + jnp.abs(curvature.values), 0))
    steepest = jnp.max(jnp.abs(orders.fourth))
    imitation = jnp.maximum(jnp.sqrt(2 * unsigned * steepest), jnp.cbrt(6 * rounding * steepest**2))
    # In float32 far from 0 a name is about a distance that last digits span.
    spanned = jnp.maximum(distance, 2 * gradient.displacement)
    dominates = cubic * spanned > 3 * DOMINANT * jnp.max(orders.unsigned)
    dominates &= jnp.all(
        jnp.abs(orders.second) <= orders.second_rounding + 2 * cubic * gradient.displacement
    )
    size = jnp.abs(orders.fourth)
    distinct = (size > orders.fourth_rounding) & (
        size * distance**2 > 12 * DOMINANT * orders.unsigned
    )
    # A little beside its point a quartic has a third order, and curvature: T3^2 / 2 T4.
    beside = cubic**2 / jnp.where(size > 0, size, 1)
    # Curvature that is known, and is not that of a quartic within its last digits, decides itself.
    agrees = orders.second * jnp.sign(orders.fourth) > 0
    beside = orders.second_rounding + beside
    beside += jnp.where(agrees, size * gradient.displacement**2, 0)
    significant = distinct & (jnp.abs(orders.second) <= beside)
    rises = jnp.any(significant & (orders.fourth > 0))
    falls = jnp.any(significant & (orders.fourth < 0))
    vanishes = (cubic <= cubic_rounding) & jnp.all(size <= orders.fourth_rounding)
    settled = (curvature.nullity > 0) & ~(any_up & any_down) & flat_gradient_vanishes & near.is_near
    may_be_floor = settled & vanishes & (sign > 0) & ~curvature.hidden
    floor_length = jnp.zeros_like(gradient.cost)
    if eps < FINE:  # in float32 a floor and a bowl of condition 1e8 are the same
        along = jnp.concatenate([near.flat[:2], -near.flat[:2]])
        followed = partial(
            follow, at, w, gradient.cost, gradient.g, scale=curvature.norm, wanted=may_be_floor
        )
        length = jnp.min(jax.vmap(followed)(along))
        falling = partial(falls_first, at, w + near.step, wanted=may_be_floor & (length >= 1))
        floor_length = jnp.where(jnp.any(jax.vmap(falling)(along)), 0, length)
    return HigherOrderEvidence(
        sign=sign,
        flat_gradient_vanishes=flat_gradient_vanishes,
        cubic=cubic,
        cubic_rounding=cubic_rounding,
        cubic_significant=dominates & (cubic > DOMINANT * jnp.maximum(cubic_rounding, imitation)),
        quartic=jnp.min(orders.fourth),
        quartic_rounding=jnp.max(orders.fourth_rounding),
        rises=rises,
        falls=falls,
        vanishes=vanishes,
        second_order_decides_no_more=settled,
        may_be_floor=may_be_floor,
        floor_length=floor_length,
    )


class _Orders(NamedTuple):
    """Derivatives along flat directions n, and how exact they are.

    Args:
        second: n^T H n where Newton's step leads.
        second_rounding: of n^T H n, from its terms.
        unsigned: |second| at most, with all that is known of its error.
        third: T3[n^3].
        third_rounding: its largest change in the last digits.
        fourth: the reduced fourth derivative.
        fourth_rounding: its change in the last digits, rounding, and the error of H^+.
    """

    second: Float[Array, " k"]
    second_rounding: Float[Array, " k"]
    unsigned: Float[Array, " k"]
    third: Float[Array, " k"]
    third_rounding: Float[Array, ""]
    fourth: Float[Array, " k"]
    fourth_rounding: Float[Array, " k"]


def _orders(
    at: DirectionalDerivatives,
    w,
    gradient,
    near: KantorovichEvidence,
    lean,
    curvature: Bends,
    resolution,
    sign,
) -> _Orders:
    """Derivatives of order 2 to 4 along flat directions.

    They are taken again in the last digits, to both sides of the point, the higher ones with
    directions as inexact as they are.
    """
    eps = jnp.finfo(w.dtype).eps
    points = jnp.stack([w, gradient.displaced[1], gradient.displaced[3]])
    lengths = jnp.linalg.norm(near.flat, axis=1, keepdims=True)
    leaning = lean[None] * lengths
    directions = jnp.stack([near.flat, near.flat + leaning, near.flat - leaning])
    orders = jax.vmap(jax.vmap(lambda w, n: reduced(at, w, n, curvature.inverse), (None, 0)))(
        points, directions
    )

    forms = jax.vmap(lambda n: n @ at.product(w, n))(near.flat)
    size = jax.vmap(curvature.form_size)(near.flat)
    second = sign * (forms + orders.bend[0] @ near.step)
    # Along an axis of the Hessian nothing is rounded; elsewhere all of its entries are.
    inexact_form = jnp.where(size > eps * curvature.norm, curvature.norm, size)
    third_change = 2 * jnp.max(jnp.abs(orders.third[1:] - orders.third[:1]))
    fourth_change = 2 * jnp.max(jnp.abs(orders.fourth[1:] - orders.fourth[:1]))
    inexact = 3 * resolution * jnp.sum(orders.following[0] ** 2, axis=1)
    return _Orders(
        second=second,
        second_rounding=FORM_ROUNDING * eps * size,
        unsigned=jnp.abs(second) + ROUNDING * eps * inexact_form,
        third=sign * orders.third[0],
        third_rounding=third_change,
        fourth=sign * orders.fourth[0],
        fourth_rounding=fourth_change + 64 * eps * jnp.max(orders.terms) + inexact,
    )


def _kind(
    gradient: GradientEvidence,
    curvature: Bends,
    near: KantorovichEvidence,
    higher: HigherOrderEvidence,
    stationary,
    reach,
    finite,
):
    """The first of the kinds whose evidence holds."""
    any_up, any_down = jnp.any(curvature.up), jnp.any(curvature.down)
    both = any_up & any_down
    # Curvature explains a change of the gradient by its own size times the distance.
    jumps = gradient.jump > DOMINANT * curvature.norm * gradient.displacement
    newton_distance = _norm(near.step)
    far = newton_distance > reach + near.rounding
    in_last_digits = (newton_distance <= near.rounding) & (near.digits < NEAR)
    saddle = higher.flat_gradient_vanishes & (near.is_near | in_last_digits)
    all_signs = (curvature.nullity == 0) & ~curvature.hidden & near.is_near
    isolated = all_signs & jnp.all(gradient.live)
    one = (curvature.nullity == 1) & ~curvature.hidden
    rises, falls = higher.rises, higher.falls
    cases = [
        (~finite, Kind.UNDECIDED),
        (~jnp.any(gradient.live), Kind.FLAT),
        (jumps, Kind.NO_DERIVATIVE),
        ((gradient.norm > stationary) | far, Kind.NOT_STATIONARY),
        (both & saddle, Kind.SADDLE),
        (both, Kind.UNDECIDED),
        (isolated & any_up, Kind.STRICT_MINIMUM),
        (isolated & any_down, Kind.STRICT_MAXIMUM),
        (all_signs & any_up, Kind.FLOOR),
        (~higher.second_order_decides_no_more, Kind.UNDECIDED),
        (higher.cubic_significant, Kind.DEGENERATE_SADDLE),
        (~higher.cubic_vanishes, Kind.UNDECIDED),
        (falls & (any_up | any_down | rises), Kind.DEGENERATE_SADDLE),
        (one & rises & (higher.sign > 0), Kind.DEGENERATE_MINIMUM),
        (one & (rises | falls), Kind.DEGENERATE_MAXIMUM),
        (higher.may_be_floor & (higher.floor_length >= 1), Kind.FLOOR),
    ]
    conditions, kinds = zip(*cases, strict=True)
    kind = jnp.select(conditions, [int(kind) for kind in kinds], int(Kind.UNDECIDED))
    return kind.astype(jnp.int32)
