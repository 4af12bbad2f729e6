"""How large a basin is, seen from its minimum: the volume within a level of the cost.

    V = V_n |det A| E[r(u)^n],   u uniform on the sphere,   V_n = pi^(n/2) / Gamma(n/2 + 1)

r(u) is the distance from w* along A u, in units of |A u|, at which the cost has risen by the level.
The volume is that of the star around w*: the points that a straight line reaches without leaving
the basin. A curved valley holds more than its star, so that the volume of the star is only a lower
bound of it. A random walk within the level tells whether there are such points. A is the
preconditioner. If A u follows the basin's shape, all r are alike and a few directions are enough.
The simplest instance is a ball:

>>> bowl = lambda w: w @ w
>>> found = basin_volume(bowl, jnp.zeros(3), key=jax.random.key(0), level=1.0, directions=16)
>>> bool(abs(found.log_volume - jnp.log(4 / 3 * jnp.pi)) < 1e-4), bool(found.lower_bound)
(True, False)

In n dimensions r^n differs by e^100 between directions, and a mean over some of them lies far below
the mean over all, because rare directions decide it that have not been drawn. Then the number is
called a lower bound. By Markov's inequality a mean of positive numbers is at most 20 times too
large with 95 %.

References: Scherlis and Belrose 2025, *Estimating the probability of sampling a trained neural
network at random*, arXiv 2501.18812; Vehtari et al. 2024, *Pareto smoothed importance sampling*.
"""

import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, ScalarLike

from gdjax.arguments import check_number, check_whole
from gdjax.curvature import student_t
from gdjax.curvature.jacobi_eigh import eigh
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.evaluation import evaluate
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import ravel_params
from gdjax.summaries import fields
from gdjax.volumes.whitening import Whitening

DIRECTIONS = 1000
TOGETHER = 64  # directions whose costs are computed together
GROWTH = math.sqrt(2)  # of the distance while looking for the rim
TURNS = 64  # of growing, and of shrinking before that: beyond, a basin counts as open
FEW = 30  # effective directions below which a volume is a lower bound
ROUND = 0.999  # share of directions that tell: above it only rounding is left, which has no tail
HEAVY = 0.7  # Pareto index of r^n above which a mean over directions cannot be trusted
DOUBT = math.log(20)  # nats that a mean may be above the truth, with 95 %
# Of Student's distribution, outside the ends of the interval. The upper tail is smaller, since a
# mean without its rare large terms looks surer than it is.
LOW_TAIL, HIGH_TAIL = 0.025, 0.0025
MAX_WHITENED = 500  # parameters up to which the Hessian is decomposed by default
ALIKE = 1e4  # units of rounding within which numbers are the same
WALKERS, WALKS, STRIDES = 16, 16, 4  # random walks within the level; STRIDES steps between checks
TRIES = 30  # points of a line at most, for one step
BEGIN = 0.9  # of the distance to the rim, where walks begin
SEGMENTS = 8  # of a straight line to a point of a walk, at whose ends it is checked


class VolumeStatus(IntEnum):
    """Whether the interval of a volume holds, or why the volume is a lower bound.

    - ESTIMATE: the interval holds.
    - FEW_DIRECTIONS: fewer than 30 effective directions, or a tail above 0.7 where directions
      differ by more than rounding.
    - CURVED: a random walk within the level reached points that no straight line from the minimum
      reaches. The volume is that of the star.
    - OPEN: along a direction the cost never rose by the level.
    """

    ESTIMATE = 0
    FEW_DIRECTIONS = 1
    CURVED = 2
    OPEN = 3


class BasinVolume(NamedTuple):
    """A volume within a level of the cost, in nats, and how much of it to believe.

    Args:
        log_volume: log of the volume, in the units of the parameters; +inf where a direction
            never left.
        low: lower end of a 95 % confidence interval.
        high: upper end; +inf for a lower bound.
        standard_error: of log_volume, from the directions that were drawn.
        effective_directions: so many equal ones would tell as much: (sum r^n)^2 / sum r^(2n).
        tail: Pareto index k of r^n: its moments beyond 1/k are infinite for all that was seen.
        lower_bound: whether it is no more than that.
        status: why, a value of `VolumeStatus`.
        hidden: share of the points of a random walk within the level that no straight line from
            the minimum reaches. 0 does not prove that there are none: the walk is short.
        open_directions: how many never rose by the level.
        radii: distances to the rim in the parameters' units, one for each direction.
    """

    log_volume: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_directions: Float[Array, ""]
    tail: Float[Array, ""]
    lower_bound: Bool[Array, ""]
    status: Int[Array, ""]
    hidden: Float[Array, ""]
    open_directions: Int[Array, ""]
    radii: Float[Array, " directions"]

    __repr__ = fields


