"""The Dataset of a census: runs, minima, manifolds of minima, and barriers.

The numbers of clusters are also given for other tolerances.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, PyTree

from gdjax.flags import flags
from gdjax.minima.barriers import PairwiseBarriers
from gdjax.minima.clustering import Clusters, classical_mds, cluster_counts, cluster_points
from gdjax.minima.counting import BasinShares, basin_shares, estimate_unseen
from gdjax.minima.end_points import EndPointKind, EndPoints
from gdjax.sweeps.dataset import named_leaves

if TYPE_CHECKING:
    import xarray as xr

TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # tolerances for which clusters are counted


class Minima(NamedTuple):
    """Clusters of classified minima, lowest cost first.

    Args:
        labels: number of the minimum of each run, -1 for runs that ended at no minimum.
        first: representative of each minimum, the run with the smallest gradient.
        clusters: clusters of all runs that ended at a minimum; None if there are no such runs.
    """

    labels: Int[np.ndarray, " runs"]
    first: Int[np.ndarray, " minima"]
    clusters: Clusters | None


class Manifolds(NamedTuple):
    """Connected manifolds of classified minima, lowest cost first.

    Args:
        labels: number of the manifold of each run, -1 for runs that ended on no manifold.
        first: representative of each manifold, the run with the smallest gradient.
    """

    labels: Int[np.ndarray, " runs"]
    first: Int[np.ndarray, " manifolds"]


def build_dataset(
    ends: EndPoints,
    minima: Minima,
    manifolds: Manifolds,
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
        metrics: values at the representatives, long name and units of each metric.
        outputs: outputs of minima, then of manifolds; None if they are unknown.
        output_tolerance: longest step within a cluster of equal outputs.
    """
    import xarray as xr

    first, runs = minima.first, len(ends.kind)
    count = np.bincount(minima.labels[minima.labels >= 0], minlength=len(first))
    share = _shares(count, runs)
    same = cluster_points(outputs, output_tolerance) if outputs is not None else None
    on_manifold = manifolds.labels[manifolds.labels >= 0]
    manifold_count = np.bincount(on_manifold, minlength=len(manifolds.first))
    manifold_share = _shares(manifold_count, runs)
    cluster_number = 0 * TOLERANCES
    if minima.clusters is not None:
        cluster_number = cluster_counts(minima.clusters.heights, TOLERANCES)
    data = {
        "kind": (
            "run",
            ends.kind.astype(np.int8),
            {**attributes("kind of critical point"), **flags(EndPointKind)},
        ),
        "minimum_of": (
            "run",
            minima.labels.astype(np.int32),
            attributes("number of its minimum, or -1"),
        ),
        "cost_before": ("run", ends.cost_before, attributes("cost before polishing")),
        "cost": ("run", ends.cost, attributes("cost after polishing")),
        "gradient_norm_before": (
            "run",
            ends.gradient_norm_before,
            attributes("norm of the gradient before polishing"),
        ),
        "gradient_norm": (
            "run",
            ends.gradient_norm,
            attributes("norm of the gradient after polishing"),
        ),
        "moved": ("run", ends.moved, attributes("distance moved by polishing")),
        "slid": (
            "run",
            ends.slid,
            attributes(
                "distance between the points at the gradient tolerance and at the limit of rounding"
            ),
        ),
        "smallest": ("run", ends.smallest, attributes("smallest eigenvalue of the Hessian")),
        "largest": ("run", ends.largest, attributes("largest eigenvalue of the Hessian")),
        "nullity": ("run", ends.nullity, attributes("number of indeterminate eigenvalues")),
        "resolution": (
            "run",
            ends.resolution,
            attributes("absolute value above which no computed eigenvalue is indeterminate"),
        ),
        "kantorovich": (
            "run",
            ends.kantorovich,
            attributes("Kantorovich number; below 1/2, a critical point is nearby"),
        ),
        "flat_length": (
            "run",
            ends.flat_length,
            attributes("distance along which the cost is constant"),
        ),
        "slope": ("run", ends.slope, attributes("slope where the cost has no derivative")),
        "dead": ("run", ends.dead, attributes("number of parameters without effect on the cost")),
        "count": ("minimum", count, attributes("number of runs that ended there")),
        "share": ("minimum", share.share, attributes("share of the runs")),
        "share_low": ("minimum", share.low, attributes("lower end of the interval")),
        "share_high": ("minimum", share.high, attributes("upper end of the interval")),
        "first": ("minimum", first, attributes("representative run")),
        "minimum_cost": ("minimum", ends.cost[first], attributes("cost")),
        "sharpness": ("minimum", ends.largest[first], attributes("largest eigenvalue")),
        "least_curvature": ("minimum", ends.smallest[first], attributes("smallest eigenvalue")),
        "minimum_nullity": (
            "minimum",
            ends.nullity[first],
            attributes("number of zero eigenvalues"),
        ),
        "diameter": ("minimum", _diameters(minima), attributes("largest distance in the cluster")),
        "manifold_of": (
            "run",
            manifolds.labels.astype(np.int32),
            attributes("number of its manifold of minima, or -1"),
        ),
        "manifold_count": (
            "manifold",
            manifold_count,
            attributes("number of runs that ended there"),
        ),
        "manifold_share": ("manifold", manifold_share.share, attributes("share of the runs")),
        "manifold_share_low": (
            "manifold",
            manifold_share.low,
            attributes("lower end of the interval"),
        ),
        "manifold_share_high": (
            "manifold",
            manifold_share.high,
            attributes("upper end of the interval"),
        ),
        "manifold_first": ("manifold", manifolds.first, attributes("representative run")),
        "manifold_cost": ("manifold", ends.cost[manifolds.first], attributes("cost")),
        "manifold_nullity": ("manifold", ends.nullity[manifolds.first], attributes("dimension")),
        "manifold_sharpness": (
            "manifold",
            ends.largest[manifolds.first],
            attributes("largest eigenvalue"),
        ),
        "clusters": ("tolerance", cluster_number.astype(int), attributes("number of minima")),
        **_tolerance_numbers(minima, pairs, same),
    }
    for name, (values, long_name, units) in metrics.items():
        data[name] = ("minimum", values, {"long_name": long_name or name, "units": units})
    if same is not None:
        for dim, name, labels in (
            ("minimum", "same_outputs", same.labels[: len(first)]),
            ("manifold", "manifold_same_outputs", same.labels[len(first) :]),
        ):
            data[name] = (dim, labels, attributes("number of the computed function"))
        data["output_clusters"] = (
            "tolerance",
            cluster_counts(same.heights, TOLERANCES),
            attributes("number of functions"),
        )
    if pairs is not None:
        data |= _pair_variables(pairs)
    for name, leaf in named_leaves("params", params).items():
        inner = tuple(f"{name.removeprefix('params.')}[{i}]" for i in range(leaf.ndim - 1))
        data[name] = (("minimum", *inner), leaf, attributes(f"parameters: {name}"))
    if len(first):
        data |= {f"unseen_{k}": ((), v) for k, v in _unseen(count).items()}
    if len(manifolds.first):
        data |= {f"unseen_manifold_{k}": ((), v) for k, v in _unseen(manifold_count).items()}
    return xr.Dataset(
        data,
        {"tolerance": ("tolerance", TOLERANCES, attributes("distance tolerance of the clusters"))},
    )


