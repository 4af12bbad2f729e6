"""Kinds of points, and the evidence for them.

`classify` determines both.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gdjax.base.reprs import fields_with
from gdjax.base.status import Status
from gdjax.curvature.critical_points.evidence import MAX_KANTOROVICH

POLISH = (
    "polish the point with gd.curvature.polish(problem, params), or the ends of a sweep with "
    "`gdjax minima --store STORE`"
)


class Kind(Status):
    """Kind of a point.

    For the kinds of critical points, Newton's step from the given point to the critical point is no
    longer than `distance_rtol * max(1, |w|)` plus the rounding error of the step.

    - STRICT_MINIMUM, STRICT_MAXIMUM: all eigenvalues of the Hessian have one sign, the cost depends
      on every coordinate, and the gradient is small enough for a critical point nearby
      (Newton-Kantorovich theorem).
    - SADDLE: the Hessian has eigenvalues of both signs.
    - DEGENERATE_MINIMUM, DEGENERATE_MAXIMUM: one eigenvalue is zero, and the fourth derivative
      along its eigenvector has the same sign as all other eigenvalues.
    - DEGENERATE_SADDLE: some eigenvalues are zero, and along their eigenvectors the third
      derivative is not zero, or the fourth derivative has both signs or a sign opposite to that of
      the other eigenvalues.
    - MANIFOLD_OF_MINIMA: the cost rises along all directions of nonzero curvature and is constant
      along random directions of zero curvature, up to

          200 eps (|C| + lambda_max max(1, max |w_i|)),

      for a distance of 1, without a slope beyond rounding. In float32 only dead coordinates are
      accepted as a manifold of minima.
    - FLAT: the cost depends on no parameter within the probed radius (`probe_radius`).
    - NO_DERIVATIVE: the gradient is discontinuous at the point.
    - NOT_STATIONARY: the gradient norm exceeds its tolerance, or Newton's step, which leads to
      `newton_point`, is longer than `distance_rtol * max(1, |w|)` plus the rounding error of the
      step, and the method converges (`kantorovich` is below 1/2).
    - UNDECIDED: none of these kinds can be established beyond rounding.
    - SLIDING, DIVERGED: end points of runs that are near no critical point (see
      `gdjax.minima.classify_end_points`).
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
    SLIDING = 11
    DIVERGED = 12


class Classification(NamedTuple):
    """Kind of a point with numerical evidence, which is not a proof.

    Args:
        kind: a value of `Kind`.
        cost: cost at the point.
        gradient_norm: gradient norm at the point.
        gradient_tolerance: largest gradient norm that counted as zero, at least its rounding error.
        smallest: smallest eigenvalue of the Hessian on the coordinates that the cost depends on;
            NaN if there are none, or if the cost or its derivatives are not finite.
        largest: largest of these eigenvalues; NaN in the same cases.
        smallest_residual: error bound of `smallest`: |H v - smallest v| plus rounding.
        largest_residual: error bound of `largest`.
        resolution: largest error bound of the computed eigenvalues, rounding included.
        negative: number of computed eigenvalues below zero beyond their error bound.
        nullity: number of computed eigenvalues without a known sign, excluding dead coordinates.
        dead: number of coordinates that the cost does not depend on: the derivative with respect to
            them is exactly zero here and at random parameters around this point and around 0.
        probe_radius: largest radius at which the cost was probed for its dependence on coordinates.
            The radii range from 0.01 to 10 max(1, max |w_i|), and include the largest |number| of
            the data and its inverse.
        kantorovich: L |H^-1 g| / |eigenvalue nearest to zero|, restricted to directions of nonzero
            curvature, where L estimates how fast the Hessian changes. Below 1/2 there is a critical
            point nearby with the same signs of curvature. L is the largest third derivative found
            by power iteration, not a proven bound. If the Hessian changes by more than L |H^-1 g|
            over the last digits of the parameters, or by more than twice that over twice the step,
            this change (in the second case half of it) replaces the product.
        distance: upper bound on the distance to that critical point; infinite if `kantorovich` is
            at least 1/2.
        newton_point: end point of Newton's step, a pytree like the parameters.
        newton_distance: length of Newton's step.
        distance_tolerance: largest distance that counts as zero.
        cubic: largest |third derivative| along flat directions, the unit vectors in the span of the
            eigenvectors whose eigenvalues have no known sign; NaN if there are none.
        cubic_resolution: largest `cubic` that counts as zero.
        quartic: reduced fourth derivative along a flat direction n with the cost minimized over all
            other directions, T4[n^4] - 3 T3[n, n, .] H^+ T3[n, n, .]; the smallest of several flat
            directions.
        quartic_resolution: largest |quartic| that counts as zero.
        flat_length: distance along flat directions over which the cost is constant, at most 1. It
            is 1 if only dead coordinates are flat, and 0 if the cost fell or the directions were
            not followed, as in float32, which does not resolve a condition number of 1e8.
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

    __repr__, _repr_html_ = fields_with(kind=Kind)

    @property
    def kind_name(self) -> str:
        """Name of the kind in words."""
        return Kind(int(self.kind)).label

    @property
    def advice(self) -> str:
        """Suggestion if no kind of critical point could be established; else empty.

        Examples:
            >>> import jax
            >>> from gdjax.curvature import classify
            >>> cost = lambda w: w[0] ** 2 + w[1] ** 6
            >>> classification = classify(cost, np.zeros(2, np.float32), key=jax.random.key(0))
            >>> classification.kind_name
            'undecided'
            >>> classification.advice
            '1 of the eigenvalues are within ... of zero, and neither the third nor the fourth
             derivative nor the cost along these directions determines the kind; float64 has a
             higher resolution'
        """
        # Convert to NumPy: outside an x64 context JAX would convert float64 to float32 and warn.
        c = Classification(*map(np.asarray, self._replace(newton_point=0)))
        kind = Kind(int(c.kind))
        remedy = "; float64 has a higher resolution" if c.cost.dtype == np.float32 else ""
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
            return "the gradient is discontinuous here; compare the cost at nearby points instead"
        if kind != Kind.UNDECIDED:
            return ""
        if not np.isfinite(c.gradient_norm) or np.isnan(c.largest):
            return "the cost or its derivatives are not finite here"
        if c.nullity == 0 and c.kantorovich < MAX_KANTOROVICH:
            return f"rounding of the gradient here cannot be distinguished from a jump{remedy}"
        if c.nullity == 0:
            return (
                f"L |H^-1 g| / |eigenvalue| is {c.kantorovich:.2g}, expected below 0.5: "
                f"{POLISH}{remedy}"
            )
        return (
            f"{int(c.nullity)} of the eigenvalues are within {c.resolution:.2g} of zero, and "
            f"neither the third nor the fourth derivative nor the cost along these directions "
            f"determines the kind{remedy}"
        )
