"""Censuses of the distinct minima among the end points of many descents.

    end points -> polished -> classified -> in canonical form -> clusters -> Dataset of minima

Only classified minima are counted. Other end points are reported by their `Kind`, such as
SADDLE, NO_DERIVATIVE, SLIDING or DIVERGED.

Two end points are considered the same minimum if a chain of end points leads from one to the other
with no step longer than a tolerance (`cluster_points`). Networks are first brought to their
canonical form, with coordinates on which the cost of no run depends set to 0, and are compared by
their distances in `coordinates`, so networks that differ only by a symmetry are one minimum.

If minima form manifolds, the runs end at different points of them. Manifolds have a separate
dimension in the Dataset, and points that a path of equal cost connects are on one manifold
(`cluster_manifolds`). Statistics of minima do not include manifolds.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.base.arguments import check_number
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key, run_keys
from gdjax.base.quantities import Quantity, as_dataset, document, quantities
from gdjax.curvature.critical_points.classification import Kind
from gdjax.minima.barriers import pairwise_barriers
from gdjax.minima.clustering import Clusters, classical_mds, cluster_manifolds, cluster_points
from gdjax.minima.counting import BasinShares, basin_shares, estimate_unseen
from gdjax.minima.end_points import (
    DISTANCE_TOLERANCE,
    GRADIENT_TOLERANCE,
    ISOLATED_MINIMA,
    MAX_STEPS,
    RUNS,
    classify_end_points,
    finished_runs,
)
from gdjax.minima.symmetry import canonicalize, coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem, require_problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import check_runs
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import AxisValue
from gdjax.sweeps.continued.stored import StoredSweep, require_problem_of
from gdjax.sweeps.dataset import named_leaves

if TYPE_CHECKING:
    import xarray as xr

MAX_COMPARED = 64  # maximum number of minima (lowest first) with pairwise barriers
OUTPUT_SAMPLES = 1000  # number of samples for the comparison of outputs
TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # tolerances for which clusters are counted

SHARES = {
    "count": "number of runs that ended there",
    "share": "share of the runs",
    "share_low": "lower end of the confidence interval of the share",
    "share_high": "upper end of the confidence interval of the share",
    "representative": "representative run",
}
QUANTITIES = {
    **RUNS,
    **quantities(
        "run",
        minimum_of="number of its minimum, or -1",
        manifold_of="number of its manifold of minima, or -1",
    ),
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
        distance="distance",
        matched_distance="distance after matching; NaN without a network",
    ),
    **quantities("compared plane", position="embedding of the distances"),
}
"""Quantities of a census."""


class Minima(NamedTuple):
    """Clusters of classified minima, or connected manifolds of minima, lowest cost first.

    Args:
        labels: number of the minimum or manifold of each run, -1 for runs that ended at none.
        representatives: run with the smallest gradient at each minimum or manifold.
        clusters: clusters of all runs that ended at a minimum; None if there are no such runs, and
            for manifolds.
    """

    labels: Int[np.ndarray, " runs"]
    representatives: Int[np.ndarray, " minima"]
    clusters: Clusters | None = None


@document(QUANTITIES)
def count_minima(
    problem: Problem | None,
    runs: PyTree,
    at: Mapping[str, AxisValue] | None = None,
    *,
    key: Key[Array, ""] | None = None,
    distance_tolerance: float = DISTANCE_TOLERANCE,
    output_tolerance: float = 1e-3,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_steps: int = MAX_STEPS,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
) -> "xr.Dataset":
    """Find the distinct minima among the end points of many runs.

    The time is proportional to the number of runs and grows with the number of parameters, up to
    its cube, since the dense Hessian of each end point with up to 2,048 parameters is decomposed.
    Barriers between all pairs of up to 64 minima follow. Progress bars show completed runs and
    paths.

    Args:
        problem: problem whose cost over all its data was minimized. If it has a network, minima are
            compared up to its symmetries; if it has `predict`, also by their outputs. None
            means the problem that a store records; another must agree with it.
        runs: parameters at which the runs stopped, in arrays whose leading axis indexes the runs,
            NaN for runs that diverged; or a sweep: its Dataset, or the path or URL of its store, to
            which it may still be writing. Unfinished runs are omitted.
        at: values of some axes of the sweep, by name, to which its runs are restricted.
        key: random key for probes and for the starts of matching; None is valid for a sweep, whose
            root seed then determines the key, so equal sweeps have equal censuses.
        distance_tolerance: longest step within a cluster, in the units of the parameters; also the
            largest uncertainty of the position of a minimum.
        output_tolerance: longest step within a cluster of minima with equal outputs, as the root
            mean square of the difference of outputs.
        gradient_tolerance: largest gradient norm that counts as zero (see `classify_end_points`).
        max_steps: maximum number of polishing steps (see `classify_end_points`).
        allow_unverified: whether to accept a problem that cannot be compared with that of the
            store, as in `resume`.
        skip_damaged: whether to omit the runs of damaged tiles of the store, like unfinished runs.

    Returns:
        A Dataset. The number of distinct minima is the size of the dimension `minimum`, and that of
        manifolds of minima the size of `manifold`, both ordered by cost. Each `run` of a sweep has
        the values of its axes as coordinates. Pairs of minima, `compared` and `compared_with`, are
        those of the 64 lowest.

        {quantities}
        - `params...` (minimum, ...) and the problem's metrics (minimum): those of the
          representative run in its original form, since flips of sigmoids change eigenvalues.
        - `unseen_...`: estimates of minima that were not found (`estimate_unseen`), and
          `unseen_manifold_...` of manifolds.

    Raises:
        InputError: if the cost changes under the symmetries of the network or between runs.

    Examples:
        Forty starts on a function with four minima:

        >>> from gdjax.minima import count_kinds
        >>> from gdjax.problems import from_function
        >>> problem = from_function("himmelblau")
        >>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 40))
        >>> result = count_minima(problem, starts, key=jax.random.key(1))
        >>> result.sizes["minimum"], count_kinds(result)
        (4, {'strict minimum': 40})

        A sweep:

        >>> from gdjax.sweeps import axes, sweep
        >>> grid = axes(learning_rate=[0.01, 0.02], seed=range(10))
        >>> walks = sweep(from_function("quartic"), grid, 100)
        >>> result = count_minima(from_function("quartic"), walks, {"learning_rate": 0.02})
        >>> result.sizes["run"], result.sizes["minimum"], sorted(result.coords)
        (10, 2, ['learning_rate', 'seed', 'tolerance'])
    """
    check_number("output_tolerance", output_tolerance, least=0)
    along, attributes = {}, {}
    if isinstance(runs, StoreLike):
        stored = StoredSweep(runs, problem, None, allow_unverified, skip_damaged)
        problem = stored.problem
        attributes = {"store": str(runs), "problem": stored.identity["problem"]}
        runs = stored.dataset
    require_problem(problem)
    assert isinstance(problem, Problem)
    if hasattr(runs, "data_vars"):
        if identity := json.loads(runs.attrs.get("identity", "{}")):
            key = run_keys(identity["root_seed"]).probes if key is None else key
            if not attributes and "functions" in identity:
                require_problem_of(problem, identity, "runs", allow_unverified=allow_unverified)
        problem, runs, along = finished_runs(problem, runs, at or {})
    elif at is not None:
        raise InputError(f"count_minima: at = {at!r:.80}, expected None for runs without axes")
    check_key(key)
    assert key is not None
    key_check, key_ends, key_pairs, key_manifolds = jax.random.split(key, 4)
    check_runs(problem, runs)
    problem = problem_at(problem, jax.tree.map(lambda leaf: leaf[0], runs))
    _check_symmetric(problem, key_check)
    ends = classify_end_points(
        problem,
        runs,
        key=key_ends,
        distance_tolerance=distance_tolerance,
        gradient_tolerance=gradient_tolerance,
        max_steps=max_steps,
    )
    with jax.enable_x64(True):
        canonical, points = _canonical_points(problem, ends)
        minima = _cluster_minima(ends, points, distance_tolerance)
        pairs = _barriers_between(problem, canonical, minima, key_pairs)
        if pairs is not None:
            merged = _merge_matched(ends, minima, pairs.smallest_distance, distance_tolerance)
            if len(merged.representatives) < len(minima.representatives):
                minima = merged
                pairs = _barriers_between(problem, canonical, minima, key_pairs)
        manifolds = _cluster_manifolds(problem, ends, canonical, key_manifolds)
        census = _dataset(problem, ends, minima, manifolds, pairs, output_tolerance)
    return census.assign_coords({n: ("run", v) for n, v in along.items()}).assign_attrs(
        result="census",
        distance_tolerance=distance_tolerance,
        output_tolerance=output_tolerance,
        gradient_tolerance=gradient_tolerance,
        compared="coordinates of the canonical form" if problem.network else "parameters",
        **attributes,
    )


def _check_symmetric(problem, key):
    """Check that symmetries do not change the cost, as they do with decay of biases."""
    if problem.network is None:
        return
    key_init, *keys = jax.random.split(key, 1 + len(problem.network.widths))
    params = problem.init(key_init)
    # Biases are often initialized to 0, where most differences vanish.
    params = tuple(
        layer._replace(bias=layer.bias + jax.random.normal(k, layer.bias.shape))
        for layer, k in zip(params, keys, strict=False)
    )
    evaluation, data = deterministic_cost(problem), jax.tree.map(jnp.asarray, problem.data)
    if problem.evaluation is None and not problem.random and data is not None:
        evaluation = problem.cost  # a new function would be compiled again
    cost = jax.jit(evaluation)
    before, after = (float(cost(p, data)) for p in (params, canonicalize(problem.network, params)))
    if not abs(after - before) <= 1e-4 * max(abs(before), 1e-30):
        raise InputError(
            f"problem: the cost of a network is {before:.6g} and that of its canonical form "
            f"{after:.6g}, expected equal costs (decay of biases is a common reason for a "
            f"difference). Leave biases out of the decay, or use dataclasses.replace(problem, "
            f"network=None)"
        )


def _canonical_points(problem, ends):
    """Return parameters in canonical form, and the points for distances.

    Coordinates on which no run's cost depends are set to 0, since they keep their initial values.
    """
    finite = ends.kind != Kind.DIVERGED

    def without_dead(leaf, live):
        return np.where(live[finite].any(axis=0) | ~finite.any(), leaf, 0)

    params = points = jax.tree.map(without_dead, ends.params, ends.live)
    if problem.network is not None:
        form = jax.jit(jax.vmap(lambda one: canonicalize(problem.network, one)))
        params = jax.tree.map(np.asarray, form(params))
        points = jax.jit(jax.vmap(lambda one: coordinates(problem.network, one)))(params)
    flat = [np.asarray(leaf).reshape(len(finite), -1) for leaf in jax.tree.leaves(points)]
    return params, np.concatenate(flat, axis=1)


def _cluster_minima(ends, points, tolerance):
    """Return the clusters of classified isolated minima."""
    runs = np.flatnonzero(np.isin(ends.kind, ISOLATED_MINIMA))
    if not len(runs):
        return _number_by_cost(ends, runs, runs)
    clusters = cluster_points(points[runs], tolerance)
    return _number_by_cost(ends, runs, clusters.labels, clusters)


def _cluster_manifolds(problem, ends, canonical, key):
    """Return the connected manifolds of classified minima."""
    runs = np.flatnonzero(ends.kind == Kind.MANIFOLD_OF_MINIMA)
    if not len(runs):
        return _number_by_cost(ends, runs, runs)
    points = jax.tree.map(lambda leaf: leaf[runs], canonical)
    cost, largest = (ends.runs[name].values[runs] for name in ("cost", "largest"))
    labels = cluster_manifolds(problem, points, cost, sharpness=largest, key=key)
    return _number_by_cost(ends, runs, labels)


def _number_by_cost(ends, runs, labels, clusters=None):
    """Number the clusters of some runs by ascending cost, and choose representatives."""
    cost, gradient_norm = (ends.runs[name].values for name in ("cost", "gradient_norm"))
    by_gradient = runs[np.lexsort((runs, gradient_norm[runs]))]
    label_of = dict(zip(runs.tolist(), labels.tolist(), strict=True))
    first = {label_of[run]: run for run in reversed(by_gradient.tolist())}
    # The order of costs that differ only by rounding is arbitrary, so the first run decides.
    scale = 1e-9 * max(1.0, np.max(np.abs(cost[runs]), initial=0.0))
    order = sorted(first, key=lambda c: (round(cost[first[c]] / scale), first[c]))
    number = {c: i for i, c in enumerate(order)}
    numbers = np.full(len(ends.kind), -1)
    numbers[runs] = [number[c] for c in labels.tolist()]
    return Minima(numbers, np.array([first[c] for c in order], int), clusters)


def _merge_matched(ends, minima, distance, tolerance):
    """Merge minima that are equal after matching but were separated by ties."""
    components = connected_components(distance <= tolerance)[1]
    runs = np.flatnonzero(minima.labels >= 0)
    labels = minima.labels[runs]
    # Minima that were not compared are left unchanged.
    labels = np.where(
        labels < len(components),
        components[np.minimum(labels, len(components) - 1)],
        labels + len(components),
    )
    return _number_by_cost(ends, runs, labels, minima.clusters)


def _barriers_between(problem, params, minima, key):
    """Return barriers between the lowest minima; None with fewer than two."""
    if len(minima.representatives) < 2:
        return None
    lowest = jax.tree.map(lambda leaf: leaf[minima.representatives[:MAX_COMPARED]], params)
    return pairwise_barriers(problem, lowest, key=key)


def _dataset(problem, ends, minima, manifolds, pairs, output_tolerance):
    """Return the Dataset of a census."""
    on_minima, on_manifolds = minima.representatives, manifolds.representatives
    params = jax.tree.map(lambda leaf: leaf[on_minima], ends.params)
    representatives = [
        jax.tree.map(lambda leaf, run=run: leaf[run], ends.params)
        for run in (*on_minima, *on_manifolds)
    ]
    metrics = _metrics(problem, representatives[: len(on_minima)])
    outputs = _outputs(problem, representatives)
    runs = {name: variable.values for name, variable in ends.runs.items()}
    values: dict[str, Any] = {
        "minimum_of": minima.labels.astype(np.int32),
        "manifold_of": manifolds.labels.astype(np.int32),
        **_shares(minima, ""),
        "minimum_cost": runs["cost"][on_minima],
        "sharpness": runs["largest"][on_minima],
        "least_curvature": runs["smallest"][on_minima],
        "minimum_nullity": runs["nullity"][on_minima],
        **_shares(manifolds, "manifold_"),
        "manifold_cost": runs["cost"][on_manifolds],
        "manifold_nullity": runs["nullity"][on_manifolds],
        "manifold_sharpness": runs["largest"][on_manifolds],
        **_distances(minima, pairs),
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
    declared = QUANTITIES | {name: quantity for name, (_, quantity) in metrics.items()}
    values |= {name: numbers for name, (numbers, _) in metrics.items()}
    for name, leaf in named_leaves("params", params).items():
        inner = tuple(f"{name.removeprefix('params.')}[{i}]" for i in range(leaf.ndim - 1))
        declared[name] = Quantity(f"parameters: {name}", ("minimum", *inner))
        values[name] = leaf
    dataset = as_dataset(declared, runs | values, {"tolerance": TOLERANCES})
    return dataset.assign(_unseen(minima, "unseen_") | _unseen(manifolds, "unseen_manifold_"))


def _counts(minima):
    return np.bincount(minima.labels[minima.labels >= 0], minlength=len(minima.representatives))


def _shares(minima, prefix):
    """Return the number and share of the runs at each minimum or manifold."""
    count = _counts(minima)
    shares = BasinShares(*[np.zeros(0)] * 3, unseen_high=1.0)
    if len(count):
        shares = basin_shares(count, len(minima.labels))
    values = (count, shares.share, shares.low, shares.high, minima.representatives)
    return {prefix + name: value for name, value in zip(SHARES, values, strict=True)}


def _unseen(minima, prefix):
    if not len(minima.representatives):
        return {}
    return {f"{prefix}{k}": float(v) for k, v in estimate_unseen(_counts(minima))._asdict().items()}


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


def _metrics(problem, points):
    """Return the metrics at each point, with their declarations."""
    metrics = {}
    for name, metric in problem.metrics.items():
        if metric.is_of_a_point:
            evaluate = jax.jit(lambda one, data, f=metric.function: f(one, data))
            data = jax.tree.map(jnp.asarray, metric.data)
            each = [evaluate(params, data) for params in points]
            declared = Quantity(metric.long_name or name, ("minimum",), metric.units)
            metrics[name] = (np.array(each, float), declared)
    return metrics


def _outputs(problem, points):
    """Return the outputs at each point, scaled to make distances RMS differences."""
    if problem.predict is None or problem.data is None or not points:
        return None
    test = problem.metrics.get("test_accuracy")
    inputs = jax.tree.leaves(problem.data if test is None else test.data)[0][:OUTPUT_SAMPLES]
    predict = jax.jit(problem.predict)
    rows = [np.ravel(predict(params, jnp.asarray(inputs))) for params in points]
    return np.stack(rows) / np.sqrt(rows[0].size)
