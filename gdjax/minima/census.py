"""Censuses of the distinct minima among the end points of many descents.

    end points -> polished -> classified -> in canonical form -> clusters -> Dataset of minima

Only classified minima are counted. Other end points are reported by their `EndPointKind`, such as
SADDLE, NO_DERIVATIVE, SLIDING or DIVERGED.

Two end points are considered the same minimum if a chain of end points leads from one to the other
with no step longer than a tolerance (`cluster_points`). Networks are first brought to their
canonical form, with coordinates on which the cost of no run depends set to 0, and are compared by
their distances in `coordinates`, so networks that differ only by a symmetry are one minimum.

If minima form manifolds, the runs end at different points of them. Manifolds have a separate
dimension in the Dataset, and points that a path of equal cost connects are on one manifold
(`cluster_manifolds`). Statistics of minima do not include manifolds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.errors import InputError, StoreError
from gdjax.keys import check_key, run_keys
from gdjax.minima.barriers import pairwise_barriers
from gdjax.minima.census_dataset import Manifolds, Minima, build_dataset
from gdjax.minima.clustering import cluster_manifolds, cluster_points
from gdjax.minima.end_points import (
    DISTANCE_TOLERANCE,
    GRADIENT_TOLERANCE,
    ISOLATED_MINIMA,
    MAX_STEPS,
    EndPointKind,
    check_options,
    classify_end_points,
)
from gdjax.minima.symmetry import canonicalize, coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem, require_problem
from gdjax.sweeps.axes import AxisValue, positions
from gdjax.sweeps.binding import assign_roles, by_role, with_settings
from gdjax.sweeps.dataset import from_named, named_leaves
from gdjax.sweeps.stored import open_sweep

if TYPE_CHECKING:
    import xarray as xr

MAX_COMPARED = 64  # maximum number of minima (lowest first) with pairwise barriers
OUTPUT_SAMPLES = 1000  # number of samples for the comparison of outputs


def count_minima(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    distance_tolerance: float = DISTANCE_TOLERANCE,
    output_tolerance: float = 1e-3,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> "xr.Dataset":
    """Find the distinct minima among the end points of many runs.

    Args:
        problem: problem whose cost over all its data was minimized. If it has a network, minima are
            compared up to its symmetries; if it has `predict`, also by their outputs.
        params: parameters at which the runs stopped, in arrays whose leading axis indexes the runs;
            NaN for runs that diverged.
        key: random key for probes and for the starts of matching.
        distance_tolerance: longest step within a cluster, in the units of the parameters; also the
            largest uncertainty of the position of a minimum.
        output_tolerance: longest step within a cluster of minima with equal outputs, as the root
            mean square of the difference of outputs.
        gradient_tolerance: largest gradient norm that counts as zero (see `classify_end_points`).
        max_steps: maximum number of polishing steps (see `classify_end_points`).

    Returns:
        A Dataset. The number of distinct minima is the size of the dimension `minimum`, and that of
        manifolds of minima the size of `manifold`.

        - For each `run`: its `kind`, its `minimum_of` and `manifold_of` (-1 if none), cost and
          gradient norm before and after polishing, extreme eigenvalues, nullity and the number of
          dead coordinates.
        - For each `minimum`, lowest first: `count`, `share` with an interval (`share_low`,
          `share_high`), cost, smallest and largest eigenvalue, nullity, `diameter` of its cluster,
          the problem's metrics, `same_outputs` (equal for minima with equal outputs), and
          parameters. Cost, eigenvalues, nullity, metrics and parameters are those of the run
          `first` in its original form, since flips of sigmoids change eigenvalues.
        - For each `manifold` of minima, lowest first: `manifold_count`, `manifold_share` with an
          interval, `manifold_cost`, `manifold_nullity`, `manifold_sharpness`, `manifold_first` and
          `manifold_same_outputs`.
        - `unseen_*`: estimates of minima that were not found (`estimate_unseen`), and
          `unseen_manifold_*` of manifolds.
        - `clusters` and `output_clusters`: numbers of clusters at other tolerances. `gap`: smallest
          distance between two minima. `stable_from` and `stable_to`: tolerances between which the
          number of clusters is constant.
        - For the 64 minima of lowest cost: `barrier`, `matched_barrier`, `distance` and
          `matched_distance` between all pairs, and an embedding of these distances in the plane.
          The matched variables are NaN if the problem has no network, since its symmetries are then
          unknown.

    Raises:
        InputError: if `classify_end_points` does not accept the arguments, or if the cost changes
            under the symmetries of the network.

    Examples:
        Forty starts on a function with four minima:

        >>> from gdjax.minima import count_kinds
        >>> from gdjax.problems import from_function
        >>> problem = from_function("himmelblau")
        >>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 40))
        >>> result = count_minima(problem, starts, key=jax.random.key(1))
        >>> result.sizes["minimum"], count_kinds(result)
        (4, {'strict minimum': 40})
    """
    check_options(
        "count_minima",
        max_steps,
        distance_tolerance=distance_tolerance,
        output_tolerance=output_tolerance,
        gradient_tolerance=gradient_tolerance,
    )
    require_problem(problem)
    check_key(key)
    key_check, key_ends, key_pairs, key_manifolds = jax.random.split(key, 4)
    _check_symmetric(problem, key_check)
    ends = classify_end_points(
        problem,
        params,
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
            if len(merged.first) < len(minima.first):
                minima = merged
                pairs = _barriers_between(problem, canonical, minima, key_pairs)
        manifolds = _cluster_manifolds(problem, ends, canonical, key_manifolds)
        minimum_params = jax.tree.map(lambda leaf: leaf[minima.first], ends.params)
        metrics = _metrics(problem, minimum_params, len(minima.first))
        first = np.concatenate([minima.first, manifolds.first])
        outputs = _outputs(problem, jax.tree.map(lambda leaf: leaf[first], ends.params), len(first))
    attributes = {
        "result": "census",
        "distance_tolerance": distance_tolerance,
        "output_tolerance": output_tolerance,
        "gradient_tolerance": gradient_tolerance,
        "compared": "coordinates of the canonical form" if problem.network else "parameters",
    }
    return build_dataset(
        ends, minima, manifolds, pairs, minimum_params, metrics, outputs, output_tolerance
    ).assign_attrs(attributes)


def count_stored_minima(
    store: str | Path,
    at: Mapping[str, AxisValue] | None = None,
    *,
    problem: Problem | None = None,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
    nearest: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    distance_tolerance: float = DISTANCE_TOLERANCE,
    output_tolerance: float = 1e-3,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> "xr.Dataset":
    """Find the distinct minima among the end points of a stored sweep.

    Unfinished runs are omitted. Random probes are derived from the root seed of the sweep, so equal
    stores have equal censuses.

    Args:
        store: path or URL of the store; a sweep may still be writing to it.
        at: values of some axes, by name, to which the runs are restricted.
        problem: problem of the sweep; required if it is user-defined.
        allow_unverified: whether to accept a problem that cannot be compared, as in `resume`.
        skip_damaged: whether to omit the runs of damaged tiles, like unfinished runs.
        nearest: whether to use the nearest values along numeric axes. Seeds, booleans and names
            must be in the grid.
        storage_options: keywords of `obstore.store.from_url` for a URL.
        distance_tolerance: longest step within a cluster (see `count_minima`).
        output_tolerance: longest step within a cluster of equal outputs (see `count_minima`).
        gradient_tolerance: largest gradient norm that counts as zero (see `count_minima`).
        max_steps: maximum number of polishing steps (see `count_minima`).

    Returns:
        The Dataset of `count_minima`, in which each run has the values of its axes as coordinates.

    Raises:
        InputError: if a name in `at` is not an axis, or if the cost differs between runs.
        StoreError: if there is no store, a tile is damaged, no run is finished, or a user-defined
            problem is missing or differs from that of the sweep.

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = sweep(
        ...         problems.from_function("quartic"),
        ...         axes(learning_rate=[0.01, 0.02], seed=range(10)),
        ...         100,
        ...         store=f"{folder}/s",
        ...     )
        ...     result = count_stored_minima(f"{folder}/s")
        >>> result.sizes["run"], result.sizes["minimum"], sorted(result.coords)
        (20, 2, ['learning_rate', 'seed', 'tolerance'])
    """
    check_options(
        "count_stored_minima",
        max_steps,
        distance_tolerance=distance_tolerance,
        output_tolerance=output_tolerance,
        gradient_tolerance=gradient_tolerance,
    )
    stored = open_sweep(store, skip_damaged=skip_damaged, storage_options=storage_options)
    dataset, identity, grid = stored.dataset, stored.identity, stored.axes
    chosen = positions(grid, at or {}, nearest=nearest)
    problem = stored.problem(problem, allow_unverified=allow_unverified)
    dataset = dataset.isel({dim: [index] for dim, index in chosen.items()})
    indices = np.nonzero(dataset["finished"].values > 0)
    if not len(indices[0]):
        raise StoreError(f"{store}: no run is finished; resume the sweep first")
    values = grid.values(
        tuple(
            np.full_like(index, chosen[dim]) if dim in chosen else index
            for dim, index in zip(grid.sizes, indices, strict=True)
        )
    )
    problem = with_settings(problem, _cost_settings(problem, grid, values))
    if problem.stateful:
        raise InputError(
            "problem: the cost has a model state, which differs between runs; count the minima of "
            "one state by count_minima(gdjax.problems.frozen(problem, model_state=...), params)"
        )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    # The point at which a diverged run was stopped is unrelated to minima.
    diverged = dataset["diverged_at"].values[indices] >= 0
    arrays = {name: dataset[name].values[indices] for name in named_leaves("params", like)}
    params = jax.tree.map(
        lambda a: np.where(diverged.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a),
        from_named("params", like, arrays),
    )
    result = count_minima(
        problem,
        params,
        key=run_keys(identity["root_seed"]).probes,
        distance_tolerance=distance_tolerance,
        output_tolerance=output_tolerance,
        gradient_tolerance=gradient_tolerance,
        max_steps=max_steps,
    )
    text = {name: v.astype(object) for name, v in values.items() if v.dtype.kind == "U"}
    return result.assign_coords({n: ("run", v) for n, v in (values | text).items()}).assign_attrs(
        store=str(store), problem=identity["problem"]
    )


def _cost_settings(problem, grid, values):
    """Return the swept keywords of the cost; their values must be equal in all runs."""
    settings = by_role(assign_roles(problem, grid), {axis: axis for axis in values})["cost"]
    for axis in settings.values():
        if len(np.unique(values[axis])) > 1:
            raise InputError(
                f"count_stored_minima: the cost differs between runs with {axis}, so that their "
                f"minima cannot be compared; choose one value: "
                f"at={{{axis!r}: {values[axis][0].item()!r}}}"
            )
    return {keyword: values[axis][0].item() for keyword, axis in settings.items()}


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
    finite = ends.kind != EndPointKind.DIVERGED
    used = ends.live[finite].any(axis=0) if finite.any() else np.ones(ends.live.shape[1], bool)
    leaves, structure = jax.tree.flatten(ends.params)
    cuts = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
    masks = [
        m.reshape(leaf.shape[1:]) for m, leaf in zip(np.split(used, cuts), leaves, strict=True)
    ]
    masked = [np.where(mask, leaf, 0) for mask, leaf in zip(masks, leaves, strict=True)]
    params = points = jax.tree.unflatten(structure, masked)
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
        return Minima(np.full(len(ends.kind), -1), np.zeros(0, int), None)
    clusters = cluster_points(points[runs], tolerance)
    return Minima(*_number_by_cost(ends, runs, clusters.labels), clusters)


def _cluster_manifolds(problem, ends, canonical, key):
    """Return the connected manifolds of classified minima."""
    runs = np.flatnonzero(ends.kind == EndPointKind.MANIFOLD_OF_MINIMA)
    if not len(runs):
        return Manifolds(np.full(len(ends.kind), -1), np.zeros(0, int))
    points = jax.tree.map(lambda leaf: np.asarray(leaf)[runs], canonical)
    labels = cluster_manifolds(
        problem, points, ends.cost[runs], sharpness=ends.largest[runs], key=key
    )
    return Manifolds(*_number_by_cost(ends, runs, labels))


def _number_by_cost(ends, runs, labels):
    """Number clusters by ascending cost; return numbers and representative runs."""
    by_gradient = runs[np.lexsort((runs, ends.gradient_norm[runs]))]
    label_of = dict(zip(runs.tolist(), labels.tolist(), strict=True))
    first = {label_of[run]: run for run in reversed(by_gradient.tolist())}
    # The order of costs that differ only by rounding is arbitrary, so the first run decides.
    scale = 1e-9 * max(1.0, float(np.abs(ends.cost[runs]).max()))
    order = sorted(first, key=lambda c: (round(ends.cost[first[c]] / scale), first[c]))
    number = {c: i for i, c in enumerate(order)}
    numbers = np.full(len(ends.kind), -1)
    numbers[runs] = [number[c] for c in labels.tolist()]
    return numbers, np.array([first[c] for c in order])


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
    return Minima(*_number_by_cost(ends, runs, labels), minima.clusters)


def _barriers_between(problem, params, minima, key):
    """Return barriers between the lowest minima; None with fewer than two."""
    if len(minima.first) < 2:
        return None
    lowest = jax.tree.map(lambda leaf: leaf[minima.first[:MAX_COMPARED]], params)
    return pairwise_barriers(problem, lowest, key=key)


def _metrics(problem, params, count):
    """Return the metrics at each minimum that are functions of the parameters."""
    metrics = {}
    for name, metric in problem.metrics.items():
        if metric.is_of_a_point:
            evaluate = jax.jit(lambda one, data, f=metric.function: f(one, data))
            data = jax.tree.map(jnp.asarray, metric.data)
            each = [evaluate(jax.tree.map(lambda a, i=i: a[i], params), data) for i in range(count)]
            metrics[name] = (np.array(each, float), metric.long_name, metric.units)
    return metrics


def _outputs(problem, params, count):
    """Return the outputs of each minimum, scaled to make distances RMS differences."""
    if problem.predict is None or problem.data is None or not count:
        return None
    test = problem.metrics.get("test_accuracy")
    inputs = jax.tree.leaves(problem.data if test is None else test.data)[0][:OUTPUT_SAMPLES]
    predict = jax.jit(problem.predict)
    rows = [
        np.ravel(predict(jax.tree.map(lambda a, i=i: a[i], params), jnp.asarray(inputs)))
        for i in range(count)
    ]
    return np.stack(rows) / np.sqrt(rows[0].size)
