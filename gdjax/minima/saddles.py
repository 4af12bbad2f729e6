"""Search for saddles of index 1 between minima, and the descents from them.

    pairs of minima -> bands -> highest images ->  eigenvector following -> saddles
    minima -> soft directions                  ->  eigenvector following -> saddles
    saddle -> gradient flow along + and - its unstable direction -> two ends

The next pairs are the gaps in the shortest paths between minima that no chain of saddles connects
yet, with known saddles as edges of length 0 (Dijkstra). Minima that bands and flows meet are added.
All points are compared modulo the symmetries of the cost.

Gradient flows preserve fixed subspaces, so a flow from a symmetric saddle may end in another saddle
of lower cost. That saddle is added, and left along its own unstable direction.

A saddle that was not found is no evidence that there is none.

References: Wales 2003, *Energy Landscapes*, chapter 6; Carr, Trygubenko and Wales 2005, *Finding
pathways between distant local minima*.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key, PyTree

from gdjax.base.arguments import check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Whole
from gdjax.minima.eigenvector_following import (
    Landscape,
)
from gdjax.minima.graph_symmetry import (
    symmetry_group,
)
from gdjax.minima.saddle_results import SaddleSearch
from gdjax.minima.saddle_search import Search
from gdjax.problems.checks import check_points
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

MAX_PARAMETERS = 200
MAX_SEARCHES = 400  # default maximum number of bands and followed directions
SOFT_DIRECTIONS = 3  # number of soft directions that are followed from each minimum


def find_saddles(
    problem: Problem | Callable,
    minima: PyTree,
    *,
    key: Key[Array, ""],
    symmetries: Sequence[Callable[[PyTree], PyTree]] | None = None,
    max_searches: int = MAX_SEARCHES,
) -> SaddleSearch:
    """Find saddles of index 1 near and between minima, and the minima on both sides.

    All computations are in float64. The time of a search grows with the cube of the number of
    parameters.

    Args:
        problem: a Problem or a cost `cost(params)`, whose minima are isolated points.
        minima: parameters near minima, in arrays whose leading axis indexes them. They are
            polished first.
        key: random key for bands and for tests of symmetries.
        symmetries: functions `params -> params` that leave the cost unchanged and permute the
            parameters, with signs. None for permutations and flips of the neurons of the problem's
            network, among which those that change the cost are left out.
        max_searches: maximum number of bands and of followed directions together.

    Returns:
        The minima and saddles, with the ends of the flows from each saddle.

    Raises:
        InputError: if a point is no strict minimum after polishing, as on manifolds of minima.

    Examples:
        >>> well = lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2
        >>> points = np.array([[-1.0, 0.1], [1.1, 0.0]])
        >>> search = find_saddles(well, points, key=jax.random.key(0))
        >>> search.saddles.cost.round(9).tolist(), search.ends.tolist(), search.status.name
        ([1.0], [[1, 0]], 'COMPLETED')
    """
    check_key(key)
    check_limits("find_saddles: max_searches", max_searches, Whole)
    check_points("find_saddles: minima", minima)
    with jax.enable_x64(True):
        minima = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), minima)
        example = jax.tree.map(lambda leaf: leaf[0], minima)
        problem = problem_at(problem, example)
        flat = np.asarray(jax.vmap(lambda one: ravel_pytree(one)[0])(minima))
        check_whole("find_saddles: number of parameters", flat.shape[1], 1, MAX_PARAMETERS)
        key_live, key_group, key_bands = jax.random.split(key, 3)
        landscape = Landscape(problem, example, _live(problem, example, flat, key_live))
        _check_grows(landscape)
        group, excluded = symmetry_group(problem, example, symmetries, key=key_group)
        seed = int(jax.random.randint(key_bands, (), 0, 2**31 - 1))
        search = Search(landscape, group, np.random.default_rng(seed))
        labels = search.add_given(flat)
        num_directions = 2 * min(SOFT_DIRECTIONS, flat.shape[1])  # both ways
        search.run(max_searches, num_directions)
        return search.result(labels, excluded, num_directions)


def _live(problem, example, flat, key):
    """Return 1 for the parameters on which the cost depends near the minima, else 0."""
    at = Landscape(problem, example, np.ones(flat.shape[1])).derivatives()
    offsets = jax.random.normal(key, (8, flat.shape[1]), flat.dtype)
    points = jnp.concatenate([flat[:1] + offsets, offsets])
    gradients = jax.jit(jax.vmap(lambda w: at.gradient(w)[1]))(points)
    return np.any(np.asarray(gradients) != 0, axis=0).astype(float)


def _check_grows(landscape):
    """Check that the cost of a network grows along every parameter, as with decay of all."""
    if landscape.problem.network is None:
        return
    n = len(landscape.live)
    at = landscape.derivatives()
    points = np.concatenate([1e3 * np.eye(n), 2e3 * np.eye(n)])
    near, far = np.split(np.asarray(jax.jit(jax.vmap(lambda w: at.gradient(w)[0]))(points)), 2)
    flat = np.flatnonzero(~(far > near) & (landscape.live > 0))
    if len(flat):
        raise InputError(
            f"problem: the cost of the network does not grow along {len(flat)} of its {n} "
            f"parameters (the first is number {flat[0]} of the flattened ones), so its minima may "
            f"form manifolds instead of points; expected a decay of all weights and biases: add "
            f"decay * sum of squares of all parameters to the cost"
        )
