"""Which ends are the same minimum: groups of points that lie close together.

    a ~ b   if a chain of points leads from a to b with no step longer than the tolerance

(single linkage). Two points of different groups are then always farther apart than the tolerance,
so that no minimum is counted twice. A chain may be long, so each group comes with its width: where
the widest group is narrower than the narrowest gap, every other linkage gives the same groups.

>>> found = groups(np.array([[0.0], [1e-6], [1.0]]), tolerance=1e-3)
>>> found.label.tolist(), found.width.tolist(), round(found.gap, 3)
([0, 0, 1], [1e-06, 0.0], 1.0)

What a tolerance decides is never hidden: `counts` says how many groups any other one would give.

>>> counts(found.heights, [1e-9, 1e-3, 10.0]).tolist()
[3, 2, 1]

Source: Sneath 1957, Journal of General Microbiology 17, 201; scipy.cluster.hierarchy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from gdjax.errors import InputError
from gdjax.summaries import fields


class Groups(NamedTuple):
    """Points in groups.

    Args:
        label: number of each point's group; groups are numbered by their first point.
        width: largest distance between two points of each group.
        gap: smallest distance between points of different groups; inf where there is one group.
        heights: distances at which groups join as the tolerance grows, ascending.
        stable_from: the least tolerance that gives these groups.
        stable_to: the tolerance from which on there are fewer; inf where there is one group.
    """

    label: Int[np.ndarray, " points"]
    width: Float[np.ndarray, " groups"]
    gap: float
    heights: Float[np.ndarray, " joins"]
    stable_from: float
    stable_to: float

    __repr__ = fields


def groups(points: Float[np.ndarray, "points coordinates"], tolerance: float) -> Groups:
    """Put points in groups that are farther apart than a tolerance.

    Args:
        points: one a row, at least one, finite.
        tolerance: largest step within a group, in the units of the points, >= 0.

    Raises:
        InputError: no points, points that are not finite, or a negative tolerance.
    """
    points = np.asarray(points)
    if len(points) == 0 or not np.isfinite(points).all():
        raise InputError(
            f"groups: points of shape {points.shape}, expected at least one, all of them finite"
        )
    if not tolerance >= 0:
        raise InputError(f"groups: tolerance = {tolerance}, expected a distance >= 0")
    if len(points) == 1:
        return Groups(np.zeros(1, int), np.zeros(1), np.inf, np.zeros(0), 0.0, np.inf)
    # Rounding in a difference of large coordinates is all that keeps equal points apart.
    distances = pdist(points)
    tree = hierarchy.linkage(distances, method="single")
    found = hierarchy.fcluster(tree, tolerance, criterion="distance")
    label = _in_order_of_appearance(found)
    apart = squareform(distances)
    same = label[:, None] == label
    heights = tree[:, 2]
    return Groups(
        label=label,
        width=np.array(
            [apart[np.ix_(label == g, label == g)].max() for g in range(label.max() + 1)]
        ),
        gap=float(np.min(apart, where=~same, initial=np.inf)),
        heights=heights,
        stable_from=float(np.max(heights, where=heights <= tolerance, initial=0.0)),
        stable_to=float(np.min(heights, where=heights > tolerance, initial=np.inf)),
    )


def _in_order_of_appearance(labels):
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), int)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def counts(
    heights: Float[np.ndarray, " joins"], tolerances: Sequence | ArrayLike
) -> Int[np.ndarray, " tolerances"]:
    """Number of groups at other tolerances.

    Args:
        heights: as `groups` gives them.
        tolerances: any.
    """
    return len(heights) + 1 - np.searchsorted(heights, np.asarray(tolerances), side="right")


def in_the_plane(
    distances: Float[np.ndarray, "points points"],
) -> tuple[Float[np.ndarray, "points 2"], float]:
    """A map on which distances are as near to the given ones as a plane allows.

        B = -1/2 J D^2 J,   J = I - 1 1^T / n;   the two largest eigenvalues of B and their vectors

    Classical multidimensional scaling. Euclidean distances of points in a plane come out exact.

    Args:
        distances: symmetric, zero on the diagonal; they need not be Euclidean.

    Returns:
        Positions, centred; and the share of the map's two eigenvalues in the sum of all absolute
        ones: 1 where the map is exact, small where it shows little. 1 where all distances are 0.

    Examples:
        >>> position, share = in_the_plane(np.array([[0.0, 2.0], [2.0, 0.0]]))
        >>> float(np.linalg.norm(position[0] - position[1])), share
        (2.0, 1.0)

    Source: Torgerson 1952, Psychometrika 17, 401.
    """
    n = len(distances)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centre @ np.asarray(distances, float) ** 2 @ centre / 2)
    # The sign of an eigenvector is arbitrary: the entry of largest size is made positive.
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(n)] < 0, -1, 1)
    position = np.zeros((n, 2))
    for axis, at in enumerate(range(n - 1, max(n - 3, -1), -1)):
        position[:, axis] = vectors[:, at] * np.sqrt(max(values[at], 0))
    total = np.sum(np.abs(values))
    shown = np.sum(np.maximum(values[-2:], 0))
    return position, float(shown / total) if total > 0 else 1.0
