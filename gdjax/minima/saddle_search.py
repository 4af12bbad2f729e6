"""State of a search for saddles: the points found, the choice of the next pairs, and flows.

`gdjax.minima.find_saddles` describes the search.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from scipy.sparse.csgraph import connected_components, dijkstra

from gdjax.base.errors import InputError
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
)
from gdjax.minima.saddle_results import Origin, SaddleSearch, SearchFailure, SearchStatus

PAIRS = 16  # maximum number of bands of one round
ATTEMPTS = 3  # maximum number of bands between two minima
DISTANCE_RTOL = 1e-5  # largest difference of coordinates of equal points, relative to the largest
COST_RTOL = 1e-8  # largest difference of costs of equal points, relative to max(1, |cost|)
LEAVING_RTOL = 1e-4  # distance from a saddle at which its flows start, relative to max(1, |w|)
FLOW_ROUNDS = 14  # maximum number of parts of a flow, each twice as long as the one before
FLOW_RTOL, FLOW_ATOL, FLOW_STEPS = 1e-8, 1e-10, 200_000
NO_LINK = 1e-12  # length of the edge of a saddle in shortest paths


@dataclass
class Point:
    """A minimum or saddle, one of its images, with what is known of it."""

    at: CriticalPoints
    search: int
    origin: Origin = Origin.GIVEN
    found: int = 0
    ends: list = field(default_factory=lambda: [None, None])  # (point, symmetry), both directions


class Search:
    """Points found so far, and the choice of the next searches."""

    def __init__(self, landscape: Landscape, group: SymmetryGroup, random: np.random.Generator):
        self.landscape, self.group, self.random = landscape, group, random
        self.minima: list[Point] = []
        self.saddles: list[Point] = []
        self.failures: Counter[SearchFailure] = Counter()
        self.num_searches = 0
        self.attempts: Counter[tuple[int, int]] = Counter()
        self.distances: dict[tuple[int, int], tuple[float, Signed]] = {}
        self.images: list[list[Signed]] = []  # of each minimum, to which bands remain
        self.directions: list[int] = []  # number of followed directions of each minimum

    def add(self, points: list[Point], at: CriticalPoints, origin=Origin.GIVEN):
        """Return the number of a point, which is added if it is new, and its symmetry."""
        known = _stacked([point.at for point in points], self.group.n)
        match = match_point(self.group, known, at)
        if match is None:
            points.append(Point(at, self.num_searches, origin))
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