def basin_volume(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    level: ScalarLike,
    data: PyTree = None,
    preconditioner: Whitening | None = None,
    directions: int = DIRECTIONS,
) -> BasinVolume:
    """Return the volume around a minimum in which the cost is at most C(w*) + level.

        log V = log V_n + log |det A| + log mean r^n

    It can be jitted and mapped over minima by `jax.vmap`.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the minimum w*.
        key: for the directions.
        level: by how much the cost may rise, above 0.
        data: instead of the problem's own.
        preconditioner: coordinates in which the basin is round, see `whitened`. The volume does not
            depend on them, the accuracy of its estimate does. None takes the Hessian's eigenvectors
            and the basin's own extent along each of them up to 500 parameters, and the parameters'
            own coordinates above.
        directions: at least 100, if the tail is to be judged; at least 2.

    Raises:
        InputError: a level that is not above 0, or fewer than 2 directions.
    """
    basin = basin_of("basin_volume", problem, params, level, data, preconditioner)
    check_whole("basin_volume: directions", directions, 2)

    def direction(key):
        u = jax.random.normal(key, basin.center.shape, basin.center.dtype)
        return u / jnp.linalg.norm(u)

    def reach(key):
        return basin.reach(direction(key))

    keys = jax.random.split(key, directions)
    reached, radii = jax.lax.map(reach, keys, batch_size=TOGETHER)
    found = log_mean(basin.center.size * jnp.log(reached))
    far = farthest(radii)
    key_walk = jax.random.fold_in(key, directions)
    return basin.volume(found, radii, jax.vmap(direction)(keys[far]), reached[far], key_walk)


class Basin(NamedTuple):
    """What lies within a level of the cost around a minimum, and coordinates to measure it in.

    Args:
        center: the minimum w*, as a vector.
        inside: `w -> C(w) <= C(w*) + level`.
        scale: the preconditioner A.
    """

    center: Float[Array, " n"]
    inside: Callable
    scale: Whitening

    def reach(self, u: Float[Array, " n"]):
        """Return the distance to the rim along A u, in units of |A u| and in the parameters'."""
        along = self.scale.apply(u)
        dtype = self.center.dtype
        r = _radius(lambda r: self.inside(self.center + r * along), dtype)
        return r, r * jnp.linalg.norm(along)

    def volume(self, found: BasinVolume, radii, u, reached, key: Key[Array, ""]) -> BasinVolume:
        """Return the volume from an estimate of the log of the mean of r^n.

        Args:
            found: that estimate.
            radii: distances to the rim.
            u: directions in which random walks begin.
            reached: distances to the rim along these, in units of |A u|.
            key: for the walks.
        """
        half = self.center.size / 2
        ball = half * math.log(math.pi) - jax.lax.lgamma(jnp.asarray(half + 1.0))
        shift = (ball + self.scale.log_determinant).astype(self.center.dtype)
        hidden = self._hidden(u, jnp.where(jnp.isfinite(reached), reached, 1), key)
        curved = (found.status == VolumeStatus.ESTIMATE) & (hidden > 0)
        return found._replace(
            log_volume=found.log_volume + shift,
            low=found.low + shift,
            high=jnp.where(curved, jnp.inf, found.high + shift),
            lower_bound=found.lower_bound | curved,
            status=jnp.where(curved, VolumeStatus.CURVED, found.status),
            hidden=hidden,
            radii=radii,
        )

    def _hidden(self, u, reached, key):
        """Return the share of points of random walks that no straight line from w* reaches."""
        shares = jnp.arange(1, SEGMENTS, dtype=self.center.dtype) / SEGMENTS
        n, dtype = self.center.size, self.center.dtype

        def step(w, key, size):
            """Draw a point of a line through w, uniform within the level (Neal's slice sampler)."""
            key_line, key_axis, key_low, key = jax.random.split(key, 4)
            line = jax.random.normal(key_line, (n,), dtype)
            # Along every other line one coordinate changes: a valley may follow it.
            axis = jax.random.randint(key_axis, (), 0, 2 * n)
            line = jnp.where(axis < n, jnp.arange(n) == axis, line / jnp.linalg.norm(line))
            along = self.scale.apply(line)
            low = -2 * size * jax.random.uniform(key_low, (), dtype)

            def cond_fun(state):
                *_, inside, tries = state
                return ~inside & (tries < TRIES)

            def body_fun(state):
                low, high, _, _, tries = state
                draw = jax.random.uniform(jax.random.fold_in(key, tries), (), dtype)
                t = low + (high - low) * draw
                low, high = jnp.where(t < 0, t, low), jnp.where(t < 0, high, t)
                return low, high, t, self.inside(w + t * along), tries + 1

            first = (low, low + 2 * size, jnp.zeros_like(low), jnp.zeros((), bool), 0)
            _, _, t, inside, _ = jax.lax.while_loop(cond_fun, body_fun, first)
            return jnp.where(inside, w + t * along, w)

        def walk(u, reached, key):
            def strides(w, key):
                keys = jax.random.split(key, STRIDES)
                w, _ = jax.lax.scan(lambda w, key: (step(w, key, reached), None), w, keys)
                points = self.center[None] + shares[:, None] * (w - self.center)[None]
                return w, ~jnp.all(jax.vmap(self.inside)(points))

            begin = self.center + BEGIN * reached * self.scale.apply(u)
            return jax.lax.scan(strides, begin, jax.random.split(key, WALKS))[1]

        return jnp.mean(jax.vmap(walk)(u, reached, jax.random.split(key, len(u))))


