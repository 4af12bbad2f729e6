"""What kind of point a point is, and what that answer rests on.

    kind = name of a critical point, or why it has none;   certificate = kind + evidence

A name is given only where the evidence holds beyond rounding. Everything else is undecided, with
the numbers that would have had to be smaller, and `advice` says what would help:

>>> import jax
>>> import jax.numpy as jnp
>>> from gdjax.geometry.critical import classify
>>> certificate = classify(lambda w: w[0] ** 2 - w[1] ** 4, jnp.zeros(2), key=jax.random.key(0))
>>> name(certificate), int(certificate.nullity), float(certificate.quartic)
('degenerate saddle', 1, -24.0)
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from gdjax.summaries import fields


class Kind(IntEnum):
    """What kind of point it is.

    - STRICT_MINIMUM, STRICT_MAXIMUM: all eigenvalues of the Hessian have one sign, and the gradient
      is so small that the point of slope 0 is near by (Newton and Kantorovich).
    - SADDLE: eigenvalues of both signs.
    - DEGENERATE_MINIMUM, DEGENERATE_MAXIMUM: one eigenvalue is zero, the others have one sign, and
      the fourth order decides.
    - DEGENERATE_SADDLE: some eigenvalues are zero, and the third or fourth order goes both ways, or
      against the other eigenvalues.
    - FLOOR: the cost stays what it is along the directions in which it does not bend, and rises
      along all others: a connected set of equal minima.
    - FLAT: the cost depends on no parameter at all.
    - NO_DERIVATIVE: the gradient jumps.
    - NOT_STATIONARY: the gradient is longer than its tolerance.
    - UNDECIDED: none of these can be said at this resolution.
    """

    UNDECIDED = 0
    NOT_STATIONARY = 1
    STRICT_MINIMUM = 2
    STRICT_MAXIMUM = 3
    SADDLE = 4
    DEGENERATE_MINIMUM = 5
    DEGENERATE_MAXIMUM = 6
    DEGENERATE_SADDLE = 7
    FLOOR = 8
    FLAT = 9
    NO_DERIVATIVE = 10

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.lower().replace("_", " ")


class Certificate(NamedTuple):
    """What kind of point it is, and what the answer rests on.

    Args:
        kind: a value of `Kind`.
        cost: at the point.
        gradient_norm: at the point.
        gradient_tolerance: that was used: the one given, or the rounding of the gradient, if that
            is more.
        smallest: eigenvalue of the Hessian on the live coordinates; NaN if there are none.
        largest: likewise.
        smallest_residual: how exact `smallest` is: |H v - smallest v| and rounding.
        largest_residual: likewise.
        resolution: eigenvalues within it of zero have no sign: the largest residual of those that
            were looked at, rounding included.
        negative: eigenvalues below zero for certain; above 2,048 parameters those that were seen.
        nullity: eigenvalues without a sign, dead coordinates not counted; likewise.
        dead: coordinates that the cost does not depend on: their gradient is exactly zero here and
            at random parameters.
        kantorovich: L |H^-1 g| / |eigenvalue nearest to zero|, on the directions that bend, where L
            bounds how fast the Hessian changes. Below 1/2 there is a critical point near by with
            the same signs of curvature. L is the largest third derivative found by power iteration
            from several starts, here and where Newton's step leads: sampled, not proven.
        distance: how far away that critical point is at most.
        cubic: largest |third derivative| along unit directions that do not bend.
        cubic_resolution: cubics within it count as zero.
        quartic: the fourth derivative along such a direction that is left when all others follow,
            T4[n^4] - 3 T3[n, n, .] H^+ T3[n, n, .]; of several directions the smallest.
        quartic_resolution: quartics within it count as zero.
        floor_length: how far the cost stayed the same to both sides along directions that do not
            bend, at most 1; 0 where it did not, or was not looked at: in float32 a floor cannot be
            told from a bowl of condition 1e8.
    """

    kind: Int[Array, ""]
    cost: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    gradient_tolerance: Float[Array, ""]
    smallest: Float[Array, ""]
    largest: Float[Array, ""]
    smallest_residual: Float[Array, ""]
    largest_residual: Float[Array, ""]
    resolution: Float[Array, ""]
    negative: Int[Array, ""]
    nullity: Int[Array, ""]
    dead: Int[Array, ""]
    kantorovich: Float[Array, ""]
    distance: Float[Array, ""]
    cubic: Float[Array, ""]
    cubic_resolution: Float[Array, ""]
    quartic: Float[Array, ""]
    quartic_resolution: Float[Array, ""]
    floor_length: Float[Array, ""]

    __repr__ = fields


def name(certificate: Certificate) -> str:
    """The kind of one certificate in words."""
    return Kind(int(certificate.kind)).label


def advice(certificate: Certificate) -> str:
    """What a certificate that names no critical point would need; "" for one that does.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from gdjax.geometry.critical import classify
        >>> found = classify(lambda w: w[0] ** 2 + w[1] ** 6, jnp.zeros(2), key=jax.random.key(0))
        >>> name(found)
        'undecided'
        >>> advice(found)
        '1 of the eigenvalues are within ... of zero, and neither the third order nor the fourth nor
         a floor decides; float64 resolves more'
    """
    # As NumPy's numbers: outside of a context JAX would look at float64 as float32, and warn.
    c = Certificate(*map(np.asarray, certificate))
    kind = Kind(int(c.kind))
    wider = "; float64 resolves more" if c.cost.dtype == np.float32 else ""
    if kind == Kind.NOT_STATIONARY:
        return (
            f"the gradient is {c.gradient_norm:.2g}, expected at most {c.gradient_tolerance:.2g}: "
            f"`polish` first"
        )
    if kind == Kind.NO_DERIVATIVE:
        return "the gradient jumps here: what is a minimum has to be seen from the cost itself"
    if kind != Kind.UNDECIDED:
        return ""
    if not np.isfinite(c.gradient_norm) or np.isnan(c.largest):
        return "the cost or its derivatives are not finite here"
    if c.nullity == 0:
        return (
            f"L |H^-1 g| / |eigenvalue| is {c.kantorovich:.2g}, expected below 0.5: `polish` "
            f"further{wider}"
        )
    return (
        f"{int(c.nullity)} of the eigenvalues are within {c.resolution:.2g} of zero, and neither "
        f"the third order nor the fourth nor a floor decides{wider}"
    )
