"""Classification of a critical point, with evidence.

    strict minimum:   L |H^-1 g| / lambda_min < 1/2,   every eigenvalue of H above its error bound

The sign of an eigenvalue is known if its absolute value exceeds its residual plus rounding. If some
signs are unknown, the kind is determined by the third and fourth derivatives along the eigenvectors
of these eigenvalues, or by following the cost along them.

A kind is given only if the evidence for it exceeds rounding, and `advice` suggests a remedy for
other points. Rounding is measured: derivatives are evaluated again on both sides of the point, a
few eps max(1, |w_i|) away in each parameter, where eps is that of the least precise type in which
the cost computes (see `rounding_unit` for what it does not include).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree, ScalarLike

from gdjax.base import progress
from gdjax.base.arguments import check_limits, is_traced
from gdjax.base.keys import check_key
from gdjax.base.limits import NotNegative
from gdjax.base.slabs import RecentlyUsed
from gdjax.curvature.critical_points.classification import Classification, Kind
from gdjax.curvature.critical_points.evidence import (
    DOMINANT,
    FLAT_DIRECTIONS,
    JUMP_FACTORS,
    MAX_KANTOROVICH,
    GradientEvidence,
    HigherOrderEvidence,
    KantorovichEvidence,
    gradient_evidence,
    higher_order_evidence,
    kantorovich_evidence,
    lengths,
)
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.curvature.inertia import Inertia, dense_inertia, extreme_inertia
from gdjax.curvature.operators import FunctionOperator
from gdjax.problems.checks import at_least_float32, in_own_precision, ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

DENSE = 2048  # maximum number of parameters for which the dense Hessian is decomposed
RTOL, MAX_RESTARTS = 1e-6, 100  # options of block Lanczos for more parameters
# Radii of probes for dead coordinates; the second is multiplied by max(1, max |w_i|).
NEAREST, FARTHEST = 0.01, 10.0
PROBES = 15  # number of radii from the first to the second


def classify(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    gradient_tolerance: ScalarLike = 1e-5,
    distance_rtol: ScalarLike = 1e-3,
) -> Classification:
    """Classify a critical point, and return its kind with the evidence for it.

    Parameters in float64 are evaluated in float64 even if x64 mode is disabled in JAX. The
    classification then contains NumPy values. A network of 13,002 parameters and 4,000 images takes
    a minute or two, of which a progress bar shows the time.

    Derivatives follow the rules of the cost: if a `custom_jvp` or `custom_vjp` is not the
    derivative of its function, the kind is that of a cost with the derivatives of the rule.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: parameters of the point, polished (see `polish`).
        key: key for random probes and starts.
        gradient_tolerance: largest gradient norm that counts as zero, in units of the cost per unit
            of parameter.
        distance_rtol: maximum distance of the critical point that the kind refers to, relative to
            max(1, |w|). If Newton's step is longer than this distance plus the rounding error of
            the step, the point is not stationary, or undecided if the method need not converge.

    Examples:
        >>> saddle = lambda w: 1e4 * w[0] ** 2 - 0.4 * w[1] ** 2
        >>> classification = classify(saddle, jnp.zeros(2), key=jax.random.key(0))
        >>> classification.kind_name, float(classification.largest)
        ('saddle', 20000.0)

    References:
        Kantorovich 1948; Ortega and Rheinboldt 1970, *Iterative Solution of Nonlinear Equations in
        Several Variables*, 12.6.2.
    """
    problem = problem_at(problem, params)
    check_key(key)
    check_limits("classify: gradient_tolerance", gradient_tolerance, NotNegative)
    check_limits("classify: distance_rtol", distance_rtol, NotNegative)
    params = at_least_float32(params)
    options = (problem, params, key, gradient_tolerance, distance_rtol)
    if any(map(is_traced, jax.tree.leaves((params, problem.data, key)))):
        return _traced(*options)
    with progress.bar("classifying", total=1, unit="point"):
        return jax.block_until_ready(in_own_precision(params, partial(_compiled, *options)))


def _traced(problem, params, key, gradient_tolerance, distance_rtol):
    w, unravel = ravel_params(params)
    at = directional_derivatives(problem, unravel)
    data_scale = _data_scale(problem.data, w.dtype)
    # Draw once, since several draws take longer to compile than the rest of the program.
    count = PROBES + 2
    draw = jax.random.normal(key, (2 + count + 2 + FLAT_DIRECTIONS, w.size), w.dtype)
    shifts, far_offsets, probes, combined = jnp.split(draw, (2, 2 + count, 4 + count))
    farthest = FARTHEST * jnp.maximum(1, jnp.max(jnp.abs(w)))
    radii = NEAREST * (farthest / NEAREST) ** jnp.linspace(0, 1, PROBES, dtype=w.dtype)
    radii = jnp.concatenate([radii, jnp.stack([data_scale, 1 / data_scale])])
    gradient = gradient_evidence(at, w, shifts, radii, far_offsets)
    mask = gradient.live.astype(w.dtype)
    probes = mask[None] * probes

    # Measure how the Hessian changes when the last digits of the parameters change.
    points = jnp.stack([w, gradient.displaced[0], gradient.displaced[2]])
    products = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(points, probes)
    change = jnp.max(lengths(products[1:] - products[:1]))
    hessian = FunctionOperator(partial(at.product, w), w)
    if w.size <= DENSE:
        curvature = dense_inertia(hessian, mask, change, gradient.eps)
    else:
        curvature = extreme_inertia(
            hessian, mask, change, gradient.eps, key=key, rtol=RTOL, max_restarts=MAX_RESTARTS
        )
    newton = kantorovich_evidence(at, w, gradient, curvature, mask, probes, combined)
    resolution = jnp.max(jnp.where(curvature.known, curvature.error_bound, 0))
    direction_error = curvature.pseudoinverse(resolution * probes[1]) / w.size**0.5
    direction_error = direction_error / jnp.maximum(1, 1e3 * jnp.linalg.norm(direction_error))
    higher = higher_order_evidence(
        at, w, gradient, curvature, newton, direction_error, resolution, distance_rtol
    )

    stationary = jnp.maximum(gradient_tolerance, gradient.rounding)
    reach = distance_rtol * jnp.maximum(1, jnp.linalg.norm(w))
    sizes = jnp.stack([gradient.norm, curvature.norm, change, gradient.cost.astype(w.dtype)])
    finite = jnp.all(jnp.isfinite(sizes))
    kind = _kind(gradient, curvature, newton, higher, stationary, reach, finite)
    lowest = jnp.argmin(jnp.where(curvature.known, curvature.values, jnp.inf))
    highest = jnp.argmax(jnp.where(curvature.known, curvature.values, -jnp.inf))
    has_curvature = jnp.any(gradient.live) & finite
    is_flat = curvature.nullity > 0
    only_dead_are_flat = (kind == Kind.MANIFOLD_OF_MINIMA) & ~is_flat
    return Classification(
        kind=kind,
        cost=gradient.cost,
        gradient_norm=gradient.norm,
        gradient_tolerance=stationary,
        smallest=jnp.where(has_curvature, curvature.values[lowest], jnp.nan),
        largest=jnp.where(has_curvature, curvature.values[highest], jnp.nan),
        smallest_residual=jnp.where(has_curvature, curvature.error_bound[lowest], jnp.nan),
        largest_residual=jnp.where(has_curvature, curvature.error_bound[highest], jnp.nan),
        resolution=resolution,
        negative=jnp.sum(curvature.negative).astype(jnp.int32),
        nullity=curvature.nullity.astype(jnp.int32),
        dead=jnp.sum(~gradient.live).astype(jnp.int32),
        probe_radius=gradient.probe_radius,
        kantorovich=newton.kantorovich,
        distance=newton.distance,
        newton_point=unravel(w + newton.step),
        newton_distance=lengths(newton.step),
        distance_tolerance=reach + newton.rounding,
        cubic=jnp.where(is_flat, higher.cubic, jnp.nan),
        cubic_resolution=jnp.where(is_flat, higher.cubic_rounding, jnp.nan),
        quartic=jnp.where(is_flat, higher.sign * higher.quartic, jnp.nan),
        quartic_resolution=jnp.where(is_flat, higher.quartic_rounding, jnp.nan),
        flat_length=jnp.where(only_dead_are_flat, jnp.ones_like(w[0]), higher.flat_length),
    )


_compiled = RecentlyUsed(_traced)


def _data_scale(data, dtype):
    """Return the largest |float| in the data; 1 if it is 0, not finite or missing."""
    leaves = [leaf for leaf in jax.tree.leaves(data) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    leaves = [leaf for leaf in leaves if leaf.size]
    if not leaves:
        return jnp.ones((), dtype)
    scale = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)).astype(dtype) for leaf in leaves]))
    return jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)


def _kind(
    gradient: GradientEvidence,
    curvature: Inertia,
    newton: KantorovichEvidence,
    higher: HigherOrderEvidence,
    stationary,
    reach,
    finite,
):
    """Return the first kind whose conditions are satisfied."""
    any_positive, any_negative = jnp.any(curvature.positive), jnp.any(curvature.negative)
    has_both_signs = any_positive & any_negative
    # Smooth curvature changes the gradient by at most the norm of the Hessian times the distance. A
    # jump keeps its size at larger distances, in contrast to rounding that looks like a jump.
    jump = gradient.jumps[0]
    smooth = curvature.norm * gradient.displacement * jnp.asarray(JUMP_FACTORS, jump.dtype)
    jumps = jump > DOMINANT * smooth[0]
    keeps_size = (gradient.jumps > jump / 2) & (gradient.jumps < 2 * jump)
    is_kink = jnp.all(keeps_size & (smooth < jump / 8))
    newton_distance = lengths(newton.step)
    is_far = newton_distance > reach + newton.rounding
    in_last_digits = (newton_distance <= newton.rounding) & (newton.digits < MAX_KANTOROVICH)
    saddle = higher.flat_gradient_vanishes & (newton.is_near | in_last_digits)
    all_signs = (curvature.nullity == 0) & ~curvature.incomplete & newton.is_near
    isolated = all_signs & jnp.all(gradient.live)
    has_one_flat_direction = (curvature.nullity == 1) & ~curvature.incomplete
    cases = [
        (~finite, Kind.UNDECIDED),
        (~jnp.any(gradient.live), Kind.FLAT),
        (jumps & is_kink, Kind.NO_DERIVATIVE),
        (jumps, Kind.UNDECIDED),
        (gradient.norm > stationary, Kind.NOT_STATIONARY),
        # A long step is evidence of a critical point far away only if Newton's method converges.
        (is_far, jnp.where(newton.is_near, Kind.NOT_STATIONARY, Kind.UNDECIDED)),
        (has_both_signs & saddle, Kind.SADDLE),
        (has_both_signs, Kind.UNDECIDED),
        (isolated & any_positive, Kind.STRICT_MINIMUM),
        (isolated & any_negative, Kind.STRICT_MAXIMUM),
        (all_signs & any_positive, Kind.MANIFOLD_OF_MINIMA),
        (~higher.higher_orders_decide, Kind.UNDECIDED),
        (higher.cubic_significant, Kind.DEGENERATE_SADDLE),
        (~(higher.cubic <= higher.cubic_rounding), Kind.UNDECIDED),
        (higher.falls & (any_positive | any_negative | higher.rises), Kind.DEGENERATE_SADDLE),
        (has_one_flat_direction & higher.rises & (higher.sign > 0), Kind.DEGENERATE_MINIMUM),
        (has_one_flat_direction & (higher.rises | higher.falls), Kind.DEGENERATE_MAXIMUM),
        (higher.flat_length >= 1, Kind.MANIFOLD_OF_MINIMA),
    ]
    conditions, kinds = zip(*cases, strict=True)
    kind = jnp.select(conditions, list(map(jnp.int32, kinds)), jnp.int32(Kind.UNDECIDED))
    return kind.astype(jnp.int32)
