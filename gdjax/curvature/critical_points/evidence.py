"""Evidence for the kind of a point: gradients, Newton's step, higher orders.

    a critical point is near:  L |H^+ g| / |eigenvalue nearest to zero| < 1/2
    along a flat direction n:  C(w + t n) = C(w) + t^3 / 6 T3[n^3] + t^4 / 24 T4[n^4] + ...

`classify` derives the kind from this evidence.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gdjax.curvature.critical_points.flat_directions import constant_length, falls_first
from gdjax.curvature.critical_points.rounding_unit import rounding_unit
from gdjax.curvature.directional_derivatives import DirectionalDerivatives, largest_third, reduced
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.inertia import Inertia

FLAT_DIRECTIONS = 4  # number of random directions of indeterminate curvature
DIGITS = 4  # largest number of units in the last place by which each parameter is displaced
MAX_FLAT_CURVATURE = 1e-12  # largest eps at which flat directions are followed
MAX_KANTOROVICH = 0.5  # Kantorovich number below which Newton's method converges
DOMINANT = 4  # factor by which a jump or a significant derivative exceeds what other causes explain
FORM_ROUNDING = 2  # rounding error of v^T H v, in units of eps |v|^T |H| |v|
JUMP_FACTORS = 8.0 ** np.arange(5)  # multiples of a displacement over which a jump is compared
JUMP = 1000  # smallest change that may be a jump, in units of eps times the gradient norm nearby


class GradientEvidence(NamedTuple):
    """Gradient at a point, its rounding error, and its changes at displaced points.

    `displaced` are points a few units in the last place away, along two directions and their
    opposites, and `jumps` compares points at `JUMP_FACTORS` times this displacement.
    """

    eps: float
    cost: Float[Array, ""]
    g: Float[Array, " n"]
    norm: Float[Array, ""]
    displaced: Float[Array, "4 n"]
    changes: Float[Array, "4 n"]
    rounding: Float[Array, ""]
    live: Bool[Array, " n"]
    probe_radius: Float[Array, ""]
    displacement: Float[Array, ""]
    jumps: Float[Array, " factors"]


class KantorovichEvidence(NamedTuple):
    """Evidence for a critical point nearby; see `Classification` for `kantorovich`.

    `digits` is the Hessian's change when the last digits of the parameters change, divided by
    |eigenvalue nearest to zero|; `third` is the largest |third derivative| along `flat` directions.
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
        return self.kantorovich < MAX_KANTOROVICH