def farthest(radii: Float[Array, " directions"]) -> Int[Array, " walkers"]:
    """Return indices of the longest distances, where what a curved valley hides is near."""
    return jax.lax.top_k(jnp.where(jnp.isfinite(radii), radii, 0), min(WALKERS, radii.size))[1]


def basin_of(function: str, problem, params, level, data, preconditioner) -> Basin:
    """Return what lies within a level around a minimum; arguments as those of `volume`.

    Raises:
        InputError: a level that is not above 0, in the name of `function`.
    """
    problem = as_problem(problem, data)
    check_number(f"{function}: level", level, above=0)
    flat, unravel = ravel_params(params)
    lowest = evaluate(problem, params)

    def inside(w):
        return evaluate(problem, unravel(w)) - lowest <= level

    if preconditioner is None:
        small = flat.size <= MAX_WHITENED
        preconditioner = (
            _extent(problem, params, inside) if small else Whitening(jnp.ones_like(flat))
        )
    return Basin(flat, inside, preconditioner)


def _extent(problem, params, inside):
    """Eigenvectors of the Hessian, and the geometric mean of both distances to the rim on each."""
    flat, _ = ravel_params(params)
    matrix = HessianOperator(problem, params).as_matrix()
    finite = jnp.all(jnp.isfinite(matrix))
    _, axes = eigh(jnp.where(finite, matrix, 0))

    def distance(axis):
        return _radius(lambda r: inside(flat + r * axis), flat.dtype)

    def both(axis):
        return jnp.sqrt(distance(axis)) * jnp.sqrt(distance(-axis))

    extent = jax.lax.map(both, axes.T, batch_size=TOGETHER)
    longest = jnp.max(extent, where=jnp.isfinite(extent), initial=0)
    # An open direction, which never leaves the basin, is taken to be as long as the others.
    extent = jnp.where(jnp.isfinite(extent), extent, jnp.where(longest > 0, longest, 1))
    return Whitening(extent, axes)


