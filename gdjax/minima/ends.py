"""Where descents ended, each told what it is: polished to the point beside it, and certified.

    end -> Newton's method to |g| <= tolerance, and on to rounding -> certificate

Where a cost falls for ever, as towards the infinite weights that sigmoids need to say exactly 0 or
1, gradient and curvature both go to zero, and a point far out looks like a minimum. It is told from
one by polishing on: a minimum stays where it is, such a point slides away. Where a cost has no
derivative at its lowest point, no gradient becomes small: that is seen from the cost, which rises
in proportion to the distance all around.

All in float64, many runs as one program. Ten starts that have not moved yet, on a bowl:

>>> from gdjax.problems import bowl
>>> problem = bowl([1.0, 10.0])
>>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 10))
>>> ends = certify(problem, starts, key=jax.random.key(1))
>>> [End(kind).label for kind in np.unique(ends.kind)], bool(np.all(np.abs(ends.params) < 1e-9))
(['strict minimum'], True)
"""

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gdjax.critical_points.certificate import Kind
from gdjax.critical_points.classify import classify
from gdjax.critical_points.polish import downhill
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.problems.validation import check_runs
from gdjax.slabs import Program, Slab, in_slabs, over_runs
from gdjax.summaries import fields


class End(IntEnum):
    """Where a run ended: a kind of point (see `gdjax.critical_points.Kind`), or none.

    - SLIDING: polishing goes on and on; the lowest point is at infinity or far away.
    - DIVERGED: the run's parameters are not finite.
    - NO_DERIVATIVE: the gradient jumps there, or the cost rises in proportion to the distance in
      all directions that were looked at.
    - STRICT_MINIMUM: strict in the coordinates that the cost depends on. Where others are dead,
      `classify` names a floor; minima that differ in dead coordinates alone count as one.
    """

    UNDECIDED = Kind.UNDECIDED
    NOT_STATIONARY = Kind.NOT_STATIONARY
    STRICT_MINIMUM = Kind.STRICT_MINIMUM
    STRICT_MAXIMUM = Kind.STRICT_MAXIMUM
    SADDLE = Kind.SADDLE
    DEGENERATE_MINIMUM = Kind.DEGENERATE_MINIMUM
    DEGENERATE_MAXIMUM = Kind.DEGENERATE_MAXIMUM
    DEGENERATE_SADDLE = Kind.DEGENERATE_SADDLE
    FLOOR = Kind.FLOOR
    FLAT = Kind.FLAT
    NO_DERIVATIVE = Kind.NO_DERIVATIVE
    SLIDING = 11
    DIVERGED = 12

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.lower().replace("_", " ")


POINTS = (End.STRICT_MINIMUM, End.DEGENERATE_MINIMUM)  # minima that are points
CAN_SLIDE = (*POINTS, End.FLOOR, End.UNDECIDED)
CAN_BE_TIPS = (End.NOT_STATIONARY, End.UNDECIDED)

GRADIENT_TOLERANCE = 1e-8
STEPS = 200  # of polishing
TOLERANCE = 1e-3  # of places
AROUND = 16  # directions, and their opposites, in which the cost is looked at around a tip
FROM_TIP = (1e-4, 1e-6)  # how far
PLACES = 48  # down the slope, from 1e-9 to 0.1 away
ROUNDS = 16  # of looking for the lowest of them
NUMBERS = 2**20  # of Hessians that a device holds at a time