class HigherOrderEvidence(NamedTuple):
    """Derivatives along flat directions, and evidence for a manifold of minima.

    Signs are normalized such that the cost curves upwards in the other directions.
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
    higher_orders_decide: Bool[Array, ""]
    flat_length: Float[Array, ""]


def gradient_evidence(
    at: DirectionalDerivatives, w, shifts, radii, far_offsets
) -> GradientEvidence:
    """Evaluate gradients at the point, near it, and far away (for dead coordinates)."""
    eps = rounding_unit(at.gradient, w)
    digits = DIGITS * eps * jnp.maximum(1, jnp.abs(w))
    size = jnp.abs(shifts)
    shifts = digits[None] * jnp.sign(shifts) * (1 + size) / (2 + size)
    shifts = jnp.concatenate([shifts, -shifts])
    # Probe on both sides of the point and of 0, at least the radius away in each coordinate.
    far_offsets = radii[:, None] * jnp.sign(far_offsets) * (1 + jnp.abs(far_offsets))
    far_points = jnp.concatenate(
        [w[None] + far_offsets, w[None] - far_offsets, far_offsets, -far_offsets]
    )
    multiples = jnp.asarray(np.append(JUMP_FACTORS, 2), w.dtype)[:, None, None] * shifts[None]
    points = jnp.concatenate([w[None], w[None] + multiples.reshape(-1, w.size), far_points])
    costs, gradients = jax.lax.map(at.gradient, points, batch_size=11)
    g, near, distant = jnp.split(gradients, (1, 1 + 4 * len(multiples)))
    across = jnp.reshape(near, (len(multiples), 2, 2, w.size))
    across = lengths(across[:, 0] - across[:, 1])  # between opposite displacements
    near, twice = near[:4], near[-4:]
    changes = near - g
    norm = lengths(g[0])
    # The size of a jump is independent of the distance; a smooth change is proportional to the
    # distance.
    within, nearby = lengths(near - twice), lengths(distant[0])
    is_jump = (across[0] > DOMINANT * (within[:2] + within[2:])) & (across[0] > JUMP * eps * nearby)
    jumps = jnp.where(is_jump, across[:-1], 0)
    return GradientEvidence(
        eps=eps,
        cost=costs[0],
        g=g[0],
        norm=norm,
        displaced=w[None] + shifts,
        changes=changes,
        rounding=jnp.max(lengths(changes)) + eps * norm,
        live=jnp.any((gradients != 0) & ~jnp.isnan(gradients), axis=0),
        probe_radius=jnp.max(radii),
        displacement=jnp.max(lengths(shifts)),
        jumps=jumps[:, jnp.argmax(jumps[0])],
    )


def kantorovich_evidence(
    at: DirectionalDerivatives,
    w,
    gradient: GradientEvidence,
    curvature: Inertia,
    mask,
    probes,
    combined,
) -> KantorovichEvidence:
    """Evaluate Newton's step, and by third derivatives whether the method converges.

    Third derivatives are computed along all directions, at the point and at the end of the step,
    and along flat directions. A single program computes all of them, since compilation takes a long
    time.
    """
    step = -curvature.pseudoinverse(gradient.g)
    rounding = jnp.max(lengths(jax.vmap(curvature.pseudoinverse)(gradient.changes)))
    length = lengths(step) + rounding
    basis = curvature.flat_basis
    flat = _flat_directions(combined @ basis @ basis.T)
    starts = jnp.stack([step, curvature.flattest, probes[0]])
    points = jnp.concatenate(
        [jnp.stack([w] * 3 + [w + step] * 3), jnp.stack([w] * FLAT_DIRECTIONS)]
    )
    among_flat = (jnp.arange(6 + FLAT_DIRECTIONS) >= 6)[:, None]
    thirds, cubic_directions = largest_third(
        at,
        points,
        jnp.concatenate([starts, starts, flat]),
        lambda vectors: jnp.where(among_flat, vectors @ basis @ basis.T, vectors * mask[None]),
    )
    # Third derivatives do not detect kinks. Products with H are therefore also compared at points a
    # few units in the last place away, and at twice the step, beyond the critical point.
    displaced_points = jnp.stack([w, gradient.displaced[1], gradient.displaced[3], w + 2 * step])
    directions = jnp.concatenate(
        [jnp.stack([curvature.flattest, curvature.steepest]), _unit(probes)]
    )
    images = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(displaced_points, directions)
    kinks = lengths(images[1:] - images[:1]) / jnp.array([1, 1, 2], w.dtype)[:, None]
    change = jnp.maximum(jnp.max(thirds[:6]) * length, jnp.max(kinks))
    signed = jnp.any(curvature.positive | curvature.negative)
    kantorovich = jnp.where(signed, change / curvature.smallest_magnitude, 0)
    digits = jnp.where(signed, jnp.max(kinks[:2]) / curvature.smallest_magnitude, 0)
    root = jnp.sqrt(jnp.maximum(1 - 2 * kantorovich, 0))
    return KantorovichEvidence(
        step=step,
        rounding=rounding,
        kantorovich=kantorovich,
        digits=digits,
        distance=jnp.where(kantorovich < MAX_KANTOROVICH, 2 * length / (1 + root), jnp.inf),
        flat=jnp.concatenate([flat, cubic_directions[6:]]),
        third=jnp.max(thirds[6:]),
    )


def _flat_directions(combined):
    """Return unit vectors in pairs, orthogonal if there is more than one direction.

    Of two orthogonal directions, x^4 - y^4 rises along one and falls along the other, unless it is
    0 along both.
    """
    first, second = (_unit(vectors) for vectors in jnp.split(combined, 2))
    orthogonal = second - jnp.sum(first * second, axis=1, keepdims=True) * first
    orthogonal = orthogonal - jnp.sum(first * orthogonal, axis=1, keepdims=True) * first
    distinct = lengths(orthogonal)[:, None] > 1e-2
    return jnp.concatenate([first, jnp.where(distinct, _unit(orthogonal), second)])


def _unit(vectors):
    return vectors / jnp.maximum(lengths(vectors)[:, None], 1e-30)


def lengths(vectors):
    """Return lengths along the last axis.

    Vectors are scaled, since squares of 1e-27 would underflow in float32.
    """
    size = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    scale = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    return scale[..., 0] * jnp.linalg.norm(vectors / scale, axis=-1)


def higher_order_evidence(
    at: DirectionalDerivatives,
    w,
    gradient: GradientEvidence,
    curvature: Inertia,
    newton: KantorovichEvidence,
    direction_error,
    resolution,
    distance,
) -> HigherOrderEvidence:
    """Evaluate derivatives of third and fourth order along flat directions.

    They can determine the kind only if the gradient along flat directions vanishes. A derivative is
    significant if, at the distance tolerance, it changes the cost by more than an indeterminate
    eigenvalue does:

        |T3| t^3 / 6, |T4| t^4 / 24 > DOMINANT |lambda| t^2 / 2   at t = distance
    """
    eps = gradient.eps
    any_positive, any_negative = jnp.any(curvature.positive), jnp.any(curvature.negative)
    basis = curvature.flat_basis

    def among_flat(v):
        return jnp.linalg.norm(basis.T @ v)

    rounding = jnp.max(jax.vmap(among_flat)(gradient.changes))
    rounding += eps * (gradient.rounding + gradient.norm)
    flat_gradient_vanishes = among_flat(gradient.g) <= 2 * rounding
    sign = jnp.where(any_negative & ~any_positive, -1, 1).astype(w.dtype)
    orders = _orders(at, w, gradient, newton, direction_error, curvature, resolution, sign)
    cubic = jnp.maximum(jnp.max(jnp.abs(orders.third)), newton.third)
    cubic_rounding = orders.third_rounding + 64 * eps * cubic
    # `imitation` is the third derivative that a quartic alone can have this close to its critical
    # point; a cubic term must exceed it.
    indeterminate_size = jnp.max(
        jnp.where(curvature.indeterminate, curvature.error_bound + jnp.abs(curvature.values), 0)
    )
    steepest = jnp.max(jnp.abs(orders.fourth))
    imitation = jnp.maximum(
        jnp.sqrt(2 * indeterminate_size * steepest), jnp.cbrt(6 * rounding * steepest**2)
    )
    # In float32, far from 0, a change of the last digits can exceed the distance tolerance.
    resolved_distance = jnp.maximum(distance, 2 * gradient.displacement)
    dominates = cubic * resolved_distance > 3 * DOMINANT * jnp.max(orders.second_bound)
    # The curvature is not zero close to a degenerate point, nor between two nondegenerate points.
    # The rounding of w explains it only if the Hessian does not change faster than its own size.
    slope = jnp.where(any_positive | any_negative, jnp.minimum(cubic, curvature.norm), cubic)
    max_second = orders.second_rounding + DIGITS * eps * slope * lengths(w)
    dominates &= jnp.all(jnp.abs(orders.second) <= max_second)
    # At a distance d along n from a degenerate point, n^T H n = T3 d, and the gradient along flat
    # directions is T3 d^2 / 2. A nondegenerate point next to another one has this curvature, but a
    # smaller gradient. Other indeterminate eigenvalues contribute to the curvature if n has
    # components along their eigenvectors.
    steepest_cubic = jnp.argmax(jnp.abs(orders.third))
    n, third = newton.flat[steepest_cubic], orders.third[steepest_cubic]
    tilt = among_flat(orders.third_vector[steepest_cubic] / jnp.where(third == 0, 1, third) - n)
    second = jnp.abs(orders.second[steepest_cubic])
    max_second = orders.second_rounding[steepest_cubic] + tilt**2 * indeterminate_size
    dominates &= (second <= max_second) | (jnp.abs(third) * among_flat(gradient.g) >= second**2 / 4)
    size = jnp.abs(orders.fourth)
    distinct = (size > orders.fourth_rounding) & (
        size * distance**2 > 12 * DOMINANT * orders.second_bound
    )
    # Close to its critical point a quartic has a third derivative and the curvature T3^2 / (2 T4).
    # Fourth derivatives are ignored if the curvature exceeds that of such a quartic.
    max_curvature = orders.second_rounding + cubic**2 / jnp.where(size > 0, size, 1)
    significant = distinct & (jnp.abs(orders.second) <= max_curvature)
    rises = jnp.any(significant & (orders.fourth > 0))
    falls = jnp.any(significant & (orders.fourth < 0))
    vanishes = (cubic <= cubic_rounding) & jnp.all(size <= orders.fourth_rounding)
    higher_orders_decide = (
        (curvature.nullity > 0)
        & ~(any_positive & any_negative)
        & flat_gradient_vanishes
        & newton.is_near
    )
    may_be_manifold = higher_orders_decide & vanishes & (sign > 0) & ~curvature.incomplete
    flat_length = jnp.zeros_like(gradient.cost)
    if eps < MAX_FLAT_CURVATURE:  # in float32, eigenvalues of 0 and 1e-8 cannot be distinguished
        along = jnp.concatenate([newton.flat[:2], -newton.flat[:2]])
        followed = partial(constant_length, at, w, gradient.cost, gradient.g, scale=curvature.norm)
        length = jnp.min(jax.vmap(partial(followed, enabled=may_be_manifold))(along))
        falling = partial(falls_first, at, w + newton.step, enabled=may_be_manifold & (length >= 1))
        flat_length = jnp.where(jnp.any(jax.vmap(falling)(along)), 0, length)
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
        higher_orders_decide=higher_orders_decide,
        flat_length=flat_length,
    )


class _Orders(NamedTuple):
    """Derivatives along flat directions n, and their rounding errors."""

    second: Float[Array, " k"]
    second_rounding: Float[Array, " k"]
    second_bound: Float[Array, " k"]
    third: Float[Array, " k"]
    third_vector: Float[Array, "k n"]
    third_rounding: Float[Array, ""]
    fourth: Float[Array, " k"]
    fourth_rounding: Float[Array, " k"]


def _orders(
    at: DirectionalDerivatives,
    w,
    gradient,
    newton: KantorovichEvidence,
    direction_error,
    curvature: Inertia,
    resolution,
    sign,
) -> _Orders:
    """Evaluate derivatives of order 2 to 4 along flat directions.

    Those of third and fourth order are evaluated again on both sides of the point, a few units in
    the last place away, along directions displaced by their error.
    """
    eps = gradient.eps
    points = jnp.stack([w, gradient.displaced[1], gradient.displaced[3]])
    tilt = direction_error[None] * jnp.linalg.norm(newton.flat, axis=1, keepdims=True)
    directions = jnp.stack([newton.flat, newton.flat + tilt, newton.flat - tilt])
    orders_at = jax.vmap(lambda w, n: reduced(at, w, n, curvature.pseudoinverse), (None, 0))
    third, fourth, terms, third_vector, response = jax.vmap(orders_at)(points, directions)

    forms = jax.vmap(lambda n: n @ at.product(w, n))(newton.flat)
    size = jax.vmap(curvature.form_size)(newton.flat)
    second = sign * (forms + third_vector[0] @ newton.step)
    # If all terms of n^T H n vanish, as along a coordinate whose row of H is zero, there is no
    # rounding error. Otherwise the error includes the rounding of all entries of H.
    inexact_form = jnp.where(size > eps * curvature.norm, curvature.norm, size)
    fourth_change = 2 * jnp.max(jnp.abs(fourth[1:] - fourth[:1]))
    inexact = 3 * resolution * jnp.sum(response[0] ** 2, axis=1)
    return _Orders(
        second=second,
        second_rounding=FORM_ROUNDING * eps * size,
        second_bound=jnp.abs(second) + ROUNDING * eps * inexact_form,
        third=sign * third[0],
        third_vector=sign * third_vector[0],
        third_rounding=2 * jnp.max(jnp.abs(third[1:] - third[:1])),
        fourth=sign * fourth[0],
        fourth_rounding=fourth_change + 64 * eps * jnp.max(terms) + inexact,
    )
