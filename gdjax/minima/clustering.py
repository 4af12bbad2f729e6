"""Clusters of end points at the same minimum or on the same manifold of minima.

    a ~ b   if a chain of points leads from a to b with no step longer than the tolerance

This is single linkage: two points of different clusters are always farther apart than the
tolerance, so no minimum is counted twice. Since a chain may be long, the diameter of each cluster
is also returned. If the largest diameter is below the smallest gap, every other linkage gives the
same clusters.

End points on a manifold of minima are different points of it, so they are clustered by paths of
equal cost:

    a ~ b   if the straight line from a to b, all its points polished, is a path of equal cost

References:
    Sneath 1957, Journal of General Microbiology 17, 201; scipy.cluster.hierarchy.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree
from scipy.cluster import hierarchy
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import NotNegative
from gdjax.base.reprs import fields
from gdjax.curvature.critical_points.polish import polish
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.landscape.slices import over_rows
from gdjax.minima.matching import match_pairs
from gdjax.minima.symmetry import apply_symmetry
from gdjax.problems.problem import Problem

PATH_POINTS = 32  # number of inner points of a path between two end points
POLISH_STEPS = 60  # maximum number of polishing steps at each point of a path
NEAREST_PATHS = 16  # maximum number of paths between a manifold and its nearest neighbors
PATHS_WIDTH = 16  # number of paths in a slab
MAX_STRETCH = 4  # longest segment of the polished path, relative to those of the straight line
MAX_SAG = 0.02  # maximum rise in the middle of a chord of length h, relative to sharpness * h^2
EQUAL_COST = 1e-9  # largest difference of costs on a manifold, relative to max(1, |cost|)


class Clusters(NamedTuple):
    """Clusters of points.

    Args:
        labels: number of each point's cluster; clusters are numbered in the order of their first
            points.
        diameters: largest distance between two points of each cluster.
        gap: smallest distance between points of different clusters, and smallest tolerance that
            gives fewer clusters; inf for a single cluster.
        heights: distances at which clusters join as the tolerance increases, ascending.
        stable_from: smallest tolerance that gives these clusters.
    """

    labels: Int[np.ndarray, " points"]
    diameters: Float[np.ndarray, " clusters"]
    gap: float
    heights: Float[np.ndarray, " joins"]
    stable_from: float

    __repr__, _repr_html_ = fields

    def counts_at(self, tolerances: Sequence | ArrayLike) -> Int[np.ndarray, " tolerances"]:
        """Return the number of clusters at each of several tolerances."""
        return len(self.heights) + 1 - np.searchsorted(self.heights, tolerances, side="right")


def cluster_points(points: Float[np.ndarray, "points coordinates"], tolerance: float) -> Clusters:
    """Cluster points so that different clusters are farther apart than a tolerance.

    Args:
        points: finite coordinates, one row per point, at least one row.
        tolerance: longest step within a cluster, in the units of the points, >= 0.

    Examples:
        >>> result = cluster_points(np.array([[0.0], [1e-6], [1.0]]), tolerance=1e-3)
        >>> result.labels.tolist(), result.diameters.tolist(), round(result.gap, 3)
        ([0, 0, 1], [1e-06, 0.0], 1.0)
        >>> result.counts_at([1e-9, 1e-3, 10.0]).tolist()
        [3, 2, 1]
    """
    points = np.asarray(points)
    if points.ndim != 2 or len(points) == 0 or not np.isfinite(points).all():
        raise InputError(
            f"cluster_points: points of shape {points.shape}, expected at least one point, one per "
            f"row, all of them finite"
        )
    check_limits("cluster_points: tolerance", tolerance, NotNegative)
    if len(points) == 1:
        return Clusters(np.zeros(1, int), np.zeros(1), np.inf, np.zeros(0), 0.0)
    # pdist subtracts coordinates, so distances are exact except for the rounding of differences.
    distances = pdist(points)
    tree = hierarchy.linkage(distances, method="single")
    labels = _number_by_first(hierarchy.fcluster(tree, tolerance, criterion="distance"))
    matrix = squareform(distances)
    heights = tree[:, 2]
    return Clusters(
        labels=labels,
        diameters=np.array(
            [matrix[np.ix_(labels == c, labels == c)].max() for c in range(labels.max() + 1)]
        ),
        gap=float(np.min(heights, where=heights > tolerance, initial=np.inf)),
        heights=heights,
        stable_from=float(np.max(heights, where=heights <= tolerance, initial=0.0)),
    )


def _number_by_first(labels):
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def classical_mds(
    distances: Float[np.ndarray, "points points"],
) -> tuple[Float[np.ndarray, "points 2"], float]:
    """Embed points in the plane by classical multidimensional scaling.

        B = -1/2 J D^2 J,   J = I - 1 1^T / n;   the two largest eigenvalues of B and their vectors

    Euclidean distances between points in a plane are reproduced exactly.

    Args:
        distances: symmetric matrix with zeros on the diagonal; it need not be Euclidean.

    Returns:
        Centered positions, [points, 2], and the share of the two eigenvalues in the sum of the
        absolute values of all eigenvalues. The share is 1 if the embedding is exact or all
        distances are 0, and small if the embedding represents the distances poorly.

    Examples:
        >>> position, share = classical_mds(np.array([[0.0, 2.0], [2.0, 0.0]]))
        >>> float(np.linalg.norm(position[0] - position[1])), share
        (2.0, 1.0)

    References:
        Torgerson 1952, Psychometrika 17, 401.
    """
    n = len(distances)
    J = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-J @ np.asarray(distances, float) ** 2 @ J / 2)
    # The sign of an eigenvector is arbitrary, so its largest entry is made positive.
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(n)] < 0, -1, 1)
    position = np.zeros((n, 2))
    position[:, :n] = (vectors * np.sqrt(np.maximum(values, 0)))[:, :-3:-1]
    total = np.sum(np.abs(values))
    share = np.sum(np.maximum(values[-2:], 0))
    return position, float(share / total) if total > 0 else 1.0


# -- manifolds of minima


def cluster_manifolds(
    problem: Problem,
    params: PyTree,
    costs: Float[np.ndarray, " points"],
    *,
    sharpness: Float[np.ndarray, " points"],
    key: Key[Array, ""],
) -> Int[np.ndarray, " points"]:
    """Return the number of the manifold of minima on which each point lies.

    Manifolds are numbered in the order of their first points. A path proves that two points are
    connected, but its absence does not prove the opposite, so the largest label plus 1 is an upper
    bound on the number of manifolds. Each point is compared with the first point of each manifold,
    and manifolds are compared with their nearest neighbors at the nearest points, since a strongly
    curved manifold may contain no polished straight line between distant points.

    Args:
        problem: problem whose deterministic cost is evaluated. With a network, the second point of
            a path is first matched to the first.
        params: polished points on manifolds of minima, in float64 arrays whose leading axis indexes
            the points.
        costs: cost at each point.
        sharpness: largest eigenvalue of the Hessian at each point.
        key: random key for matching.

    Examples:
        Points of one branch of the hyperbola x y = 1 are on one manifold, and the other branch is a
        second manifold:

        >>> from gdjax.problems import Problem
        >>> cost = lambda w: (1 - w[0] * w[1]) ** 2 / 2
        >>> valley = Problem(init=lambda key: jnp.ones(2), cost=cost)
        >>> points = np.array([[2.0, 0.5], [0.8, 1.25], [-1.0, -1.0]])
        >>> sharpness, key = np.full(3, 2.0), jax.random.key(0)
        >>> cluster_manifolds(valley, points, np.zeros(3), sharpness=sharpness, key=key).tolist()
        [0, 0, 1]
    """
    labels = np.full(len(costs), -1)
    with jax.enable_x64(True):
        connected = partial(_connected, problem, params, costs, sharpness, key)
        for number in range(len(costs)):
            unlabeled = np.flatnonzero(labels < 0)
            if not len(unlabeled):
                break
            first, candidates = unlabeled[0], unlabeled[1:]
            labels[first] = number
            candidates = candidates[_equal_cost(costs[candidates], costs[first])]
            labels[candidates[connected(np.full(len(candidates), first), candidates)]] = number
        a, b = _nearest_pairs(params, costs, labels)
        paths = connected(a, b)
    count = labels.max(initial=-1) + 1
    a, b = labels[a[paths]], labels[b[paths]]
    links = coo_array((np.ones(len(a)), (a, b)), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(int)[labels]


def _equal_cost(costs, cost):
    return np.abs(costs - cost) <= EQUAL_COST * np.maximum(1, np.abs(cost))


def _nearest_pairs(params, costs, labels):
    """Return the nearest pairs of points of manifolds of equal cost."""
    flat = [np.asarray(leaf).reshape(len(costs), -1) for leaf in jax.tree.leaves(params)]
    distance = squareform(pdist(np.concatenate(flat, axis=1)))
    distance[(labels[:, None] == labels) | ~_equal_cost(costs[:, None], costs)] = np.inf
    pairs = []
    for number in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == number)
        order = np.argsort(distance[members], axis=None)[:NEAREST_PATHS]
        a, b = np.unravel_index(order, (len(members), len(costs)))
        finite = np.isfinite(distance[members[a], b])
        pairs += zip(members[a[finite]].tolist(), b[finite].tolist(), strict=True)
    pairs = np.unique(np.sort(np.array(pairs, int).reshape(-1, 2), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _connected(problem, params, costs, sharpness, key, first, second):
    """Return whether a path of equal cost connects each pair of points, [pairs]."""
    if not len(first):
        return np.zeros(0, bool)
    a, b = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], params) for rows in (first, second))
    if problem.network is not None:
        matches = match_pairs(problem.network, params, second, first, key=key)
        b = jax.vmap(partial(apply_symmetry, problem.network))(b, matches.symmetry)
    larger = np.maximum(sharpness[first], sharpness[second])
    runs = (a, b, costs[first], larger)
    devices = jax.local_devices()[:1]
    return over_rows(_is_connected, runs, problem, width=PATHS_WIDTH, devices=devices, unit="path")


def _is_connected(run, problem):
    """Return whether a path of equal cost connects the two points of a run."""
    a, b, cost, sharpness = run
    start, unravel = ravel_pytree(a)
    end = ravel_pytree(b)[0]
    at = directional_derivatives(problem, unravel)
    t = jnp.linspace(0, 1, PATH_POINTS + 2, dtype=start.dtype)[1:-1, None]

    def polished_vector(w):
        polished = polish(problem, unravel(w), max_steps=POLISH_STEPS, atol=1e-12)
        return ravel_pytree(polished.params)[0], polished.cost

    line = (1 - t) * start[None] + t * end[None]
    points, costs = jax.vmap(polished_vector)(line)
    points = jnp.concatenate([start[None], points, end[None]])
    length = jnp.linalg.norm(points[1:] - points[:-1], axis=1)
    middle = jax.vmap(lambda w: at.gradient(w)[0])((points[1:] + points[:-1]) / 2)
    segment = jnp.linalg.norm(end - start) / (PATH_POINTS + 1)
    allowed = EQUAL_COST * jnp.maximum(1, jnp.abs(cost))
    return (
        jnp.all(jnp.abs(costs - cost) <= allowed)
        & jnp.all(length <= MAX_STRETCH * segment)
        & jnp.all(middle - cost <= MAX_SAG * sharpness * length**2 + allowed)
    )