def attributes(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable.

    Examples:
        >>> attributes("cost")
        {'long_name': 'cost', 'units': '1'}
    """
    return {"long_name": long_name, "units": "1"}


def _shares(count, runs):
    if not len(count):
        return BasinShares(*[np.zeros(0)] * 3, unseen_high=1.0)
    return basin_shares(count, runs)


def _unseen(count):
    return {k: float(v) for k, v in estimate_unseen(count)._asdict().items()}


def _diameters(minima):
    """Return the diameter of each minimum's cluster, the largest of merged clusters."""
    if minima.clusters is None:
        return np.zeros(0)
    labels = minima.labels[minima.labels >= 0]
    diameters = np.zeros(len(minima.first))
    np.maximum.at(diameters, labels, minima.clusters.diameters[minima.clusters.labels])
    return diameters


def _tolerance_numbers(minima, pairs, same):
    """Return gaps, tolerances that give these clusters, and the number of functions."""
    numbers = {}
    if minima.clusters is not None:
        gap = minima.clusters.gap
        if pairs is not None:
            distance = pairs.smallest_distance
            gap = min(gap, float(np.min(distance + np.diag([np.inf] * len(distance)))))
        numbers = {
            "gap": (gap, "smallest distance between two minima"),
            "stable_from": (minima.clusters.stable_from, "smallest tolerance with these clusters"),
            "stable_to": (
                min(minima.clusters.stable_to, gap),
                "smallest tolerance with fewer clusters",
            ),
        }
    if same is not None:
        numbers["functions"] = (int(same.labels.max()) + 1, "number of different functions")
        numbers["output_gap"] = (same.gap, "smallest difference between two functions")
    return {name: ((), value, attributes(text)) for name, (value, text) in numbers.items()}


def _pair_variables(pairs: PairwiseBarriers) -> dict[str, Any]:
    """Return matrices between minima, and a planar embedding of their distances."""
    position, share = classical_mds(pairs.smallest_distance)
    unknown = "" if pairs.symmetries_known else " (NaN: symmetries unknown without a network)"
    matrices = {
        "barrier": (pairs.barrier, "barrier on the straight line"),
        "matched_barrier": (pairs.matched_barrier, "barrier after matching" + unknown),
        "distance": (pairs.distance, "distance"),
        "matched_distance": (pairs.matched_distance, "distance after matching" + unknown),
    }
    dims = ("compared", "compared_with")
    return {
        **{k: (dims, v, attributes(text)) for k, (v, text) in matrices.items()},
        "position": (("compared", "plane"), position, attributes("embedding of the distances")),
        "position_share": (
            (),
            share,
            attributes("share of the distances represented by the embedding"),
        ),
    }
