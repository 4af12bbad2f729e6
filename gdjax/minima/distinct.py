"""Distinct minima and manifolds of minima among classified end points.

end points in canonical form -> clusters -> merged where they are equal after matching
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.base.errors import InputError
from gdjax.curvature.critical_points.classification import Kind
from gdjax.minima.barriers import PairwiseBarriers, pairwise_barriers
from gdjax.minima.clustering import Clusters, cluster_manifolds, cluster_points
from gdjax.minima.end_points import ISOLATED_MINIMA, EndPoints
from gdjax.minima.symmetry import canonicalize, coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem

MAX_COMPARED = 64  # maximum number of minima (lowest first) with pairwise barriers


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


def compared_minima(
    problem: Problem, ends: EndPoints, key: Key[Array, ""], *, tolerance: float, points: int
) -> tuple[Minima, PyTree, PairwiseBarriers | None]:
    """Return the minima, all parameters in canonical form, and barriers between minima."""
    canonical, places = _canonical_points(problem, ends)
    minima = _cluster_minima(ends, places, tolerance)
    pairs = _barriers_between(problem, canonical, minima, key, points)
    if pairs is not None:
        merged = _merge_matched(ends, minima, pairs.smallest_distance, tolerance)
        if len(merged.representatives) < len(minima.representatives):
            minima = merged
            pairs = _barriers_between(problem, canonical, minima, key, points)
    return minima, canonical, pairs


def check_symmetric(problem: Problem, key: Key[Array, ""]) -> None:
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
        params, points = jax.tree.map(np.asarray, _canonical(problem.network, params))
    flat = [np.asarray(leaf).reshape(len(finite), -1) for leaf in jax.tree.leaves(points)]
    return params, np.concatenate(flat, axis=1)


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0))
def _canonical(network, params):
    params = canonicalize(network, params)
    return params, coordinates(network, params)


def _cluster_minima(ends, points, tolerance):
    """Return the clusters of classified isolated minima."""
    runs = np.flatnonzero(np.isin(ends.kind, ISOLATED_MINIMA))
    if not len(runs):
        return _number_by_cost(ends, runs, runs)
    clusters = cluster_points(points[runs], tolerance)
    return _number_by_cost(ends, runs, clusters.labels, clusters)


def connected_minima(
    problem: Problem, ends: EndPoints, canonical: PyTree, key: Key[Array, ""]
) -> Minima:
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


def _barriers_between(problem, params, minima, key, points):
    """Return barriers between the lowest minima; None with fewer than two."""
    if len(minima.representatives) < 2:
        return None
    lowest = jax.tree.map(lambda leaf: leaf[minima.representatives[:MAX_COMPARED]], params)
    return pairwise_barriers(problem, lowest, key=key, points=points)
