"""Datasets of censuses: what was counted, and how it is declared."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from gdjax.base.arrays import Array, as_dataset, quantities
from gdjax.minima.barriers import PairwiseBarriers
from gdjax.minima.clustering import classical_mds, cluster_points
from gdjax.minima.counting import basin_shares, estimate_unseen
from gdjax.minima.distinct import Minima
from gdjax.minima.end_points import RUNS, EndPoints
from gdjax.minima.end_states import EndState
from gdjax.problems.facts import traced_metric
from gdjax.problems.keywords import settings_of
from gdjax.problems.measurement import from_start, settings_by_role
from gdjax.problems.problem import Problem
from gdjax.sweeps.dataset import named_leaves

if TYPE_CHECKING:
    import xarray as xr

OUTPUT_SAMPLES = 1000  # number of samples for the comparison of outputs
TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # tolerances for which clusters are counted

STATES = {EndState.REACHED: "reached", EndState.NEAR: "near", EndState.CANNOT_HOLD: "cannot_hold"}
SHARES = {
    "count": "number of runs that ended there, in any state",
    "reached": "number of runs that reached it",
    "near": "number of runs that ended near it",
    "cannot_hold": "number of runs that cannot hold it",
    "share": "share of all runs that reached it",
    "share_low": "lower end of the simultaneous confidence interval of the share",
    "share_high": "upper end of the simultaneous confidence interval of the share",
    "representative": "representative run",
}
QUANTITIES = {
    **RUNS,
    **quantities(
        "run",
        minimum_of="number of its minimum, or -1",
        manifold_of="number of its manifold of minima, or -1",
        relative_move="distance moved by polishing, relative to that of the nearest other minimum",
        stability="sharpness relative to the stability limit of the optimizer; NaN if unknown",
    ),
    "state": Array("state of the end of the descent", ("run",), codes=EndState),
    "minimum_state": Array("best state of the ends there", ("minimum",), codes=EndState),
    "manifold_state": Array("best state of the ends there", ("manifold",), codes=EndState),
    **quantities(
        "minimum",
        **SHARES,
        minimum_cost="cost",
        sharpness="largest eigenvalue",
        least_curvature="smallest eigenvalue",
        minimum_nullity="number of zero eigenvalues",
        diameter="largest distance in the cluster",
        function="number of the computed function",
    ),
    **quantities(
        "manifold",
        **{f"manifold_{name}": long_name for name, long_name in SHARES.items()},
        manifold_cost="cost",
        manifold_nullity="dimension",
        manifold_sharpness="largest eigenvalue",
        manifold_function="number of the computed function",
    ),
    **quantities(
        "tolerance",
        tolerance="distance tolerance of the clusters",
        clusters="number of minima",
        output_clusters="number of functions",
    ),
    **quantities(
        "",
        gap="smallest distance between two minima",
        stable_from="smallest tolerance with these clusters",
        stable_to="smallest tolerance with fewer clusters",
        functions="number of different functions",
        output_gap="smallest difference between two functions",
        position_share="share of the distances represented by the embedding",
    ),
    **quantities(
        "compared compared_with",
        barrier="barrier on the straight line",
        matched_barrier="barrier after matching; NaN without a network",
        barrier_error="estimated error of the barrier",
        matched_barrier_error="estimated error of the barrier after matching",
        distance="distance",
        matched_distance="distance after matching; NaN without a network",
    ),
    **quantities("compared plane", position="embedding of the distances"),
}
"""Quantities of a census."""


class Descents(NamedTuple):
    """What is known of the descents that ended at some points.

    Args:
        state: `EndState` of each run.
        relative_move: distance moved by polishing, relative to the nearest other minimum.
        stability: sharpness relative to the stability limit.
        drawn: whether each run counts in the shares of basins.
    """

    state: Int[np.ndarray, " runs"]
    relative_move: Float[np.ndarray, " runs"]
    stability: Float[np.ndarray, " runs"]
    drawn: Bool[np.ndarray, " runs"]


class Readers:
    """Metrics and outputs of a problem at points; each is compiled once.

    Metrics that need more than a point, or are stored as separate arrays, are left out.
    """

    def __init__(self, problem: Problem, point: PyTree, settings: Mapping[str, Any]):
        self.problem = problem
        self.declared, self._measure = {}, {}
        own = {"cost": settings_of(problem.cost, settings)}
        for name, metric in problem.metrics.items():
            if metric.needs:
                continue
            static = traced_metric(name, problem, point, own)[1]
            if not static.is_array:
                data = problem.data if metric.data is None else metric.data
                measure = jax.jit(partial(from_start, static.init, static.function))
                self._measure[name] = measure, data
                self.declared[name] = Array(metric.long_name or name, ("minimum",), metric.units)
        self._predict = None if problem.predict is None else jax.jit(partial(problem.predict))

    def metrics(self, points: Sequence, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the metrics at each point."""
        own = settings_by_role({"cost": settings_of(self.problem.cost, settings)})
        return {
            name: np.array([measure(one, data, step=0, **own)[0] for one in points], float)
            for name, (measure, data) in self._measure.items()
        }

    def outputs(self, points: Sequence, settings: Mapping[str, Any]) -> np.ndarray | None:
        """Return the outputs at each point, scaled to make distances RMS differences."""
        problem, predict = self.problem, self._predict
        if predict is None or problem.data is None or not points:
            return None
        test = problem.metrics.get("test_accuracy")
        inputs = jax.tree.leaves(problem.data if test is None else test.data)[0][:OUTPUT_SAMPLES]
        given = settings_of(predict, settings)
        rows = [np.ravel(predict(one, jnp.asarray(inputs), **given)) for one in points]
        return np.stack(rows) / np.sqrt(rows[0].size)


