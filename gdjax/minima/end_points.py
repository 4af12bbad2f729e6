"""End points of descents: polished to the nearest critical point, and classified.

    end point -> Newton's method to |g| <= tolerance, then to the rounding limit -> classification

If a cost decreases as parameters tend to infinity (such as weights with which sigmoids return
exactly 0 or 1), gradient and curvature both vanish, and a distant point resembles a minimum.
Further polishing distinguishes the two: a minimum does not move, but such a point continues to move
towards infinity. If a cost has no derivative at its lowest point, no gradient becomes small, but
the cost rises in proportion to the distance in all directions.

Many runs are polished by one program, in float64.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, Key, PyTree

from gdjax.base import arrays
from gdjax.base.arguments import check_limits
from gdjax.base.arrays import as_dataset, document, quantities
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Positive, Whole
from gdjax.base.reprs import fields
from gdjax.curvature.critical_points.classify import Kind, classify
from gdjax.curvature.critical_points.polish import polish
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.landscape.slices import over_rows
from gdjax.minima.finished_runs import select_rows
from gdjax.problems.facts import check_runs, problem_of_runs
from gdjax.problems.problem import Problem, require_problem

if TYPE_CHECKING:
    import xarray as xr


ISOLATED_MINIMA = (Kind.STRICT_MINIMUM, Kind.DEGENERATE_MINIMUM)
CAN_SLIDE = (*ISOLATED_MINIMA, Kind.MANIFOLD_OF_MINIMA, Kind.UNDECIDED)
CAN_BE_TIPS = (Kind.NOT_STATIONARY, Kind.UNDECIDED)

GRADIENT_TOLERANCE = 1e-8
MAX_STEPS = 200  # maximum number of polishing steps
DISTANCE_TOLERANCE = 1e-3
TIP_DIRECTIONS = 16  # number of directions of probes around a tip, not counting opposite ones
TIP_DISTANCES = (1e-4, 1e-6)  # distances of these probes from the tip
SLOPE_POINTS = 48  # number of points along the negative gradient, at distances from 1e-9 to 0.1
SLOPE_ROUNDS = 16  # number of moves to the lowest of these points
MAX_HESSIAN_ENTRIES = 2**20  # maximum number of entries of Hessians that a device stores at a time


RUNS = {
    "kind": arrays.Array("kind of critical point", ("run",), codes=Kind),
    **quantities(
        "run",
        cost_before="cost before polishing; +inf for diverged runs",
        pull="decay d for which the gradient before polishing is nearest to -d times parameters",
        pull_share="share of the squared gradient before polishing that this decay explains",
        cost="cost after polishing",
        gradient_norm_before="norm of the gradient before polishing; +inf for diverged runs",
        gradient_norm="norm of the gradient after polishing",
        moved="distance moved by polishing; if it is large, possibly into another valley",
        slid="distance between the points at the gradient tolerance and at the limit of rounding",
        smallest="smallest eigenvalue of the Hessian on coordinates that affect the cost",
        largest="largest eigenvalue of the Hessian",
        nullity="number of indeterminate eigenvalues",
        resolution="absolute value above which no computed eigenvalue is indeterminate",
        kantorovich="Kantorovich number; below 1/2, a critical point is nearby",
        flat_length="distance along which the cost is constant",
        slope="slope where the cost has no derivative; 0 at other points",
        dead="number of parameters without effect on the cost",
    ),
}
"""Quantities of end points after polishing; see also `curvature.Classification`."""


class EndPoints(NamedTuple):
    """End points of runs after polishing, with their classifications.

    Args:
        runs: Dataset of the quantities that `classify_end_points` lists.
        params: parameters after polishing; zeros for runs that diverged.
        live: masks of the parameters on which the cost depends, a pytree like `params`.
    """

    runs: Any
    params: PyTree
    live: PyTree

    __repr__, _repr_html_ = fields

    def rows(self, index: Int[np.ndarray, " chosen"]) -> "EndPoints":
        """Return the end points of some runs."""
        params, live = jax.tree.map(lambda leaf: leaf[index], (self.params, self.live))
        return EndPoints(self.runs.isel(run=index), params, live)

    @property
    def kind(self) -> Int[np.ndarray, " runs"]:
        """Values of `gdjax.curvature.critical_points.Kind`."""
        return self.runs["kind"].values


@document(RUNS)
def classify_end_points(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    distance_tolerance: float = DISTANCE_TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> EndPoints:
    """Polish the end points of many runs, and classify them.

    The kinds are those of `gdjax.curvature.critical_points.classify`, with these differences:

    - STRICT_MINIMUM: the minimum is strict in the coordinates on which the cost depends. If other
      coordinates are dead, `classify` returns a manifold of minima, but here minima that differ
      only in dead coordinates count as one.
    - NO_DERIVATIVE: the gradient is discontinuous at the end point, or the cost rises in proportion
      to the distance in all directions that were probed.
    - SLIDING: polishing does not converge, since the lowest point is at infinity or far away.
    - DIVERGED: the run's parameters are not finite.

    Args:
        problem: problem whose cost over all its data is evaluated.
        params: end points of the runs, in arrays whose leading axis indexes the runs. Runs whose
            parameters are not finite count as diverged.
        key: random key for the probes of `classify`.
        distance_tolerance: largest uncertainty of the position of a minimum; points with a larger
            uncertainty are SLIDING.
        gradient_tolerance: largest gradient norm that counts as zero.
        max_steps: maximum number of polishing steps. End points of slow descents, far from a
            critical point, require more.

    Returns:
        The polished parameters, and a Dataset of:

        {quantities}

    Examples:
        Ten starting points on a bowl:

        >>> from gdjax.problems import bowl
        >>> problem = bowl([1.0, 10.0])
        >>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 10))
        >>> ends = classify_end_points(problem, starts, key=jax.random.key(1))
        >>> [Kind(kind).label for kind in np.unique(ends.kind)]
        ['strict minimum']
        >>> bool(np.all(np.abs(ends.params) < 1e-9))
        True
    """
    require_problem(problem)
    check_limits("distance_tolerance", distance_tolerance, Positive)
    check_limits("gradient_tolerance", gradient_tolerance, Positive)
    check_limits("max_steps", max_steps, Whole)
    check_key(key)
    runs = check_runs(problem, params)
    problem = problem_of_runs(problem, params)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    finite = np.all([np.isfinite(leaf.reshape(runs, -1)).all(axis=1) for leaf in leaves], axis=0)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        params = select_rows(finite, params, jax.tree.map(np.zeros_like, params))
        task = _Classify(float(gradient_tolerance), float(distance_tolerance), int(max_steps))
        size = sum(leaf[0].size for leaf in jax.tree.leaves(params))
        width = int(np.clip(MAX_HESSIAN_ENTRIES // size**2, 8, 256))
        keys = jax.random.split(key, runs)
        results = over_rows(task, (params, keys), problem, width=width, unit="run")
    polished, live, before, after, pull, moved, slid, slope, tips, classification = results
    only_dead_flat = (classification.kind == Kind.MANIFOLD_OF_MINIMA) & (
        classification.nullity == 0
    )
    kind = np.where(only_dead_flat, Kind.STRICT_MINIMUM, classification.kind)
    # At points that move towards infinity the gradient vanishes, but Newton's method does not
    # converge.
    small_gradient = classification.gradient_norm <= classification.gradient_tolerance
    can_slide = np.isin(kind, CAN_SLIDE) | ((kind == Kind.NOT_STATIONARY) & small_gradient)
    kind = np.where(can_slide & ~(slid <= distance_tolerance), Kind.SLIDING, kind)
    tip = np.isin(classification.kind, CAN_BE_TIPS) & (slope > gradient_tolerance)
    kind = np.where(tip, Kind.NO_DERIVATIVE, kind)
    polished = select_rows(tip, tips, polished)
    infinite = np.where(finite, 0.0, np.inf)
    names = ("smallest", "largest", "nullity", "resolution", "kantorovich", "flat_length", "dead")
    values = {
        "kind": np.where(finite, kind, Kind.DIVERGED).astype(np.int8),
        "cost_before": before[0] + infinite,
        "cost": after[0] + infinite,
        "gradient_norm_before": before[1] + infinite,
        "gradient_norm": after[1] + infinite,
        "moved": moved,
        "pull": pull[0],
        "pull_share": pull[1],
        "slid": slid,
        "slope": slope,
        **{name: getattr(classification, name) for name in names},
    }
    return EndPoints(as_dataset(RUNS, values), polished, live)


class _Classify(NamedTuple):
    """Polish and classify one run; equal instances share a program."""

    gradient_tolerance: float
    distance_tolerance: float
    max_steps: int

    def __call__(self, run, problem):
        params, key = run
        flat, unravel = ravel_pytree(params)
        at = directional_derivatives(problem, unravel)

        def polish_from(start, atol):
            polished = polish(problem, start, max_steps=self.max_steps, atol=atol)
            return polished.params, polished

        # A scan over both rounds compiles polishing, the largest part of the program, only once.
        tolerances = self.gradient_tolerance / 10 * jnp.array([1.0, 0.0], flat.dtype)
        rounds = jax.lax.scan(polish_from, params, tolerances)[1]
        first, last = (
            ravel_pytree(jax.tree.map(lambda a, k=k: a[k], rounds.params))[0] for k in range(2)
        )
        slid = jnp.linalg.norm(last - first)
        # Polishing to the limit of rounding can leave a saddle, so points that move far are
        # classified where they reached the gradient tolerance.
        w = jnp.where(slid <= self.distance_tolerance, last, first)
        classification = classify(
            problem, unravel(w), key=key, gradient_tolerance=self.gradient_tolerance
        )
        probes = jax.random.normal(key, (TIP_DIRECTIONS, flat.size), flat.dtype)
        near = jnp.stack([flat, w, w + probes[0] / 10, w + probes[1] / 10])
        costs, slopes = jax.vmap(at.gradient)(near)
        live = jnp.any(slopes != 0, axis=0)
        return (
            unravel(w),
            jax.tree.map(lambda a: a > 0, unravel(live.astype(flat.dtype))),
            (costs[0], jnp.linalg.norm(slopes[0])),
            (costs[1], jnp.linalg.norm(slopes[1])),
            _pull(flat, slopes[0]),
            jnp.linalg.norm(w - flat),
            slid,
            *_tip(at, w, costs[1], probes, unravel),
            classification._replace(newton_point=None),
        )


def _pull(w, g):
    """Return d with the smallest |g + d w|, and the share of |g|^2 that -d w explains."""
    inner, square, size = -jnp.sum(g * w), jnp.sum(w**2), jnp.sum(g**2)
    return inner / jnp.where(square > 0, square, 1), inner**2 / jnp.where(
        size > 0, size * square, 1
    )


def _tip(at, w, lowest, probes, unravel):
    """Return the smallest slope around a tip of the cost, and the tip.

    The slope is 0 if the point is not a tip. Newton's method does not converge to the tip of a
    cone, but repeated moves to the lowest of many points along the negative gradient do. The costs
    at probes around this point determine whether it is a tip.
    """
    reach = jnp.geomspace(1e-9, 0.1, SLOPE_POINTS, dtype=w.dtype)

    def move(_, state):
        w, lowest = state
        g = at.gradient(w)[1]
        length = jnp.linalg.norm(g)
        unit = g / jnp.where(length > 0, length, 1)
        costs = jax.vmap(lambda step: at.gradient(w - step * unit)[0])(reach)
        best = jnp.nanargmin(costs)
        better = costs[best] < lowest
        return jnp.where(better, w - reach[best] * unit, w), jnp.where(better, costs[best], lowest)

    tip, lowest = jax.lax.fori_loop(0, SLOPE_ROUNDS, move, (w, lowest))
    directions = probes / jnp.linalg.norm(probes, axis=1, keepdims=True)
    distance = jnp.repeat(jnp.array([1, -1, 1, -1], w.dtype), TIP_DIRECTIONS)[:, None]
    distance *= jnp.repeat(jnp.array(TIP_DISTANCES, w.dtype), 2 * TIP_DIRECTIONS)[:, None]
    around = tip[None] + distance * jnp.tile(directions, (4, 1))
    rise = (jax.lax.map(lambda w: at.gradient(w)[0], around) - lowest) / jnp.abs(distance[:, 0])
    far, near = rise[: 2 * TIP_DIRECTIONS], rise[2 * TIP_DIRECTIONS :]
    proportional = (far > 0) & (near > 0) & (far < 3 * near) & (near < 3 * far)
    return jnp.where(jnp.all(proportional), jnp.min(near), 0), unravel(tip)


def count_kinds(census: "xr.Dataset") -> dict[str, int]:
    """Return the number of runs of a census at each kind of point that occurs.

    Args:
        census: Dataset that `count_minima` returned.

    Examples:
        >>> import xarray as xr
        >>> count_kinds(xr.Dataset({"kind": ("run", [2, 2, 4])}))
        {'strict minimum': 2, 'saddle': 1}
    """
    kinds = census.get("kind") if isinstance(census, Mapping) else None
    if kinds is None:
        raise InputError(
            f"census = {type(census).__name__} without `kind`, expected the result of count_minima"
        )
    counts = {kind.label: int(np.sum(kinds.values == kind)) for kind in Kind}
    return {label: count for label, count in counts.items() if count}
