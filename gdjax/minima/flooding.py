"""The lowest pass between minima of a cost of one or two parameters.

    pass(a, b) = min over paths from a to b of the largest cost on the path

Water that rises over the landscape meets at the lowest pass, however winding the way to it is. On a
grid that is exact: the paths are those of a minimum spanning tree whose edges weigh as much as the
higher of their ends. The highest grid point of a path is near a saddle, and Newton's method takes
it there. Between the minima of the double well lies the hill at 0:

>>> well = lambda x: (x**2 - 1) ** 2
>>> found = lowest_pass(well, -1.0, 1.0, ((-2.0, 2.0),))
>>> round(float(found.value), 6), bool(abs(found.point) < 1e-6)
(1.0, True)

Nothing is followed downhill and nothing depends on a first guess: there is no lower pass than the
one found but for channels narrower than the grid. With many parameters there is no grid;
`gdjax.minima.curve` finds an upper bound.

Source: Hu 1961, *The maximum capacity route problem*, Operations Research 9, 898.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from gdjax.errors import InputError

RESOLUTION = 301
NEWTON = 50
NEAR = 4  # grid spacings; a saddle further from the highest grid point is another one


class Pass(NamedTuple):
    """The lowest pass between two minima.

    Args:
        value: the cost there.
        point: where it is, x.
        gradient_norm: what is left of the gradient there; large where the highest point of the way
            is no critical point, but on the edge of the domain, for instance.
        path: points of the grid on the way from one minimum to the other, none above the pass by
            more than the grid is coarse.
    """

    value: Float[np.ndarray, ""]
    point: Float[np.ndarray, "*x"]
    gradient_norm: Float[np.ndarray, ""]
    path: Float[np.ndarray, "points *x"]


class Passes(NamedTuple):
    """Lowest passes between every two of some minima; see `Pass`.

    Args:
        value: the cost there; on the diagonal, that of the minimum.
        point: where it is, x.
        gradient_norm: what is left of the gradient there.
    """

    value: Float[np.ndarray, "minima minima"]
    point: Float[np.ndarray, "minima minima *x"]
    gradient_norm: Float[np.ndarray, "minima minima"]


def lowest_pass(
    function: Callable,
    a: Sequence | ArrayLike,
    b: Sequence | ArrayLike,
    domain: Sequence,
    *,
    resolution: int = RESOLUTION,
) -> Pass:
    """The lowest pass between two points, and a way over it.

    Args:
        function: `f(x) -> scalar`, x a scalar in 1-D and a vector of two in 2-D.
        a: where the way begins, usually a minimum.
        b: where it ends.
        domain: `((lo, hi),)` in 1-D, `((lo, hi), (lo, hi))` in 2-D, as `gdjax.problems.find` has
            it. The way stays inside.
        resolution: grid points a side; channels between hills must be wider than their spacing.

    Raises:
        InputError: a domain of other than one or two pairs; points outside.
    """
    land = _Land(function, domain, resolution)
    ends = land.vertices(np.stack([np.asarray(a, float), np.asarray(b, float)]))
    way = land.way(land.before(ends[0]), ends[1])
    value, point, norm = land.polished(np.array([land.highest(way)]))
    return Pass(value[0], land.x(point[0]), norm[0], land.x(land.points[way[::-1]]))


def passes(
    function: Callable,
    minima: Sequence | ArrayLike,
    domain: Sequence,
    *,
    resolution: int = RESOLUTION,
) -> Passes:
    """The lowest pass between every two minima of a function of one or two parameters.

    Args:
        function: `f(x) -> scalar`, x a scalar in 1-D and a vector of two in 2-D.
        minima: where they are, [minima] in 1-D, [minima, 2] in 2-D.
        domain: as for `lowest_pass`.
        resolution: as for `lowest_pass`.

    Raises:
        InputError: a domain of other than one or two pairs; points outside.
    """
    land = _Land(function, domain, resolution)
    minima = np.asarray(minima, float)
    ends = land.vertices(minima)
    count = len(ends)
    highest = np.zeros((count, count), int)
    for i in range(count):
        before = land.before(ends[i])
        for j in range(i):
            highest[i, j] = highest[j, i] = land.highest(land.way(before, ends[j]))
    # Many pairs share a pass: each is polished once.
    off = ~np.eye(count, dtype=bool)
    different, which = np.unique(highest[off], return_inverse=True)
    value, point = np.zeros((count, count)), np.zeros((count, count, land.dimensions))
    norm = np.zeros((count, count))
    if len(different):
        for full, found in zip((value, point, norm), land.polished(different), strict=True):
            full[off] = found[which]
    here = minima.reshape(count, land.dimensions)
    diagonal = np.arange(count)
    value[diagonal, diagonal], norm[diagonal, diagonal] = land.cost_and_slope(here)
    point[diagonal, diagonal] = here
    return Passes(value, land.x(point), norm)


class _Land:
    """A cost on a grid, with the tree of lowest ways over it."""

    def __init__(self, function, domain, resolution):
        box = np.asarray(domain, float)
        if box.ndim != 2 or box.shape[1] != 2 or len(box) > 2 or not (box[:, 0] < box[:, 1]).all():
            raise InputError(
                f"passes: domain = {domain!r:.80}, expected ((lo, hi),) or ((lo, hi), (lo, hi)); "
                f"for more parameters, gdjax.minima.curve finds an upper bound"
            )
        if resolution < 3:
            raise InputError(f"passes: resolution = {resolution}, expected 3 or more")
        self.box, self.dimensions = box, len(box)
        self.spacing = (box[:, 1] - box[:, 0]) / (resolution - 1)
        self.side = resolution
        sides = [np.linspace(lo, hi, resolution) for lo, hi in box]
        self.points = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, len(box))
        self.f = lambda x: function(x[0] if self.dimensions == 1 else x)
        cost = np.asarray(jax.jit(jax.vmap(self.f))(jnp.asarray(self.points)))
        # Ranks, since the sparse graph takes a weight of 0 for no edge; NaN ranks highest.
        self.rank = np.empty(cost.size, int)
        self.rank[np.argsort(cost, kind="stable")] = np.arange(1, cost.size + 1)
        number = np.arange(cost.size).reshape((resolution,) * self.dimensions)
        edges = [(number[:-1], number[1:])]
        if self.dimensions == 2:
            edges += [
                (number[:, :-1], number[:, 1:]),
                (number[:-1, :-1], number[1:, 1:]),
                (number[1:, :-1], number[:-1, 1:]),
            ]
        u, v = (np.concatenate([edge[k].ravel() for edge in edges]) for k in (0, 1))
        weight = np.maximum(self.rank[u], self.rank[v])
        graph = coo_array((weight, (u, v)), shape=(cost.size, cost.size)).tocsr()
        self.tree = minimum_spanning_tree(graph)

    def x(self, points):
        """Points as the function takes them: scalars in 1-D."""
        return points[..., 0] if self.dimensions == 1 else points

    def vertices(self, points):
        """The grid point next to each point."""
        points = points.reshape(len(points), -1)
        inside = points.shape[1] == self.dimensions and np.all(
            (points >= self.box[:, 0]) & (points <= self.box[:, 1])
        )
        if not inside:
            raise InputError(
                f"passes: points {points.tolist()!r:.80} are not all in the domain "
                f"{self.box.tolist()}"
            )
        place = np.rint((points - self.box[:, 0]) / self.spacing).astype(int)
        return np.ravel_multi_index(tuple(place.T), (self.side,) * self.dimensions)

    def before(self, end):
        """For every grid point, the one before it on the lowest way from `end`."""
        return breadth_first_order(self.tree, end, directed=False)[1]

    def way(self, before, at):
        """Grid points from `at` back to the beginning."""
        way = [at]
        while before[way[-1]] >= 0:
            way.append(before[way[-1]])
        return np.array(way)

    def highest(self, way):
        return way[np.argmax(self.rank[way])]

    def cost_and_slope(self, points):
        value, gradient = jax.jit(jax.vmap(jax.value_and_grad(self.f)))(jnp.asarray(points))
        return np.asarray(value), np.linalg.norm(np.asarray(gradient), axis=1)

    def polished(self, vertices):
        """Newton's method for grad f = 0 from grid points; where it leaves them, they stay."""
        start = self.points[vertices]

        @jax.jit
        @jax.vmap
        def saddle(x):
            def step(_, x):
                return x - jnp.linalg.solve(jax.hessian(self.f)(x), jax.grad(self.f)(x))

            x = jax.lax.fori_loop(0, NEWTON, step, x)
            return x, jnp.linalg.eigvalsh(jax.hessian(self.f)(x))

        point, eigenvalues = (np.asarray(a) for a in saddle(jnp.asarray(start)))
        one_way_down = np.sum(eigenvalues < 0, axis=1) == 1
        near = np.all(np.abs(point - start) <= NEAR * self.spacing, axis=1)
        point = np.where((one_way_down & near)[:, None], point, start)
        value, slope = self.cost_and_slope(point)
        return value, point, slope
