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

from gdjax.geometry import jacobi, krylov
from gdjax.geometry.certificates import Certificate, Kind, name
from gdjax.geometry.floors import follow
from gdjax.geometry.higher_orders import Derivatives, derivatives, largest_third, reduced
from gdjax.geometry.products import dense, raveled
from gdjax.geometry.spectrum import ROUNDING
from gdjax.problems.checks import check_params
from gdjax.problems.problem import Problem, as_problem

__all__ = ["Certificate", "Kind", "classify", "name"]

DENSE = 2048  # parameters up to which the whole Hessian is decomposed: every sign is looked at
ENDS = 3  # eigenvalues looked at from each end above
LEVEL = 4  # random directions among those that do not bend
FAR = (0.01, 0.1, 1.0)  # how far away it is looked whether a coordinate is dead
MEASURED = 4  # what was measured once of a rounding error may be so many times as large
FINE = 1e-12  # relative to the steepest curvature, a floor's must be seen to be less
DOMINANT = 4  # a third or fourth order must be so much larger than what could imitate it


class _Bends(NamedTuple):
    """Eigenpairs on the live coordinates, each with how exact it is, and what they say of H^+.

    Args:
        values: eigenvalues; those that are not `known` mean nothing.
        vectors: one a column.
        radius: the eigenvalue lies within it.
        known: whether the pair is one.
        inverse: `v -> H^+ v` on the directions whose sign is known.
        hidden: whether there are eigenvalues, not looked at, that may have another sign.
    """

    values: Float[Array, " m"]
    vectors: Float[Array, "n m"]
    radius: Float[Array, " m"]
    known: Bool[Array, " m"]
    inverse: Callable
    hidden: Bool[Array, ""]


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
    eps = jnp.finfo(w.dtype).eps
    # One draw: every one of its own takes longer to compile than all the rest.
    draw = jax.random.normal(key, (2 + len(FAR) + 2 + LEVEL, w.size), w.dtype)
    signs, away, probes, combined = jnp.split(draw, (2, 2 + len(FAR), 4 + len(FAR)))

    # Gradients here, at other last digits, and far away, where only dead coordinates have none.
    digit = eps * jnp.maximum(1, jnp.abs(w))
    near = w[None] + digit[None] * jnp.where(signs < 0, -1, 1)
    far = w[None] + jnp.array(FAR, w.dtype)[:, None] * away
    costs, gradients = jax.vmap(at.gradient)(jnp.concatenate([w[None], near, far]))
    cost, g, changes = costs[0], gradients[0], gradients[1:3] - gradients[:1]
    live = jnp.any(gradients != 0, axis=0)
    mask = live.astype(w.dtype)
    size = jnp.linalg.norm(g)
    rounding = MEASURED * jnp.max(jnp.linalg.norm(changes, axis=1)) + eps * size
    stationary = jnp.maximum(gradient_tolerance, rounding)

    # How the Hessian changes in the last digits.
    probes = mask[None] * probes
    products = jax.vmap(jax.vmap(at.product, (None, 0)), (0, None))(jnp.stack([w, near[0]]), probes)
    shaken = MEASURED * jnp.max(jnp.linalg.norm(products[1] - products[0], axis=1))
    bends = (_dense if w.size <= DENSE else _sparse)(
        partial(at.product, w), mask, shaken, key, tolerance, restarts
    )
    values, radius, known = bends.values, bends.radius, bends.known
    up, down = known & (values > radius), known & (values < -radius)
    level = known & ~up & ~down
    any_up, any_down, nullity = jnp.any(up), jnp.any(down), jnp.sum(level)
    both = any_up & any_down
    norm = jnp.max(jnp.where(known, jnp.abs(values), 0))

    # Is there a critical point near by, as far as the directions that bend are concerned?
    step = -bends.inverse(g)
    length = jnp.linalg.norm(step)
    length += MEASURED * jnp.max(jnp.linalg.norm(jax.vmap(bends.inverse)(changes), axis=1))
    least = jnp.min(jnp.where(up | down, jnp.abs(values) - radius, jnp.inf))
    flattest = bends.vectors[:, jnp.argmin(jnp.where(up | down, jnp.abs(values), jnp.inf))]

    # Third derivatives: in all directions here and where Newton's step leads, and in level ones.
    basis = jnp.where(level[None], bends.vectors, 0)
    combined = combined @ basis @ basis.T
    directions = combined / jnp.maximum(jnp.linalg.norm(combined, axis=1, keepdims=True), 1e-30)
    starts = jnp.stack([step, flattest, mask * probes[0]])
    everywhere = jnp.concatenate([jnp.stack([w] * 3 + [w + step] * 3), jnp.stack([w] * LEVEL)])
    among = (jnp.arange(6 + LEVEL) >= 6)[:, None]
    thirds, turned = largest_third(
        at,
        everywhere,
        jnp.concatenate([starts, starts, directions]),
        lambda vectors: jnp.where(among, vectors @ basis @ basis.T, vectors * mask[None]),
    )
    changing = jnp.max(thirds[:6])
    kantorovich = jnp.where(any_up | any_down, changing * length / least, 0)
    near_by = kantorovich < 0.5
    root = jnp.sqrt(jnp.maximum(1 - 2 * kantorovich, 0))
    distance = jnp.where(near_by, 2 * length / (1 + root), jnp.inf)

    # Where no second order speaks: a slope along level directions must be gone first.
    def among_level(v):
        return jnp.linalg.norm(basis.T @ v)

    slope_rounding = MEASURED * jnp.max(jax.vmap(among_level)(changes)) + eps * (rounding + size)
    still = among_level(g) <= 2 * slope_rounding
    sign = jnp.where(any_down & ~any_up, -1, 1).astype(w.dtype)
    lean = bends.inverse(shaken * probes[1]) / w.size**0.5
    lean = lean / jnp.maximum(1, 1e3 * jnp.linalg.norm(lean))
    orders = _orders(at, w, near[1], jnp.concatenate([directions, turned[6:]]), lean, bends, sign)
    cubics, quartics, cubic_rounding, quartic_rounding = orders
    cubic = jnp.maximum(jnp.max(jnp.abs(cubics)), jnp.max(thirds[6:]))
    cubic_rounding += 64 * eps * cubic
    imitated = jnp.max(jnp.where(level, radius + jnp.abs(values), 0))
    steepest = jnp.max(jnp.abs(quartics))
    imitation = jnp.maximum(
        jnp.sqrt(2 * imitated * steepest), jnp.cbrt(6 * slope_rounding * steepest**2)
    )
    third_speaks = cubic > DOMINANT * jnp.maximum(cubic_rounding, imitation)
    third_is_silent = cubic <= cubic_rounding
    rises, falls = jnp.any(quartics > quartic_rounding), jnp.any(quartics < -quartic_rounding)
    fourth_is_silent = ~rises & ~falls
    one = (nullity == 1) & ~bends.hidden
    settled = (nullity > 0) & ~both & still & near_by
    may_be_floor = settled & third_is_silent & fourth_is_silent & (sign > 0) & ~bends.hidden
    floor_length = jnp.zeros_like(cost)
    if eps < FINE:  # in float32 a floor and a bowl of condition 1e8 are the same
        both_ways = jnp.concatenate([directions[:2], -directions[:2]])
        floor_length = jnp.min(
            jax.vmap(lambda t: follow(at, w, cost, g, t, scale=norm, wanted=may_be_floor))(
                both_ways
            )
        )

    finite = jnp.isfinite(size) & jnp.isfinite(norm) & jnp.isfinite(shaken) & jnp.isfinite(cost)
    nothing = ~jnp.any(live)
    # A smooth gradient changes by far more over 0.01 than in the last digits.
    beside = jnp.linalg.norm(gradients[3])
    jumps = jnp.linalg.norm(changes[0]) > jnp.maximum(1e-3 * beside, jnp.sqrt(eps))
    all_signs = (nullity == 0) & ~bends.hidden & near_by
    cases = [
        (~finite, Kind.UNDECIDED),
        (nothing, Kind.FLAT),
        (jumps, Kind.NO_DERIVATIVE),
        (size > stationary, Kind.NOT_STATIONARY),
        (both & ((near_by & still) | (size <= rounding)), Kind.SADDLE),
        (both, Kind.UNDECIDED),
        (all_signs & any_up, Kind.STRICT_MINIMUM),
        (all_signs & any_down, Kind.STRICT_MAXIMUM),
        (~settled, Kind.UNDECIDED),
        (third_speaks, Kind.DEGENERATE_SADDLE),
        (~third_is_silent, Kind.UNDECIDED),
        (falls & (any_up | any_down | rises), Kind.DEGENERATE_SADDLE),
        (one & rises & (sign > 0), Kind.DEGENERATE_MINIMUM),
        (one & (rises | falls), Kind.DEGENERATE_MAXIMUM),
        (may_be_floor & (floor_length >= 1), Kind.FLOOR),
    ]
    conditions, kinds = zip(*cases, strict=True)
    lowest, highest = (f(jnp.where(known, values, -s * jnp.inf)) for f, s in _ENDS)
    seen = ~nothing & finite
    return Certificate(
        kind=jnp.select(conditions, [int(kind) for kind in kinds], int(Kind.UNDECIDED)).astype(
            jnp.int32
        ),
        cost=cost,
        gradient_norm=size,
        gradient_tolerance=stationary,
        smallest=jnp.where(seen, values[lowest], jnp.nan),
        largest=jnp.where(seen, values[highest], jnp.nan),
        smallest_residual=jnp.where(seen, radius[lowest], jnp.nan),
        largest_residual=jnp.where(seen, radius[highest], jnp.nan),
        resolution=jnp.max(jnp.where(known, radius, 0)),
        negative=jnp.sum(down).astype(jnp.int32),
        nullity=nullity.astype(jnp.int32),
        dead=jnp.sum(~live).astype(jnp.int32),
        kantorovich=kantorovich,
        distance=distance,
        cubic=jnp.where(nullity > 0, cubic, jnp.nan),
        cubic_resolution=jnp.where(nullity > 0, cubic_rounding, jnp.nan),
        quartic=jnp.where(nullity > 0, sign * jnp.min(quartics), jnp.nan),
        quartic_resolution=jnp.where(nullity > 0, quartic_rounding, jnp.nan),
        floor_length=floor_length,
    )


