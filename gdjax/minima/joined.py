"""Which floors are one: joined by a path along which the cost stays what it is.

    a ~ b   if the straight line from a to b, all its points gone downhill, is a path of equal cost

Ends of runs on a floor are points of it, each another one; counted as minima they would be as many
as there were runs. Two points of one branch of the hyperbola x y = 1 are on one floor, the other
branch is another:

>>> from gdjax.problems.problem import Problem
>>> valley = Problem(init=lambda key: jnp.ones(2), cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2)
>>> points = np.array([[2.0, 0.5], [0.8, 1.25], [-1.0, -1.0]])
>>> floors(valley, points, np.zeros(3), sharpness=np.full(3, 2.0)).tolist()
[0, 0, 1]
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int, PyTree

from gdjax.geometry.higher_orders import derivatives
from gdjax.geometry.polishing import downhill
from gdjax.problems.problem import Problem
from gdjax.slabs import Program, Slab, in_slabs, over_runs

PLACES = 32  # on a path, ends not counted
STEPS = 60  # of going downhill from each
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
) -> Int[np.ndarray, " points"]:
    """The number of the floor that each point is on, floors numbered by their first point.

    That two points are joined is shown by a path; that they are not, only by a path that was not
    found: there may be fewer floors than are counted.

    Args:
        problem: whose deterministic cost it is.
        params: points on floors, with a leading axis, polished, in float64.
        costs: there.
        sharpness: the Hessian's largest eigenvalue there.
    """
    label = np.full(len(costs), -1)
    slab = Slab(WIDTH, tuple(jax.local_devices()[:1]))
    with jax.enable_x64(True):
        shared = slab.share(problem)
        for number in range(len(costs)):
            left = np.flatnonzero(label < 0)
            if not len(left):
                break
            first = left[0]
            label[first] = number
            equal = np.abs(costs[left] - costs[first]) <= EQUAL * max(1, abs(costs[first]))
            others = left[equal & (left != first)]
            if not len(others):
                continue
            a, b = (_rows(params, rows) for rows in (np.full(len(others), first), others))
            high = np.maximum(sharpness[others], sharpness[first])
            runs = (a, b, np.full(len(others), costs[first]), high)
            found = in_slabs(_program(_Joined(), slab), slab, runs, (shared,), unit="path")
            label[others[found]] = number
    return label


def _rows(params, rows):
    return jax.tree.map(lambda leaf: leaf[rows], params)


class _Joined(NamedTuple):
    """Whether two points are joined; a record, so that equal ones share a program."""

    def __call__(self, run, problem):
        a, b, cost, sharpness = run
        start, unravel = ravel_pytree(a)
        end = ravel_pytree(b)[0]
        at = derivatives(problem, unravel)
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