def log_mean(logs: Float[Array, " n"]) -> BasinVolume:
    """Return the log of a mean of e^logs, with an interval or a lower bound; see `BasinVolume`.

        low, high = value - t_0.025 error, value + t_0.0025 error

    with Student's quantiles t for (sum d^2)^2 / sum d^4 - 1 degrees of freedom, d being the
    deviations of the numbers from their mean.

    Examples:
        Numbers that are all alike are their own mean; of e^(10 z), z normal, most is in what is
        rare:

        >>> found = log_mean(jnp.zeros(100))
        >>> float(found.log_volume), bool(found.lower_bound)
        (0.0, False)
        >>> bool(log_mean(10 * jax.random.normal(jax.random.key(0), (1000,))).lower_bound)
        True
    """
    top = jnp.max(logs)
    open_directions = jnp.sum(jnp.isinf(logs) & (logs > 0))
    weights = jnp.where(open_directions > 0, 1.0, jnp.exp(logs - top))
    total = jnp.sum(weights)
    effective = total**2 / jnp.sum(weights**2)
    tail = pareto_index(weights)
    value = top + jnp.log(total / logs.size)
    error = jnp.sqrt(jnp.maximum(1 / effective - 1 / logs.size, 0))
    freedom = student_t.effective_freedom(weights / (total / logs.size) - 1)
    fall = jnp.minimum(student_t.quantile(LOW_TAIL, freedom) * error, DOUBT)
    rise = student_t.quantile(HIGH_TAIL, freedom) * error
    heavy = (tail > HEAVY) & (effective < ROUND * logs.size)
    below = (effective < min(FEW, 0.9 * logs.size)) | heavy | (open_directions > 0)
    return BasinVolume(
        log_volume=value,
        low=value - jnp.where(below, DOUBT, fall),
        high=jnp.where(below, jnp.inf, value + rise),
        standard_error=error,
        effective_directions=effective,
        tail=tail,
        lower_bound=below,
        status=jnp.where(
            open_directions > 0,
            VolumeStatus.OPEN,
            jnp.where(below, VolumeStatus.FEW_DIRECTIONS, VolumeStatus.ESTIMATE),
        ),
        hidden=jnp.zeros_like(value),
        open_directions=open_directions,
        radii=logs,
    )


def _radius(inside, dtype):
    """How far it is to the rim: shrink until inside, grow until outside, then halve between."""

    def shrink(state):
        r, turn = state
        return r / 4, turn + 1

    start, _ = jax.lax.while_loop(
        lambda state: ~inside(state[0]) & (state[1] < TURNS), shrink, (jnp.ones((), dtype), 0)
    )

    def grow(state):
        r, turn = state
        return r * GROWTH, turn + 1

    def still_inside(state):
        return inside(state[0] * GROWTH) & (state[1] < TURNS)

    low, turns = jax.lax.while_loop(still_inside, grow, (start, 0))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        within = inside(middle)
        return jnp.where(within, middle, low), jnp.where(within, high, middle)

    halvings = jnp.finfo(dtype).nmant - 1
    low, high = jax.lax.fori_loop(0, halvings, halve, (low, low * GROWTH))
    return jnp.where(turns < TURNS, (low + high) / 2, jnp.inf)


def pareto_index(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The index k of a generalised Pareto distribution that fits the largest of some numbers.

        P(x > t) ~ t^(-1/k),   the largest min(n / 5, 3 sqrt(n)) numbers above the next one

    Args:
        values: at least 0, at least 25 of them for a fit.

    Returns:
        k; -inf where too few, or no larger than the others.

    Source: Zhang and Stephens 2009, Technometrics 51, 316, with the prior of Vehtari et al. 2024.
    """
    n = int(min(values.size / 5, 3 * math.sqrt(values.size)))
    if n < 5:
        return jnp.full((), -jnp.inf, values.dtype)
    ordered = jnp.sort(values)
    beyond = ordered[-n:] - ordered[-n - 1]
    alike = beyond[-1] <= ALIKE * jnp.finfo(values.dtype).eps * ordered[-1]
    beyond = jnp.where(alike, jnp.arange(1, n + 1, dtype=values.dtype), beyond)
    grid = 30 + math.isqrt(n)
    j = jnp.arange(1, grid + 1, dtype=values.dtype)
    quarter = jnp.maximum(beyond[int(n / 4 + 0.5) - 1], beyond[-1] * jnp.finfo(values.dtype).tiny)
    b = (1 - jnp.sqrt(grid / (j - 0.5))) / (3 * quarter) + 1 / beyond[-1]
    k = jax.vmap(lambda b: jnp.mean(jnp.log1p(-b * beyond)))(b)
    likelihood = n * (jnp.log(-b / k) - k - 1)
    b = jnp.sum(jax.nn.softmax(likelihood) * b)
    k = jnp.mean(jnp.log1p(-b * beyond))
    return jnp.where(alike, -jnp.inf, (n * k + 5) / (n + 10))