_ENDS = ((jnp.argmin, -1), (jnp.argmax, 1))


def _orders(at: Derivatives, w, near, directions, lean, bends, sign):
    """Third and reduced fourth derivatives along directions, and how exact they are.

    They are taken again with other last digits and with directions as inexact as they are.
    """
    eps = jnp.finfo(w.dtype).eps

    def orders(point, direction):
        third, fourth, terms = reduced(at, point, direction, bends.inverse)
        return sign * third, sign * fourth, terms

    leaning = directions + lean[None] * jnp.linalg.norm(directions, axis=1, keepdims=True)
    third, fourth, terms = jax.vmap(jax.vmap(orders, (None, 0)), (0, 0))(
        jnp.stack([w, near]), jnp.stack([directions, leaning])
    )
    third_error = 2 * MEASURED * jnp.max(jnp.abs(third[1] - third[0]))
    fourth_error = 2 * MEASURED * jnp.max(jnp.abs(fourth[1] - fourth[0]))
    return third[0], fourth[0], third_error, fourth_error + 64 * eps * jnp.max(terms)


def _dense(product, mask, shaken, key, tolerance, restarts):
    """All eigenpairs, those of dead coordinates left out."""
    eps = jnp.finfo(mask.dtype).eps
    matrix = dense(product, mask) * (mask[:, None] * mask[None])
    finite = jnp.all(jnp.isfinite(matrix))
    safe = jnp.where(finite, matrix, 0)
    # Dead coordinates go above all others, where they are counted off.
    above = 1 + 4 * jnp.linalg.norm(safe)
    with jax.default_matmul_precision("highest"):
        values, vectors = jacobi.eigh(safe + jnp.diag(above * (1 - mask)))
        known = jnp.arange(mask.size) < jnp.sum(mask)
        rest = jnp.linalg.norm(safe @ vectors - values[None] * vectors, axis=0)
    vectors = jnp.where(known[None], vectors, 0)
    norm = jnp.max(jnp.where(known, jnp.abs(values), 0))
    radius = rest + max(ROUNDING, mask.size**0.5) * eps * norm + shaken
    signed = known & (jnp.abs(values) > radius)
    inverted = jnp.where(signed, 1 / jnp.where(signed, values, 1), 0)

    def inverse(v):
        with jax.default_matmul_precision("highest"):
            return vectors @ (inverted * (vectors.T @ v))

    values = jnp.where(finite, values, jnp.nan)
    return _Bends(values, vectors, radius, known, inverse, jnp.array(False))