def census_dataset(
    readers: Readers,
    settings: Mapping[str, Any],
    ends: EndPoints,
    minima: Minima,
    manifolds: Minima,
    pairs: PairwiseBarriers | None,
    descents: Descents,
    output_tolerance: float,
) -> "xr.Dataset":
    """Return the Dataset of a census."""
    on_minima, on_manifolds = minima.representatives, manifolds.representatives
    params = jax.tree.map(lambda leaf: leaf[on_minima], ends.params)
    points = [
        jax.tree.map(lambda leaf, run=run: leaf[run], ends.params)
        for run in (*on_minima, *on_manifolds)
    ]
    metrics = readers.metrics(points[: len(on_minima)], settings)
    outputs = readers.outputs(points, settings)
    runs = {name: variable.values for name, variable in ends.runs.items()}
    values: dict[str, Any] = {
        "minimum_of": minima.labels.astype(np.int32),
        "manifold_of": manifolds.labels.astype(np.int32),
        "state": descents.state,
        "relative_move": descents.relative_move,
        "stability": descents.stability,
        "minimum_state": best_states(minima, descents.state),
        "manifold_state": best_states(manifolds, descents.state),
        **_shares(minima, descents, ""),
        "minimum_cost": runs["cost"][on_minima],
        "sharpness": runs["largest"][on_minima],
        "least_curvature": runs["smallest"][on_minima],
        "minimum_nullity": runs["nullity"][on_minima],
        **_shares(manifolds, descents, "manifold_"),
        "manifold_cost": runs["cost"][on_manifolds],
        "manifold_nullity": runs["nullity"][on_manifolds],
        "manifold_sharpness": runs["largest"][on_manifolds],
        **_distances(minima, pairs),
        **metrics,
    }
    if outputs is not None:
        same = cluster_points(outputs, output_tolerance)
        values |= {
            "function": same.labels[: len(on_minima)],
            "manifold_function": same.labels[len(on_minima) :],
            "output_clusters": same.counts_at(TOLERANCES),
            "functions": int(same.labels.max()) + 1,
            "output_gap": same.gap,
        }
    declared = QUANTITIES | readers.declared
    for name, leaf in named_leaves("params", params).items():
        inner = tuple(f"{name.removeprefix('params.')}[{i}]" for i in range(leaf.ndim - 1))
        declared[name] = Array(f"parameters: {name}", ("minimum", *inner))
        values[name] = leaf
    dataset = as_dataset(declared, runs | values, {"tolerance": TOLERANCES})
    unseen = _unseen(minima, descents, "unseen_") | _unseen(manifolds, descents, "unseen_manifold_")
    return dataset.assign(unseen)


def best_states(minima: Minima, state: Int[np.ndarray, " runs"]) -> Int[np.ndarray, " minima"]:
    """Return the best state of the ends at each minimum or manifold."""
    count = len(minima.representatives)
    best = np.full(count, EndState.CANNOT_HOLD, np.int8)
    at = minima.labels >= 0
    np.minimum.at(best, minima.labels[at], state[at])
    return best


def counts_of(minima: Minima, chosen: Bool[np.ndarray, " runs"]) -> Int[np.ndarray, " minima"]:
    """Return the number of chosen runs at each minimum or manifold."""
    labels = minima.labels[(minima.labels >= 0) & chosen]
    return np.bincount(labels, minlength=len(minima.representatives))


def _shares(minima, descents, prefix):
    """Return the number and share of the runs at each minimum or manifold."""
    runs = len(minima.labels)
    by_state = {name: counts_of(minima, descents.state == s) for s, name in STATES.items()}
    drawn = counts_of(minima, descents.drawn)
    share, low, high = (np.zeros(len(drawn)) for _ in range(3))
    if drawn.any():
        found = drawn > 0
        shares = basin_shares(drawn[found], runs)
        share[found], low[found], high[found] = shares.share, shares.low, shares.high
        high[~found] = shares.unseen_high
    elif len(drawn):
        high[:] = basin_shares([1], runs).unseen_high
    count = counts_of(minima, np.ones(runs, bool))
    values = {"count": count, **by_state, "share": share, "share_low": low, "share_high": high}
    values["representative"] = minima.representatives
    return {prefix + name: values[name] for name in SHARES}


def _unseen(minima, descents, prefix):
    drawn = counts_of(minima, descents.drawn)
    if not drawn.any():
        return {}
    estimate = estimate_unseen(drawn[drawn > 0])
    return {f"{prefix}{name}": float(value) for name, value in estimate._asdict().items()}


def _distances(minima, pairs):
    """Return the numbers and sizes of clusters, and the matrices between minima."""
    clusters, values = minima.clusters, {}
    if clusters is None:
        return {"clusters": np.zeros(len(TOLERANCES), int), "diameter": np.zeros(0)}
    gap = clusters.gap
    if pairs is not None:
        distance = pairs.smallest_distance
        gap = min(gap, float(np.min(distance + np.diag([np.inf] * len(distance)))))
        position, share = classical_mds(distance)
        values = {"position": position, "position_share": share}
        names = ("barrier", "matched_barrier", "distance", "matched_distance")
        names += ("barrier_error", "matched_barrier_error")
        values |= {name: getattr(pairs, name) for name in names}
    # The diameter of merged clusters is the largest of their diameters.
    diameters = np.zeros(len(minima.representatives))
    labels = minima.labels[minima.labels >= 0]
    np.maximum.at(diameters, labels, clusters.diameters[clusters.labels])
    return values | {
        "clusters": clusters.counts_at(TOLERANCES),
        "diameter": diameters,
        "gap": gap,
        "stable_from": clusters.stable_from,
        "stable_to": gap,
    }
