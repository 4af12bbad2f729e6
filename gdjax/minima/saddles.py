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

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Int, Key, PyTree
from scipy.sparse.csgraph import connected_components, dijkstra

from gdjax.base.arguments import check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.reprs import fields_with
from gdjax.dynamics.gradient_flow import FlowStatus, solve_ode
from gdjax.minima import bands
from gdjax.minima.eigenvector_following import (
    CriticalPoints,
    Landscape,
    critical_point,
    follow,
    in_rows,
    inertia,
    newton,
    polish_minima,
)
from gdjax.minima.graph_symmetry import (
    Signed,
    SymmetryGroup,
    apply,
    compose,
    identity,
    symmetry_group,
)
from gdjax.problems.problem import Problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import check_params

MAX_PARAMETERS = 200
MAX_SEARCHES = 400  # default maximum number of bands and followed directions
SOFT_DIRECTIONS = 3  # default number of soft directions that are followed from each minimum
PAIRS = 16  # maximum number of bands of one round
ATTEMPTS = 3  # maximum number of bands between two minima
DISTANCE_RTOL = 1e-5  # largest difference of coordinates of equal points, relative to the largest
COST_RTOL = 1e-8  # largest difference of costs of equal points, relative to max(1, |cost|)
LEAVING_RTOL = 1e-4  # distance from a saddle at which its flows start, relative to max(1, |w|)
FLOW_ROUNDS = 14  # maximum number of parts of a flow, each twice as long as the one before
FLOW_RTOL, FLOW_ATOL, FLOW_STEPS = 1e-8, 1e-10, 200_000
NO_LINK = 1e-12  # length of the edge of a saddle in shortest paths


class Origin(IntEnum):
    """How a minimum was found first."""

    GIVEN = 0
    ON_A_BAND = 1
    FROM_A_SADDLE = 2


class SearchFailure(IntEnum):
    """Reasons why a search found no saddle of index 1, or a flow no end.

    - NOT_CONVERGED: the iteration reached no critical point, as where the cost falls for ever.
    - DEGENERATE: an eigenvalue of unknown sign remains; the point is counted and not used.
    - INDEX_0, HIGHER_INDEX: a critical point with no, or with several, negative eigenvalues.
    - FLOW_WITHOUT_END: a flow from a saddle did not reach a critical point.
    - NO_MAXIMUM: a band is nowhere higher than at its ends.
    """

    NOT_CONVERGED = 0
    DEGENERATE = 1
    INDEX_0 = 2
    HIGHER_INDEX = 3
    FLOW_WITHOUT_END = 4
    NO_MAXIMUM = 5


class SearchStatus(IntEnum):
    """Status of a search for saddles.

    - COMPLETED: saddles connect all minima, and all planned searches were made.
    - MAX_SEARCHES_REACHED: saddles connect all minima, and planned searches remain.
    - NOT_CONNECTED: no chain of the saddles found connects some of the minima.
    """

    COMPLETED = 0
    MAX_SEARCHES_REACHED = 1
    NOT_CONNECTED = 2


class SaddleSearch(NamedTuple):
    """Minima, saddles and the flows between them, modulo symmetry.

    Args:
        minima: the minima, lowest cost first; the fields have a leading axis.
        minimum_origin: an `Origin` for each minimum.
        minimum_found: how often bands and flows ended in each minimum.
        minimum_search: number of searches made before each minimum was found; 0 for given ones.
        minimum_of: number of the minimum of each given point.
        saddles: the saddles, lowest cost first. Those of higher index are ends of flows.
        saddle_found: how often each saddle was found.
        saddle_search: number of searches made before each saddle was found.
        ends: minimum at which the flow along + and - the unstable direction ends, or -1. If a flow
            ends in a saddle, it is the minimum at the end of the first flow of that saddle.
        end_saddle: saddle in which each flow ends, or -1.
        end_symmetry: symmetry that maps the minimum to the end, for each saddle and direction.
        failures: number of searches and flows by `SearchFailure`.
        num_searches: number of bands and of followed directions.
        status: a `SearchStatus`.
        group: symmetries of the cost.
        num_excluded: number of symmetries of the network that change the cost.
        landscape: the problem in flat coordinates.
    """

    minima: CriticalPoints
    minimum_origin: Int[np.ndarray, " minima"]
    minimum_found: Int[np.ndarray, " minima"]
    minimum_search: Int[np.ndarray, " minima"]
    minimum_of: Int[np.ndarray, " points"]
    saddles: CriticalPoints
    saddle_found: Int[np.ndarray, " saddles"]
    saddle_search: Int[np.ndarray, " saddles"]
    ends: Int[np.ndarray, "saddles 2"]
    end_saddle: Int[np.ndarray, "saddles 2"]
    end_symmetry: list[list[Signed]]
    failures: dict[SearchFailure, int]
    num_searches: int
    status: SearchStatus
    group: SymmetryGroup
    num_excluded: int
    landscape: Landscape

    __repr__ = fields_with(status=SearchStatus)


