"""What kind of point this is: minimum, saddle, maximum, flat; and what that answer rests on.

    minimum to tolerance:   |g| <= gradient tolerance,   every eigenvalue of H >= -tolerance

The certificate states gradient, extreme eigenvalues, how exact they are, and the tolerances. What
the data never touch (the weights of pixels that are always dark) is set aside and counted, as is
what bends neither way. The simplest instance:

>>> saddle = lambda w: w[0] ** 2 - w[1] ** 2
>>> found = classify(saddle, jnp.zeros(2), key=jax.random.key(0))
>>> KINDS[int(found.kind)], float(found.smallest), float(found.largest)
('saddle', -2.0, 2.0)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.geometry import krylov
from gdjax.geometry.derivatives import value_and_gradient
from gdjax.geometry.products import dense, flat_product, raveled
from gdjax.geometry.spectrum import DENSE, with_rounding

KINDS = ("minimum", "saddle", "maximum", "flat", "not stationary", "undecided")
MINIMUM, SADDLE, MAXIMUM, FLAT, NOT_STATIONARY, UNDECIDED = range(len(KINDS))

SMALLEST = 3  # eigenvalues looked at from the lower end above 512 parameters


class Certificate(NamedTuple):
    """What kind of point it is, and what the answer rests on.

    Args:
        kind: position in `KINDS`.
        cost: at the point.
        gradient_norm: at the point.
        smallest: eigenvalue of the Hessian on the live coordinates; NaN if there are none.
        largest: likewise.
        smallest_residual: |H v - smallest v|, rounding included: how exact `smallest` is.
        largest_residual: likewise.
        dead: coordinates that were set aside: their gradient and their row of the Hessian are
            exactly zero.
        nullity: eigenvalues within the tolerance of zero, dead coordinates not counted. Exact up to
            512 parameters; above, a lower bound from the three smallest.
        gradient_tolerance: that was used: the one given, or what rounding of the parameters does to
            the gradient, if that is more.
        eigenvalue_tolerance: that was used, in the units of an eigenvalue.
    """

    kind: Int[Array, ""]
    cost: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    smallest: Float[Array, ""]
    largest: Float[Array, ""]
    smallest_residual: Float[Array, ""]
    largest_residual: Float[Array, ""]
    dead: Int[Array, ""]
    nullity: Int[Array, ""]
    gradient_tolerance: Float[Array, ""]
    eigenvalue_tolerance: Float[Array, ""]


class _Ends(NamedTuple):
    """Extreme eigenvalues on the live coordinates, and how many were found near zero."""

    values: Float[Array, "2"]
    residuals: Float[Array, "2"]
    norm: Float[Array, ""]
    some: Float[Array, " some"]
    known: Array


def kind(certificate: Certificate) -> str:
    """The name of a certificate's kind."""
    return KINDS[int(certificate.kind)]


