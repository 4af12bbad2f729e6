"""The Dataset of a census: runs, minima, manifolds of minima, and barriers.

The numbers of clusters are also given for other tolerances.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, PyTree

from gdjax.minima.barriers import PairwiseBarriers
from gdjax.minima.clustering import Clusters, classical_mds, cluster_points
from gdjax.minima.counting import BasinShares, basin_shares, estimate_unseen
from gdjax.minima.end_points import RUNS, EndPoints
from gdjax.results import Quantity, as_dataset, quantities
from gdjax.sweeps.dataset import named_leaves

if TYPE_CHECKING:
    import xarray as xr

TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # tolerances for which clusters are counted

SHARES = {
    "count": "number of runs that ended there",
    "share": "share of the runs",
    "share_low": "lower end of the confidence interval of the share",
    "share_high": "upper end of the confidence interval of the share",
    "first": "representative run",
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
        same_outputs="number of the computed function",
    ),
    **quantities(
        "manifold",
        **{f"manifold_{name}": long_name for name, long_name in SHARES.items()},
        manifold_cost="cost",
        manifold_nullity="dimension",
        manifold_sharpness="largest eigenvalue",
        manifold_same_outputs="number of the computed function",
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
        first: representative of each minimum or manifold, the run with the smallest gradient.
        clusters: clusters of all runs that ended at a minimum; None if there are no such runs, and
            for manifolds.
    """

    labels: Int[np.ndarray, " runs"]
    first: Int[np.ndarray, " minima"]
    clusters: Clusters | None = None


def build_dataset(
    ends: EndPoints,
    minima: Minima,
    manifolds: Minima,
    pairs: PairwiseBarriers | None,
    params: PyTree,
    metrics: Mapping[str, tuple],
    outputs: Float[np.ndarray, "points outputs"] | None,
    output_tolerance: float,
) -> "xr.Dataset":
    """Return the Dataset of a census, described in `gdjax.minima.count_minima`.

    Args:
        ends: end points of all runs.
        minima: clusters of isolated minima.
        manifolds: connected manifolds of minima.
        pairs: barriers and distances between the lowest minima; None with fewer than two.
        params: parameters of the representatives of minima.
        metrics: values at the representatives, and the declaration of each metric.
        outputs: outputs of minima, then of manifolds; None if they are unknown.
        output_tolerance: longest step within a cluster of equal outputs.
    """
    runs = {name: variable.values for name, variable in ends.runs.items()}
    on_minima, on_manifolds = minima.first, manifolds.first
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
            "same_outputs": same.labels[: len(on_minima)],
            "manifold_same_outputs": same.labels[len(on_minima) :],
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
    return np.bincount(minima.labels[minima.labels >= 0], minlength=len(minima.first))


def _shares(minima, prefix):
    """Return the number and share of the runs at each minimum or manifold."""
    count = _counts(minima)
    shares = BasinShares(*[np.zeros(0)] * 3, unseen_high=1.0)
    if len(count):
        shares = basin_shares(count, len(minima.labels))
    values = (count, shares.share, shares.low, shares.high, minima.first)
    return {prefix + name: value for name, value in zip(SHARES, values, strict=True)}


def _unseen(minima, prefix):
    if not len(minima.first):
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
    diameters = np.zeros(len(minima.first))
    labels = minima.labels[minima.labels >= 0]
    np.maximum.at(diameters, labels, clusters.diameters[clusters.labels])
    return values | {
        "clusters": clusters.counts_at(TOLERANCES).astype(int),
        "diameter": diameters,
        "gap": gap,
        "stable_from": clusters.stable_from,
        "stable_to": min(clusters.stable_to, gap),
    }
