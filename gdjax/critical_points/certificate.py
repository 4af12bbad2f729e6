"""Kind of a point, with the evidence for it.

    kind = type of critical point, or why none is given;   certificate = kind + evidence

A type is given only if the evidence for it exceeds rounding. For other points the certificate
contains the quantities that would have to be smaller, and `advice` suggests a remedy. For a
degenerate saddle:

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

    A critical point of the named type lies within `distance_tolerance * max(1, |w|)`.

    - STRICT_MINIMUM, STRICT_MAXIMUM: all eigenvalues of the Hessian have one sign, the cost depends
      on every coordinate, and the gradient is small enough for a critical point nearby
      (Newton-Kantorovich theorem).
    - SADDLE: the Hessian has eigenvalues of both signs.
    - DEGENERATE_MINIMUM, DEGENERATE_MAXIMUM: one eigenvalue is zero, the others have one sign, and
      the fourth derivative decides.
    - DEGENERATE_SADDLE: some eigenvalues are zero, and the third or fourth derivative has both
      signs, or a sign opposite to that of the other eigenvalues.
    - MANIFOLD_OF_MINIMA: the cost rises along all directions of nonzero curvature and stays the
      same along all others, up to

          200 eps (|C| + lambda_max max(1, |w|)),

      for a distance of 1, without a slope beyond rounding. In float32 only dead coordinates can
      make a manifold of minima.
    - FLAT: the cost depends on no parameter within the probed radius (`probe_radius`).
    - NO_DERIVATIVE: the gradient is discontinuous at the point.
    - NOT_STATIONARY: the gradient norm exceeds its tolerance, or Newton's step, which leads to
      `newton_point`, is longer than `distance_tolerance` plus its own rounding.
    - UNDECIDED: none of these can be established at this resolution.
    """

    UNDECIDED = 0
    NOT_STATIONARY = 1
    STRICT_MINIMUM = 2
    STRICT_MAXIMUM = 3
    SADDLE = 4
    DEGENERATE_MINIMUM = 5
    DEGENERATE_MAXIMUM = 6
    DEGENERATE_SADDLE = 7
    MANIFOLD_OF_MINIMA = 8
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
        cost: cost at the point.
        gradient_norm: gradient norm at the point.
        gradient_tolerance: gradient norm that counted as zero: the given tolerance, or the rounding
            error of the gradient if that is larger.
        smallest: smallest eigenvalue of the Hessian on the live coordinates; NaN if there are none.
        largest: largest eigenvalue on the live coordinates; NaN if there are none.
        smallest_residual: error bound of `smallest`: |H v - smallest v| plus rounding.
        largest_residual: error bound of `largest`.
        resolution: largest error bound of the computed eigenvalues, rounding included. Eigenvalues
            closer to zero have no known sign.
        negative: number of eigenvalues below zero beyond their error bound; above 2,048 parameters,
            of those that were computed.
        nullity: number of eigenvalues without a known sign, excluding dead coordinates; above 2,048
            parameters, of those that were computed.
        dead: number of coordinates that the cost does not depend on: their gradient is exactly zero
            here and at random parameters, around this point and around 0.
        probe_radius: largest radius at which dead coordinates were probed. The radii are 0.01 to 10
            times the largest |parameter| (at least 1), and the largest |number| of the data and its
            inverse.
        kantorovich: L |H^-1 g| / |eigenvalue nearest to zero|, restricted to directions of nonzero
            curvature, where L bounds how fast the Hessian changes. Below 1/2 there is a critical
            point nearby with the same signs of curvature. L is the largest third derivative found
            by power iteration from several starts, at the point and at `newton_point`, or the
            measured change of the Hessian in the last digits and over twice the step, if that is
            larger. L is sampled, not proven.
        distance: upper bound of the distance to that critical point.
        newton_point: end point of Newton's step, a tree like the parameters.
        newton_distance: length of Newton's step.
        distance_tolerance: distance that was tolerated: the given tolerance times max(1, |w|), plus
            the rounding of Newton's step.
        cubic: largest |third derivative| along flat unit directions, whose eigenvalues have no
            known sign.
        cubic_resolution: largest `cubic` that counts as zero.
        quartic: reduced fourth derivative along a flat direction with the cost minimized over all
            others, T4[n^4] - 3 T3[n, n, .] H^+ T3[n, n, .]; the smallest over several flat
            directions.
        quartic_resolution: largest |quartic| that counts as zero.
        flat_length: distance on both sides along flat directions over which the cost stayed
            constant, at most 1. It is 0 if the cost fell or the directions were not followed: in
            float32 a manifold of minima cannot be distinguished from a bowl of condition number
            1e8.
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
    flat_length: Float[Array, ""]

    __repr__ = fields_with(kind=Kind)

    @property
    def kind_name(self) -> str:
        """Name of the kind in words."""
        return Kind(int(self.kind)).label

    @property
    def advice(self) -> str:
        """Suggestion if no type could be given; "" otherwise.

        Examples:
            >>> import jax
            >>> import jax.numpy as jnp
            >>> from gdjax.critical_points.classify import classify
            >>> cost = lambda w: w[0] ** 2 + w[1] ** 6
            >>> certificate = classify(cost, jnp.zeros(2), key=jax.random.key(0))
            >>> certificate.kind_name
            'undecided'
            >>> certificate.advice
            '1 of the eigenvalues are within ... of zero, and neither the third derivative nor the
             fourth nor a walk along them decides; float64 resolves more'
        """
        # Convert to NumPy: outside an x64 context JAX would convert float64 to float32 and warn.
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
            f"neither the third derivative nor the fourth nor a walk along them decides{wider}"
        )