def _sparse(product, mask, shaken, key, tolerance, restarts):
    """Eigenpairs at both ends, from products."""
    found = krylov.extremes(
        product, mask, key, largest=ENDS, smallest=ENDS, tolerance=tolerance, restarts=restarts
    )
    eps = jnp.finfo(mask.dtype).eps
    radius = found.residuals + ROUNDING * eps * found.norm + shaken
    # With fewer live coordinates than basis vectors, some of those are not in their space.
    enough = jnp.sum(mask) >= krylov.sizes(ENDS, ENDS).basis
    radius = jnp.where(enough, radius, jnp.inf)
    signs = jnp.where(jnp.abs(found.values) > radius, jnp.sign(found.values), 0)
    # Values fall: the third is the last looked at from above, the fourth from below.
    same = (signs[ENDS - 1] == signs[ENDS]) & (signs[ENDS] != 0)
    sign = jnp.where(signs[ENDS - 1] == 0, signs[ENDS], signs[ENDS - 1])
    sign = jnp.where(sign == 0, 1, sign)
    level = jnp.where((signs == 0)[None], found.vectors, 0)

    def across(v):
        return mask * (v - level @ (level.T @ v))

    def inverse(v):
        with jax.default_matmul_precision("highest"):
            solved, _ = jax.scipy.sparse.linalg.cg(
                lambda v: sign * across(product(across(v))), sign * across(v), tol=1e-6, maxiter=300
            )
        return solved

    known = jnp.ones(found.values.shape, bool)
    return _Bends(found.values, found.vectors, radius, known, inverse, ~same)