class Ends(NamedTuple):
    """Ends of runs after polishing, with their certificates.

    Args:
        kind: values of `End`.
        params: where polishing ended; zeros for runs that diverged.
        live: parameters on which the cost depends at all, flat.
        cost_before: where the run stopped; +inf for runs that diverged, as all costs.
        cost: after polishing.
        gradient_norm_before: where the run stopped.
        gradient_norm: after polishing.
        moved: how far polishing went, in the units of the parameters. A run that has nearly
            arrived is not moved far; one that is may have changed its valley.
        slid: how far it is from there to where rounding ends it. Within the tolerance the point is
            taken from there.
        smallest: eigenvalue of the Hessian, of the live coordinates.
        largest: likewise: the sharpness.
        dead: coordinates set aside in the certificate.
        nullity: eigenvalues without a sign among the live ones.
        resolution: eigenvalues within it of zero have none.
        kantorovich: as in `gdjax.critical_points.Certificate`.
        floor_length: likewise.
        slope: where the cost rises in proportion to the distance, at least how fast; else 0.
    """

    kind: Int[np.ndarray, " runs"]
    params: PyTree
    live: Bool[np.ndarray, "runs parameters"]
    cost_before: Float[np.ndarray, " runs"]
    cost: Float[np.ndarray, " runs"]
    gradient_norm_before: Float[np.ndarray, " runs"]
    gradient_norm: Float[np.ndarray, " runs"]
    moved: Float[np.ndarray, " runs"]
    slid: Float[np.ndarray, " runs"]
    smallest: Float[np.ndarray, " runs"]
    largest: Float[np.ndarray, " runs"]
    dead: Int[np.ndarray, " runs"]
    nullity: Int[np.ndarray, " runs"]
    resolution: Float[np.ndarray, " runs"]
    kantorovich: Float[np.ndarray, " runs"]
    floor_length: Float[np.ndarray, " runs"]
    slope: Float[np.ndarray, " runs"]

    __repr__ = fields


def certify(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    tolerance: float = TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    steps: int = STEPS,
) -> Ends:
    """Polish the ends of many runs and tell what each one is.

    Args:
        problem: whose cost, over all its data.
        params: where the runs stopped, with a leading axis of runs. What is not finite diverged.
        key: for the certificates' random probes.
        tolerance: a minimum whose place is not known to it is none, but "sliding".
        gradient_tolerance: a gradient norm up to it counts as zero.
        steps: of polishing, at most. A slow descent that stopped far from its end needs more.

    Raises:
        InputError: params without a leading axis of runs; a cost that cannot be descended; a
            tolerance that is no number above 0, or steps below 0.
    """
    tolerances = {
        "tolerance": tolerance,
        "gradient_tolerance": gradient_tolerance,
    }
    for name, value in tolerances.items():
        if not 0 < value < np.inf:
            raise InputError(f"certify: {name} = {value}, expected a number above 0")
    if steps < 0:
        raise InputError(f"certify: steps = {steps}, expected 0 or more")
    runs = check_runs(problem, params)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    finite = np.all([np.isfinite(leaf.reshape(runs, -1)).all(axis=1) for leaf in leaves], axis=0)
    with jax.enable_x64(True):
        params = jax.tree.unflatten(
            jax.tree.structure(params),
            [
                np.where(finite.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0).astype(np.float64)
                for leaf in leaves
            ],
        )
        task = _Certified(float(gradient_tolerance), float(tolerance), int(steps))
        found = _over(task, params, jax.random.split(key, runs), problem)
    polished, live, before, after, moved, slid, slope, tips, certificate = found
    dead_floor = (certificate.kind == Kind.FLOOR) & (certificate.nullity == 0)
    kind = np.where(dead_floor, Kind.STRICT_MINIMUM, certificate.kind)
    # Towards infinity the gradient vanishes, and Newton's step leads on and on.
    leads_on = certificate.gradient_norm <= certificate.gradient_tolerance
    can_slide = np.isin(kind, CAN_SLIDE) | ((kind == Kind.NOT_STATIONARY) & leads_on)
    kind = np.where(can_slide & ~(slid <= tolerance), End.SLIDING, kind)
    tip = np.isin(certificate.kind, CAN_BE_TIPS) & (slope > gradient_tolerance)
    kind = np.where(tip, End.NO_DERIVATIVE, kind)
    polished = jax.tree.map(
        lambda a, b: np.where(tip.reshape(-1, *[1] * (a.ndim - 1)), b, a), polished, tips
    )
    infinite = np.where(finite, 0.0, np.inf)
    return Ends(
        kind=np.where(finite, kind, End.DIVERGED),
        params=polished,
        live=live,
        cost_before=before[0] + infinite,
        cost=after[0] + infinite,
        gradient_norm_before=before[1] + infinite,
        gradient_norm=after[1] + infinite,
        moved=moved,
        slid=slid,
        smallest=certificate.smallest,
        largest=certificate.largest,
        dead=certificate.dead,
        nullity=certificate.nullity,
        resolution=certificate.resolution,
        kantorovich=certificate.kantorovich,
        floor_length=certificate.floor_length,
        slope=slope,
    )