def classify(
    cost: Callable,
    params: PyTree,
    data: PyTree = None,
    *,
    key: Key[Array, ""],
    gradient_tolerance: ScalarLike = 1e-5,
    eigenvalue_tolerance: ScalarLike = 1e-3,
    restarts: int = 100,
) -> Certificate:
    """Tell minimum, saddle, maximum and flat point apart, with a certificate.

        tolerance = max(eigenvalue_tolerance |H|, gradient_tolerance)

    - "not stationary": the gradient is longer than the gradient tolerance.
    - "flat": no eigenvalue is beyond the tolerance. The second term of it says: the gradient stays
      within its tolerance as far as 1 away.
    - "saddle": the smallest eigenvalue is below -tolerance and the largest above it, however small
      the gradient is. "maximum": the first of these alone.
    - "minimum": the smallest is at least -tolerance, the largest above it. It may be degenerate:
      see `nullity`.
    - "undecided": residuals or rounding too large to say so, or numbers that are not finite.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point, polished (see `polish`).
        data: a pytree of arrays with a leading sample axis, or None.
        key: for random probes and starts.
        gradient_tolerance: of the gradient's norm, in units of the cost a unit of parameter.
        eigenvalue_tolerance: of eigenvalues, relative to the largest |eigenvalue|.
        restarts: as for `extremes`.

    Returns:
        The certificate. Above 512 parameters extreme eigenvalues come from products: a negative
        curvature that was found is there; that there is none rests on several random starts.
    """
    flat = raveled(params)[0]
    key_probe, key_sign, key_start = jax.random.split(key, 3)
    value, gradient = value_and_gradient(cost, params, data=data)
    g = ravel_pytree(gradient)[0]
    size = jnp.linalg.norm(g)
    product = flat_product(cost, params, data)

    signs = jax.random.rademacher(key_sign, flat.shape, flat.dtype)
    probes = jax.random.normal(key_probe, (2, flat.size), flat.dtype)
    *images, rounded = jax.vmap(product)(jnp.concatenate([probes, (signs * flat)[None]]))
    live = (g != 0) | (images[0] != 0) | (images[1] != 0)
    # Parameters are known to eps / 2: so much the gradient cannot say.
    least = jnp.finfo(flat.dtype).eps * jnp.linalg.norm(rounded)
    stationary = jnp.maximum(gradient_tolerance, least)

    ends = _dense_ends if flat.size <= DENSE else _krylov_ends
    mask = live.astype(flat.dtype)
    found = ends(product, mask, key_start, eigenvalue_tolerance, restarts)
    tolerance = jnp.maximum(eigenvalue_tolerance * found.norm, gradient_tolerance)
    smallest, largest = found.values
    # A value may be wrong by rounding; that an eigenvalue lies no further out rests on residuals.
    rounding = with_rounding(jnp.zeros_like(found.residuals), found.norm)[0]
    down, up = smallest < -tolerance - rounding, largest > tolerance + rounding
    small, large = found.residuals <= tolerance
    not_down, not_up = (smallest >= -tolerance) & small, (largest <= tolerance) & large
    finite = jnp.isfinite(size) & jnp.isfinite(found.norm) & jnp.all(jnp.isfinite(found.residuals))
    by_hessian = jnp.select(
        [~jnp.any(live), down & up, down & not_up, not_down & up, not_down & not_up],
        [FLAT, SADDLE, MAXIMUM, MINIMUM, FLAT],
        UNDECIDED,
    )
    dead = jnp.sum(~live)
    near = (jnp.abs(found.some) <= tolerance) & found.known
    nothing = ~jnp.any(live)
    return Certificate(
        kind=jnp.select(
            [~jnp.isfinite(size), size > stationary, ~finite & ~nothing],
            [UNDECIDED, NOT_STATIONARY, UNDECIDED],
            by_hessian,
        ).astype(jnp.int32),
        cost=value,
        gradient_norm=size,
        smallest=jnp.where(nothing, jnp.nan, smallest),
        largest=jnp.where(nothing, jnp.nan, largest),
        smallest_residual=jnp.where(nothing, jnp.nan, found.residuals[0]),
        largest_residual=jnp.where(nothing, jnp.nan, found.residuals[1]),
        dead=dead.astype(jnp.int32),
        nullity=jnp.sum(near).astype(jnp.int32),
        gradient_tolerance=stationary,
        eigenvalue_tolerance=tolerance,
    )


def _dense_ends(product, mask, key, tolerance, restarts):
    matrix = dense(product, mask)
    # Dead coordinates go above all others, where they are counted off.
    above = 1 + 4 * jnp.linalg.norm(matrix)
    values = jnp.linalg.eigvalsh(matrix + jnp.diag(above * (1 - mask)))
    count = jnp.sum(mask, dtype=jnp.int32)
    known = jnp.arange(mask.size) < count
    ends = values[jnp.array([0, 0]).at[1].set(jnp.maximum(count - 1, 0))]
    norm = jnp.max(jnp.abs(ends))
    return _Ends(ends, with_rounding(jnp.zeros_like(ends), norm), norm, values, known)


def _krylov_ends(product, mask, key, tolerance, restarts):
    found = krylov.extremes(
        product,
        mask,
        key,
        largest=1,
        smallest=SMALLEST,
        tolerance=tolerance / 4,
        restarts=restarts,
    )
    residuals = with_rounding(found.residuals, found.norm)
    # With fewer live coordinates than basis vectors, some of those are not in their space.
    enough = jnp.sum(mask) >= krylov.sizes(1, SMALLEST)[2]
    residuals = jnp.where(enough, residuals, jnp.inf)
    known = residuals[1:] <= tolerance * found.norm
    ends = jnp.array([-1, 0])
    return _Ends(found.values[ends], residuals[ends], found.norm, found.values[1:], known)
