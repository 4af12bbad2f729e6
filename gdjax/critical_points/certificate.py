"""The kind of a point, and the evidence for it.

    kind = name of a critical point, or why it has none;   certificate = kind + evidence

A name is given only where the evidence holds beyond rounding. All other points are undecided, with
the numbers that would have to be smaller, and `advice` says what would help:

>>> import jax
>>> import jax.numpy as jnp
>>> from gdjax.critical_points.classify import classify
>>> certificate = classify(lambda w: w[0] ** 2 - w[1] ** 4, jnp.zeros(2), key=jax.random.key(0))
>>> certificate.kind_name, int(certificate.nullity), float(certificate.quartic)
('degenerate saddle', 1, -24.0)
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gdjax.summaries import fields_with

POLISH = (
    "gd.critical_points.polish(problem, params), or `gdjax minima --store STORE` for the runs of a "
    "sweep, goes on to the nearest critical point"
)


class Kind(IntEnum):
    """Kind of a point.

    A name is that of a critical point at most `distance_tolerance * max(1, |w|)` away.

    - STRICT_MINIMUM, STRICT_MAXIMUM: all eigenvalues of the Hessian have one sign, the cost depends
      on every coordinate, and the gradient is so small that a critical point is near (Newton and
      Kantorovich).
    - SADDLE: eigenvalues of both signs.
    - DEGENERATE_MINIMUM, DEGENERATE_MAXIMUM: one eigenvalue is zero, the others have one sign, and
      the fourth order decides.
    - DEGENERATE_SADDLE: some eigenvalues are zero, and the third or fourth order has both signs, or
      a sign opposite to that of the other eigenvalues.
    - FLOOR: a manifold of minima. The cost rises along all directions of nonzero curvature and
      stays the same along all others, up to

          200 eps (|C| + lambda_max max(1, |w|)),

      for a distance of 1, without a slope beyond rounding. In float32 that is said of dead
      coordinates alone.
    - FLAT: the cost depends on no parameter, as far as it was probed (`probe_radius`).
    - NO_DERIVATIVE: the gradient jumps.
    - NOT_STATIONARY: the gradient is longer than its tolerance, or Newton's step is longer than
      `distance_tolerance` and its own rounding: `newton_point` is where it leads.
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
        """Name in words."""
        return self.name.lower().replace("_", " ")


class Certificate(NamedTuple):
    """Kind of a point, with its evidence.

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
            were computed, rounding included.
        negative: eigenvalues below zero for certain; above 2,048 parameters those that were seen.
        nullity: eigenvalues without a sign, dead coordinates not counted; likewise.
        dead: coordinates that the cost does not depend on: their gradient is exactly zero here and
            at random parameters, around this point and around 0.
        probe_radius: up to which dead coordinates were probed: 0.01 to 10 times the largest
            parameter (at least 1), and the largest number of the data and its inverse.
        kantorovich: L |H^-1 g| / |eigenvalue nearest to zero|, restricted to directions of
            nonzero curvature, where L bounds how fast the Hessian changes. Below 1/2 there is a
            critical point nearby with the same signs of curvature. L is the largest third
            derivative found by power iteration from several starts, here and where Newton's step
            leads, or the change of the Hessian in the last digits and over twice the step, if that
            is more: sampled, not proven.
        distance: how far away that critical point is at most.
        newton_point: where Newton's step leads, like the parameters.
        newton_distance: how far away that is.
        distance_tolerance: that was used: the one given times max(1, |w|), and the rounding of
            Newton's step.
        cubic: largest |third derivative| along flat unit directions: those whose eigenvalue has no
            sign.
        cubic_resolution: cubics within it count as zero.
        quartic: the fourth derivative along such a direction that is left when all others follow,
            T4[n^4] - 3 T3[n, n, .] H^+ T3[n, n, .]; of several directions the smallest.
        quartic_resolution: quartics within it count as zero.
        floor_length: how far the cost stayed the same to both sides along flat directions, at most
            1; 0 where it fell, or was not followed: in float32 a floor cannot be distinguished from
            a bowl of condition 1e8.
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
    probe_radius: Float[Array, ""]
    kantorovich: Float[Array, ""]
    distance: Float[Array, ""]
    newton_point: PyTree
    newton_distance: Float[Array, ""]
    distance_tolerance: Float[Array, ""]
    cubic: Float[Array, ""]
    cubic_resolution: Float[Array, ""]
    quartic: Float[Array, ""]
    quartic_resolution: Float[Array, ""]
    floor_length: Float[Array, ""]

    __repr__ = fields_with(kind=Kind)

    @property
    def kind_name(self) -> str:
        """Name of the kind in words."""
        return Kind(int(self.kind)).label

    @property
    def advice(self) -> str:
        """What is missing for a name; "" if the certificate has one.

        Examples:
            >>> import jax
            >>> import jax.numpy as jnp
            >>> from gdjax.critical_points.classify import classify
            >>> cost = lambda w: w[0] ** 2 + w[1] ** 6
            >>> certificate = classify(cost, jnp.zeros(2), key=jax.random.key(0))
            >>> certificate.kind_name
            'undecided'
            >>> certificate.advice
            '1 of the eigenvalues are within ... of zero, and neither the third order nor the fourth
             nor a floor decides; float64 resolves more'
        """
        # As NumPy's numbers: outside of a context JAX would convert float64 to float32, and warn.
        c = Certificate(*map(np.asarray, self._replace(newton_point=0)))
        kind = Kind(int(c.kind))
        wider = "; float64 resolves more" if c.cost.dtype == np.float32 else ""
        if kind == Kind.NOT_STATIONARY and c.gradient_norm <= c.gradient_tolerance:
            return (
                f"a critical point seems to be {c.newton_distance:.2g} away (`newton_point`), "
                f"expected at most {c.distance_tolerance:.2g}: {POLISH}"
            )
        if kind == Kind.NOT_STATIONARY:
            return (
                f"the gradient is {c.gradient_norm:.2g}, expected at most "
                f"{c.gradient_tolerance:.2g}: {POLISH}"
            )
        if kind == Kind.NO_DERIVATIVE:
            return "the gradient jumps here: what is a minimum has to be seen from the cost itself"
        if kind != Kind.UNDECIDED:
            return ""
        if not np.isfinite(c.gradient_norm) or np.isnan(c.largest):
            return "the cost or its derivatives are not finite here"
        if c.nullity == 0:
            return (
                f"L |H^-1 g| / |eigenvalue| is {c.kantorovich:.2g}, expected below 0.5: "
                f"{POLISH}{wider}"
            )
        return (
            f"{int(c.nullity)} of the eigenvalues are within {c.resolution:.2g} of zero, and "
            f"neither the third order nor the fourth nor a floor decides{wider}"
        )