def find_saddles(
    problem: Problem | Callable,
    minima: PyTree,
    *,
    key: Key[Array, ""],
    symmetries: Sequence[Callable[[PyTree], PyTree]] | None = None,
    max_searches: int = MAX_SEARCHES,
    soft_directions: int = SOFT_DIRECTIONS,
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
        soft_directions: number of soft directions that are followed from each minimum, both ways.

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
    check_whole("find_saddles: max_searches", max_searches)
    check_whole("find_saddles: soft_directions", soft_directions)
    check_params(minima, "find_saddles: minima: ")
    leaves = jax.tree.leaves(minima)
    counts = {np.shape(leaf)[:1] for leaf in leaves}
    if len(counts) != 1 or counts in ({()}, {(0,)}):
        raise InputError(
            f"find_saddles: minima: shapes {[np.shape(leaf) for leaf in leaves]}, expected a "
            f"common leading axis of at least one minimum; stack several with jax.tree.map"
        )
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
        search = _Search(landscape, group, np.random.default_rng(seed))
        labels = search.add_given(flat)
        num_directions = 2 * min(soft_directions, flat.shape[1])  # both ways
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


@dataclass
class _Point:
    """A minimum or saddle, one of its images, with what is known of it."""

    at: CriticalPoints
    search: int
    origin: Origin = Origin.GIVEN
    found: int = 0
    ends: list = field(default_factory=lambda: [None, None])  # (point, symmetry), both directions


class _Search:
    """Points found so far, and the choice of the next searches."""

    def __init__(self, landscape: Landscape, group: SymmetryGroup, random: np.random.Generator):
        self.landscape, self.group, self.random = landscape, group, random
        self.minima: list[_Point] = []
        self.saddles: list[_Point] = []
        self.failures: Counter[SearchFailure] = Counter()
        self.num_searches = 0
        self.attempts: Counter[tuple[int, int]] = Counter()
        self.distances: dict[tuple[int, int], tuple[float, Signed]] = {}
        self.images: list[list[Signed]] = []  # of each minimum, to which bands remain
        self.directions: list[int] = []  # number of followed directions of each minimum

    def add(self, points: list[_Point], at: CriticalPoints, origin=Origin.GIVEN):
        """Return the number of a point, which is added if it is new, and its symmetry."""
        known = _stacked([point.at for point in points], self.group.n)
        match = match_point(self.group, known, at)
        if match is None:
            points.append(_Point(at, self.num_searches, origin))
            match = len(points) - 1, identity(self.group.n)
            if points is self.minima:
                images = [apply(g, at.point) for g in self.group.generators]
                distance = np.array([np.linalg.norm(image - at.point) for image in images])
                order = np.argsort(distance, kind="stable")
                self.images.append(
                    [self.group.generators[k] for k in order if distance[k] > DISTANCE_RTOL]
                )
                self.directions.append(0)
        points[match[0]].found += 1
        return match

    def add_given(self, flat):
        """Polish and add the given minima; return their numbers."""
        polished = polish_minima(self.landscape, flat)
        bad = ~polished.converged | (polished.index > 0) | (polished.nullity > 0)
        if np.any(bad):
            first = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"minima: {int(np.sum(bad))} of {len(flat)} points are no strict minima after "
                f"polishing (point {first}: {int(polished.index[first])} negative eigenvalues, "
                f"{int(polished.nullity[first])} that are zero within "
                f"{polished.error[first]:.2g}); expected isolated minima: on a manifold of minima, "
                f"add a decay of all parameters to the cost"
            )
        return np.array([self.add(self.minima, polished.row(k))[0] for k in range(len(flat))])

    def run(self, max_searches, num_directions):
        """Search until nothing is planned any more, or the maximum is reached."""
        while (room := max_searches - self.num_searches) > 0:
            starts = self.soft_starts(min(room, num_directions), num_directions)
            pairs = self.next_pairs(min(room - len(starts), PAIRS))
            if not pairs and not starts:
                break
            self.num_searches += len(pairs) + len(starts)
            starts += self.relax(pairs)
            if starts:
                columns = map(np.array, zip(*starts, strict=True))
                self.add_saddles(follow(self.landscape, *columns))

    def soft_starts(self, room, num_directions):
        """Return the next starts along soft directions: point, direction and radius."""
        starts = []
        for number, minimum in enumerate(self.minima):
            w, first = minimum.at.point, self.directions[number]
            last = min(num_directions, first + room - len(starts))
            vectors = np.asarray(_eigenvectors(self.landscape, w)) if first < last else np.eye(0)
            for k in range(first, last):
                direction = (1 - 2 * (k % 2)) * vectors[:, k // 2]
                step = 0.02 * max(1.0, float(np.linalg.norm(w)))
                starts.append((w + step * direction, direction, step))
            self.directions[number] = max(first, last)
        return starts

    def next_pairs(self, room):
        """Return the pairs of points of the next bands, gaps of shortest paths first."""
        pairs = []

        def add(i, j):
            element = self.distance(i, j)[1]
            if self.attempts[i, j]:
                element = self.group.random(self.random)
            end = apply(element, self.minima[j].at.point)
            bulge = 0.02 if self.attempts[i, j] == 0 else 0.4
            self.attempts[i, j] += 1
            pairs.append((self.minima[i].at.point, end, bulge))

        for i, j in self.gaps()[:room]:
            add(i, j)
        for minimum, images in zip(self.minima, self.images, strict=True):
            while images and len(pairs) < room:
                w = minimum.at.point
                pairs.append((w, apply(images.pop(0), w), 0.02))
        open_pairs = [
            (self.attempts[pair], self.distance(*pair)[0], pair)
            for pair in combinations(range(len(self.minima)), 2)
            if self.attempts[pair] < ATTEMPTS
        ]
        for _, _, pair in sorted(open_pairs)[: max(0, room - len(pairs))]:
            add(*pair)
        return pairs

    def distance(self, i, j):
        """Return the distance of two minima after matching, and the symmetry of the second."""
        if (i, j) not in self.distances:
            a, b = self.minima[i].at.point, self.minima[j].at.point
            element = self.group.nearest_image(b, a, self.random)
            self.distances[i, j] = float(np.linalg.norm(apply(element, b) - a)), element
        return self.distances[i, j]

    def links(self):
        """Return the pairs of minima that are ends of one saddle."""
        ends = [[self.resolve(saddle, k) for k in (0, 1)] for saddle in self.saddles]
        return [(a[0], b[0]) for a, b in ends if a is not None and b is not None]

    def gaps(self):
        """Return the pairs without a saddle on shortest paths between components."""
        count, links = len(self.minima), self.links()
        linked = np.zeros((count, count))
        for i, j in links:
            linked[i, j] = linked[j, i] = NO_LINK * (i != j)
        parts, labels = connected_components(linked, directed=False)
        if parts == 1:
            return []
        length = linked.copy()
        for i, j in combinations(range(count), 2):
            if not linked[i, j] and self.attempts[i, j] < ATTEMPTS:
                length[i, j] = self.distance(i, j)[0] ** 2 * 4.0 ** self.attempts[i, j]
        lengths, before = dijkstra(length, directed=False, indices=0, return_predecessors=True)
        gaps = {}
        for part in set(labels.tolist()) - {labels[0]}:
            members = np.flatnonzero(labels == part)
            node = int(members[np.argmin(lengths[members])])
            while before[node] >= 0:
                i, j = sorted((int(before[node]), node))
                if not linked[i, j]:
                    gaps[i, j] = None
                node = int(before[node])
        return list(gaps)

    def relax(self, pairs):
        """Relax bands; add minima on them, and return starts at their highest images."""
        if not pairs:
            return []
        first, second, bulge = map(np.array, zip(*pairs, strict=True))
        size = bulge * np.linalg.norm(second - first, axis=1) / np.sqrt(self.group.n)
        bulges = size[:, None] * self.random.normal(size=first.shape)
        relaxed = bands.relax_bands(self.landscape, first, second, bulges)
        rows, images = np.nonzero(relaxed.minima())
        if len(rows):
            polished = polish_minima(self.landscape, relaxed.images[rows, images + 1])
            for k in np.flatnonzero(_is_minimum(polished)):
                self.add(self.minima, polished.row(k), Origin.ON_A_BAND)
        tops = relaxed.maxima()
        self.failures[SearchFailure.NO_MAXIMUM] += int(np.sum(~tops.any(axis=1)))
        rows, images = np.nonzero(tops)
        at = relaxed.images[rows, images + 1], relaxed.tangents[rows, images]
        return list(zip(*at, relaxed.spacing[rows], strict=True))

    def add_saddles(self, ended):
        """Add new saddles of index 1, and follow the flows from them until none is new."""
        before = len(self.saddles)
        for k in range(len(ended.cost)):
            if (failure := _failure(ended.row(k))) is None:
                self.add(self.saddles, ended.row(k))
            else:
                self.failures[failure] += 1
        while before < len(self.saddles):
            numbers = range(before, len(self.saddles))
            before = len(self.saddles)
            self.descend(numbers)

    def descend(self, numbers):
        """Follow the flows from saddles to their ends."""
        flows = [(number, k) for number in numbers for k in (0, 1)]
        start, spaces, rate = [], [], []
        for number, side in flows:
            saddle = self.saddles[number].at
            v = saddle.direction * (1 - 2 * side)
            # The symmetries of the saddle and of its unstable direction are kept by the flow.
            w = saddle.point + LEAVING_RTOL * max(1.0, np.linalg.norm(saddle.point)) * v
            tolerance = 1e-9 * max(1.0, float(np.max(np.abs(w))))
            space = self.group.stabilizer(w, tolerance).fixed_space()
            start.append(space @ w)
            spaces.append(space)
            rate.append(-saddle.lowest)
        w, rate = np.array(start), np.array(rate)
        duration, active = 15 / rate, np.arange(len(flows))
        for _ in range(FLOW_ROUNDS):
            rows = w[active], duration[active], np.array(spaces)[active]
            ends, reached, arrived = in_rows(_flow, rows, self.landscape, "flow")
            w[active], duration = reached, duration * 2
            for k in np.flatnonzero(arrived):
                number, side = flows[active[k]]
                self.saddles[number].ends[side] = self.end_of(ends.row(k))
            active = active[~arrived & np.isfinite(reached).all(axis=1)]
            if not len(active):
                break
        for number, side in flows:
            if self.saddles[number].ends[side] is None:
                self.failures[SearchFailure.FLOW_WITHOUT_END] += 1

    def end_of(self, at):
        """Add the end of a flow; return whether it is a saddle, its number and symmetry."""
        if at.nullity > 0:
            self.failures[SearchFailure.DEGENERATE] += 1
            return None
        is_saddle = at.index > 0
        points = self.saddles if is_saddle else self.minima
        return bool(is_saddle), *self.add(points, at, Origin.FROM_A_SADDLE)

    def resolve(self, saddle, side):
        """Return the minimum at the end of a flow and its symmetry; None if it is unknown."""
        if saddle.ends[side] is None:
            return None
        is_saddle, number, element = saddle.ends[side]
        if not is_saddle:
            return number, element
        further = self.resolve(self.saddles[number], 0)
        return None if further is None else (further[0], compose(further[1], element))

    def result(self, labels, excluded, num_directions):
        """Return the search with all points ordered by cost."""
        links = np.array(self.links(), int).reshape(-1, 2)
        count = len(self.minima)
        linked = np.zeros((count, count))
        linked[links[:, 0], links[:, 1]] = 1
        open_pairs = any(self.attempts[pair] < ATTEMPTS for pair in combinations(range(count), 2))
        status = SearchStatus.COMPLETED
        followed = all(k >= num_directions for k in self.directions)
        if open_pairs or any(self.images) or not followed:
            status = SearchStatus.MAX_SEARCHES_REACHED
        if connected_components(linked, directed=False)[0] > 1:
            status = SearchStatus.NOT_CONNECTED
        lowest, low = (
            sorted(range(len(points)), key=lambda k, p=points: (p[k].at.cost, k))
            for points in (self.minima, self.saddles)
        )
        rank, saddle_rank = np.argsort(lowest), np.append(np.argsort(low), -1)
        ends, end_saddle, end_symmetry = [], [], []
        for saddle in (self.saddles[k] for k in low):
            resolved = [self.resolve(saddle, k) or (None, identity(self.group.n)) for k in (0, 1)]
            ends.append([-1 if e[0] is None else rank[e[0]] for e in resolved])
            at_saddle = [e[1] if e is not None and e[0] else -1 for e in saddle.ends]
            end_saddle.append([saddle_rank[k] for k in at_saddle])
            end_symmetry.append([e[1] for e in resolved])
        return SaddleSearch(
            minima=_stacked([self.minima[k].at for k in lowest], self.group.n),
            minimum_origin=np.array([self.minima[k].origin for k in lowest], np.int8),
            minimum_found=np.array([self.minima[k].found for k in lowest]),
            minimum_search=np.array([self.minima[k].search for k in lowest]),
            minimum_of=rank[labels],
            saddles=_stacked([self.saddles[k].at for k in low], self.group.n),
            saddle_found=np.array([self.saddles[k].found for k in low], int),
            saddle_search=np.array([self.saddles[k].search for k in low], int),
            ends=np.array(ends, int).reshape(-1, 2),
            end_saddle=np.array(end_saddle, int).reshape(-1, 2),
            end_symmetry=end_symmetry,
            failures={failure: self.failures[failure] for failure in SearchFailure},
            num_searches=self.num_searches,
            status=status,
            group=self.group,
            num_excluded=excluded,
            landscape=self.landscape,
        )


def match_point(
    group: SymmetryGroup, points: CriticalPoints, at: CriticalPoints
) -> tuple[int, Signed] | None:
    """Return the number of an equal point and the symmetry that maps it to this one, or None."""
    tolerance = DISTANCE_RTOL * max(1.0, float(np.max(np.abs(at.point))))
    equal = np.abs(points.cost - at.cost) <= COST_RTOL * max(1.0, abs(float(at.cost)))
    for number in np.flatnonzero(equal):
        element = group.find(points.point[number], at.point, tolerance)
        if element is not None:
            return int(number), element
    return None


def _stacked(points, n):
    """Return points as rows; without any, empty arrays."""
    if points:
        return CriticalPoints(*map(np.stack, zip(*points, strict=True)))
    empty = {name: np.zeros(0) for name in CriticalPoints._fields}
    return CriticalPoints(**empty | {"point": np.zeros((0, n)), "direction": np.zeros((0, n))})


def _is_minimum(points) -> Bool[np.ndarray, " rows"]:
    return points.converged & (points.index == 0) & (points.nullity == 0)


def _failure(at):
    """Return why a point is no saddle of index 1; None if it is one."""
    if not at.converged:
        return SearchFailure.NOT_CONVERGED
    if at.nullity > 0:
        return SearchFailure.DEGENERATE
    if at.index == 1:
        return None
    return SearchFailure.HIGHER_INDEX if at.index else SearchFailure.INDEX_0


@jax.jit
def _eigenvectors(landscape, w):
    """Return the eigenvectors of the Hessian, softest first."""
    return inertia(landscape.derivatives(), w, landscape.live).vectors


def _flow(run, landscape):
    """Follow a gradient flow for a time, and return the critical point that it approaches.

    The flow has arrived if the gradient is linear in the distance within 10 %, and the distance has
    no part along an unstable direction.
    """
    start, duration, space = run

    def velocity(_time, w, args):
        landscape, space = args
        return -space @ landscape.derivatives().gradient(w)[1]

    solution = solve_ode(
        velocity,
        start,
        (landscape, space),
        duration[None],
        rtol=FLOW_RTOL,
        atol=FLOW_ATOL,
        max_steps=FLOW_STEPS,
    )
    at = landscape.derivatives()
    reached = space @ solution.ys[0]
    end = critical_point(at, newton(at, reached)[0], landscape.live)
    here = inertia(at, end.point, landscape.live)
    d = reached - end.point
    g = at.gradient(reached)[1]
    model = here.vectors @ (here.values * (here.vectors.T @ d))
    distance = jnp.linalg.norm(d)
    unstable = jnp.linalg.norm(jnp.where(here.negative, here.vectors.T @ d, 0))
    arrived = (
        end.converged
        & (solution.status == FlowStatus.COMPLETED)
        & (jnp.linalg.norm(g - model) <= 0.1 * jnp.linalg.norm(g))
        & (unstable <= 1e-6 * distance)
        & (distance <= 0.05 * jnp.maximum(1, jnp.linalg.norm(end.point)))
    )
    return end, reached, arrived
