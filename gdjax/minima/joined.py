"""Which floors are one: joined by a path along which the cost stays what it is.

    a ~ b   if the straight line from a to b, all its points gone downhill, is a path of equal cost

Ends of runs on a floor are points of it, each another one; counted as minima they would be as many
as there were runs. Two points of one branch of the hyperbola x y = 1 are on one floor, the other
branch is another:

>>> from gdjax.problems.problem import Problem
>>> valley = Problem(init=lambda key: jnp.ones(2), cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2)
>>> points = np.array([[2.0, 0.5], [0.8, 1.25], [-1.0, -1.0]])
>>> floors(valley, points, np.zeros(3), sharpness=np.full(3, 2.0), key=jax.random.key(0)).tolist()
[0, 0, 1]
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from gdjax.critical_points.polish import downhill
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.minima.matching import match_pairs
from gdjax.minima.symmetry import arrange
from gdjax.problems.problem import Problem
from gdjax.slabs import Program, Slab, in_slabs, over_runs

PLACES = 32  # on a path, ends not counted
STEPS = 60  # of going downhill from each
TRIED = 16  # paths between a floor and those nearest to it
WIDTH = 16  # paths at a time
STRETCH = 4  # a step of the path may be so many times as long as one of the straight line
SAG = 0.02  # a chord of length h may rise by SAG * sharpness * h^2
EQUAL = 1e-9  # costs of a floor may differ by so much, of 1 or of the cost


def floors(
    problem: Problem,
    params: PyTree,
    costs: Float[np.ndarray, " points"],
    *,
    sharpness: Float[np.ndarray, " points"],
    key: Key[Array, ""],
) -> Int[np.ndarray, " points"]:
    """The number of the floor that each point is on, floors numbered by their first point.

    That two points are joined is shown by a path; that they are not, only by a path that was not
    found: the number of floors is an upper bound. A point is tried with the first of each floor,
    and floors with those nearest to them, at their nearest points: a floor may be bent so much
    that no straight line can be lowered onto it.

    Args:
        problem: whose deterministic cost it is. With a network, the second point of a path is first
            written down as nearly like the first as its symmetries allow.
        params: points on floors, with a leading axis, polished, in float64.
        costs: there.
        sharpness: the Hessian's largest eigenvalue there.
        key: of matchings.
    """
    label = np.full(len(costs), -1)
    with jax.enable_x64(True):
        joined = partial(_joined, problem, params, costs, sharpness, key)
        for number in range(len(costs)):
            left = np.flatnonzero(label < 0)
            if not len(left):
                break
            first, others = left[0], left[1:]
            label[first] = number
            others = others[_equal(costs[others], costs[first])]
            label[others[joined(np.full(len(others), first), others)]] = number
        a, b = _nearest(params, costs, label)
        paths = joined(a, b)
    count = label.max(initial=-1) + 1
    a, b = label[a[paths]], label[b[paths]]
    links = coo_array((np.ones(len(a)), (a, b)), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(int)[label]


def _equal(costs, cost):
    return np.abs(costs - cost) <= EQUAL * np.maximum(1, np.abs(cost))


def _nearest(params, costs, label):
    """Points between which floors of equal cost come nearest to each other."""
    flat = [np.asarray(leaf).reshape(len(costs), -1) for leaf in jax.tree.leaves(params)]
    apart = squareform(pdist(np.concatenate(flat, axis=1))) if len(costs) > 1 else np.zeros((1, 1))
    apart[(label[:, None] == label) | ~_equal(costs[:, None], costs)] = np.inf
    chosen = []
    for number in range(label.max(initial=-1) + 1):
        members = np.flatnonzero(label == number)
        order = np.argsort(apart[members], axis=None)[:TRIED]
        a, b = np.unravel_index(order, (len(members), len(costs)))
        finite = np.isfinite(apart[members[a], b])
        chosen += zip(members[a[finite]].tolist(), b[finite].tolist(), strict=True)
    pairs = np.unique(np.sort(np.array(chosen, int).reshape(-1, 2), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _joined(problem, params, costs, sharpness, key, first, second):
    """Whether a path joins two points, for many pairs of them."""
    if not len(first):
        return np.zeros(0, bool)
    a, b = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], params) for rows in (first, second))
    if problem.network is not None:
        matches = match_pairs(problem.network, params, second, first, key=key)
        b = _arranged(problem.network, b, matches.arrangement)
    slab = Slab(WIDTH, tuple(jax.local_devices()[:1]))
    high = np.maximum(sharpness[first], sharpness[second])
    runs = (a, jax.tree.map(np.asarray, b), costs[first], high)
    return in_slabs(_program(_Joined(), slab), slab, runs, (slab.share(problem),), unit="path")


@partial(jax.jit, static_argnums=0)
def _arranged(network, params, arrangements):
    return jax.vmap(partial(arrange, network))(params, arrangements)


class _Joined(NamedTuple):
    """Whether two points are joined; a record, so that equal ones share a program."""

    def __call__(self, run, problem):
        a, b, cost, sharpness = run
        start, unravel = ravel_pytree(a)
        end = ravel_pytree(b)[0]
        at = directional_derivatives(problem, unravel)
        t = jnp.linspace(0, 1, PLACES + 2, dtype=start.dtype)[1:-1, None]

        def lowered(w):
            found = downhill(problem, unravel(w), steps=STEPS, tolerance=1e-12)
            return ravel_pytree(found.params)[0], found.cost

        line = (1 - t) * start[None] + t * end[None]
        places, level = jax.vmap(lowered)(line)
        places = jnp.concatenate([start[None], places, end[None]])
        length = jnp.linalg.norm(places[1:] - places[:-1], axis=1)
        middle = jax.vmap(lambda w: at.gradient(w)[0])((places[1:] + places[:-1]) / 2)
        straight = jnp.linalg.norm(end - start) / (PLACES + 1)
        allowed = EQUAL * jnp.maximum(1, jnp.abs(cost))
        return (
            jnp.all(jnp.abs(level - cost) <= allowed)
            & jnp.all(length <= STRETCH * straight)
            & jnp.all(middle - cost <= SAG * sharpness * length**2 + allowed)
        )


@lru_cache(maxsize=8)
def _program(task, slab):
    return Program(over_runs(task, slab, (0, None)))