class _Certified(NamedTuple):
    """One run: polished and certified. A record, so that equal ones share a program."""

    gradient_tolerance: float
    tolerance: float
    steps: int

    def __call__(self, run, problem):
        params, key = run
        flat, unravel = ravel_pytree(params)
        at = directional_derivatives(problem, unravel)

        def further(start, tolerance):
            found = downhill(problem, start, steps=self.steps, tolerance=tolerance)
            return found.params, found

        # Twice, written once: it is most of what has to be compiled.
        tolerances = self.gradient_tolerance / 10 * jnp.array([1.0, 0.0], flat.dtype)
        both = jax.lax.scan(further, params, tolerances)[1]
        found, on = (jax.tree.map(lambda a, k=k: a[k], both) for k in range(2))
        arrived, there = (ravel_pytree(p.params)[0] for p in (found, on))
        slid = jnp.linalg.norm(there - arrived)
        # Saddles are left on the way to rounding: what goes far is looked at where it arrived.
        there = jnp.where(slid <= self.tolerance, there, arrived)
        certificate = classify(
            problem, unravel(there), key=key, gradient_tolerance=self.gradient_tolerance
        )
        probes = jax.random.normal(key, (AROUND, flat.size), flat.dtype)
        near = jnp.stack([flat, there, there + probes[0] / 10, there + probes[1] / 10])
        costs, slopes = jax.vmap(at.gradient)(near)
        return (
            unravel(there),
            jnp.any(slopes != 0, axis=0),
            (costs[0], jnp.linalg.norm(slopes[0])),
            (costs[1], jnp.linalg.norm(slopes[1])),
            jnp.linalg.norm(there - flat),
            slid,
            *_tip(at, there, costs[1], probes, unravel),
            certificate._replace(newton_point=None),
        )


def _tip(at, w, lowest, probes, unravel):
    """At least how fast the cost rises in proportion to the distance in all directions; 0 else.

    Newton's method finds no way to the tip of a cone. The lowest of many places down the slope,
    over and over, does; the cost there and around it says whether it is one.
    """
    reach = jnp.geomspace(1e-9, 0.1, PLACES, dtype=w.dtype)

    def lower(_, state):
        w, lowest = state
        g = at.gradient(w)[1]
        length = jnp.linalg.norm(g)
        down = g / jnp.where(length > 0, length, 1)
        costs = jax.vmap(lambda step: at.gradient(w - step * down)[0])(reach)
        best = jnp.nanargmin(costs)
        better = costs[best] < lowest
        return jnp.where(better, w - reach[best] * down, w), jnp.where(better, costs[best], lowest)

    tip, lowest = jax.lax.fori_loop(0, ROUNDS, lower, (w, lowest))
    directions = probes / jnp.linalg.norm(probes, axis=1, keepdims=True)
    distance = jnp.repeat(jnp.array([1, -1, 1, -1], w.dtype), AROUND)[:, None]
    distance *= jnp.repeat(jnp.array(FROM_TIP, w.dtype), 2 * AROUND)[:, None]
    around = tip[None] + distance * jnp.tile(directions, (4, 1))
    rise = (jax.lax.map(lambda w: at.gradient(w)[0], around) - lowest) / jnp.abs(distance[:, 0])
    far, near = rise[: 2 * AROUND], rise[2 * AROUND :]
    proportional = (far > 0) & (near > 0) & (far < 3 * near) & (near < 3 * far)
    return jnp.where(jnp.all(proportional), jnp.min(near), 0), unravel(tip)


def _over(task, params, keys, problem):
    """A function of one run, over all of them in slabs of one width; results on the host."""
    size = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    devices = tuple(jax.local_devices())
    if devices[0].platform == "cpu":
        # LAPACK's calls wait for threads of the pool in which they run themselves, and with a
        # device a core none is left: two devices on two cores stood still for ever.
        devices = devices[:1]
    width = int(np.clip(NUMBERS // size**2, 8, 256))
    slab = Slab(min(width, -(-len(keys) // len(devices))), devices)
    return in_slabs(_program(task, slab), slab, (params, keys), (slab.share(problem),))


@lru_cache(maxsize=16)
def _program(task: _Certified, slab: Slab) -> Program:
    return Program(over_runs(task, slab, (0, None)))
