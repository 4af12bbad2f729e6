"""Volume of the basin around a minimum, within a level of the cost.

    V = V_n |det A| E[r(u)^n],   u uniform on the sphere,   V_n = pi^(n/2) / Gamma(n/2 + 1)

r(u) is the distance from w* along A u, in units of |A u|, at which the cost has risen by the level.
The volume is that of the star around w*, the set of points that a straight line from w* reaches
without leaving the basin. A curved valley is larger than its star, whose volume is then only a
lower bound. A random walk within the level tests whether the basin extends beyond the star. A is
the whitening. If A u follows the shape of the basin, all r are similar and a few directions are
enough.

In many dimensions, r^n can differ by a factor of e^100 between directions. The mean over a sample
of directions is then far below the expectation, which is dominated by rare directions that were not
drawn, and the result is only a lower bound. By Markov's inequality, the mean of a sample of
positive numbers is at most 20 times the expectation with probability at least 95 %.

References: Scherlis and Belrose 2025, *Estimating the probability of sampling a trained neural
network at random*, arXiv 2501.18812; Vehtari et al. 2024, *Pareto smoothed importance sampling*.
"""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, ScalarLike
from msgspec import Meta

from gdjax.base.arguments import MAX_COUNT, check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.reprs import fields_with
from gdjax.base.status import Status
from gdjax.curvature import student_t
from gdjax.curvature.eigensolvers import eigh
from gdjax.curvature.operators import HessianOperator
from gdjax.landscape.mcmc import MAX_WHITENED, Whitening
from gdjax.problems.checks import ravel_params
from gdjax.problems.evaluation import evaluate
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

DIRECTIONS = 1000
BATCH = 64  # number of directions whose costs are computed together
GROWTH = math.sqrt(2)  # factor of the distance per step of the search for the boundary
MAX_STEPS = 64  # maximum number of steps of this search; basins that are larger count as open
MIN_EFFECTIVE = 30  # number of effective directions below which a volume is a lower bound
EQUAL_SHARE = 0.999  # share of effective directions above which radii differ only by rounding
MAX_INDEX = 0.7  # Pareto index of r^n above which a mean over directions is unreliable
MAX_EXCESS = math.log(20)  # largest excess of a mean over its expectation, in nats, at 95 %
# Tail probabilities of Student's distribution beyond the ends of the interval. The upper one is
# smaller, since the standard error is too small if rare large terms are missing.
LOW_TAIL, HIGH_TAIL = 0.025, 0.0025
EQUAL_ULPS = 1e4  # largest difference of numbers that count as equal, in units of rounding
WALKERS, WALKS, STRIDES = 16, 16, 4  # numbers of walks, checks per walk, steps between checks
MAX_TRIES = 30  # maximum number of points on a line for one step of a walk
START = 0.9  # distance at which a walk starts, as a fraction of that to the boundary
SEGMENTS = 8  # number of segments between checked points, from the minimum to a point of a walk


class VolumeStatus(Status):
    """Whether a volume is an estimate, or the reason why it is a lower bound.

    - ESTIMATE: the volume is an estimate with a valid interval.
    - FEW_DIRECTIONS: there are fewer than 30 effective directions (with up to 33 directions, fewer
      than 90 % of them), or the tail is above 0.7 and directions differ by more than rounding.
    - CURVED: a random walk within the level reached points that no straight line from the minimum
      reaches. The volume is that of the star.
    - OPEN: along some direction, the cost never rose by the level.
    """

    ESTIMATE = 0
    FEW_DIRECTIONS = 1
    CURVED = 2
    OPEN = 3


class BasinVolume(NamedTuple):
    """Logarithm of the volume within a level of the cost, with its uncertainty.

    Args:
        log_volume: logarithm of the volume in the units of the parameters, in nats; +inf if a
            direction is open.
        low: lower end of a 95 % confidence interval.
        high: upper end of this interval; +inf for a lower bound.
        standard_error: standard error of log_volume, estimated from the directions.
        effective_directions: effective number of directions, (sum r^n)^2 / sum r^(2n).
        tail: Pareto index k of r^n; moments of order above 1/k of the fitted tail are infinite.
        lower_bound: whether the volume is only a lower bound.
        status: a value of `VolumeStatus`.
        hidden: share of the points of random walks within the level that no straight line from the
            minimum reaches. A value of 0 does not prove that there are none, since walks are short.
        open_directions: number of directions along which the cost never rose by the level.
        radii: distances to the boundary in the units of the parameters, one for each direction.
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

    __repr__, _repr_html_ = fields_with(status=VolumeStatus)


def basin_volume(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    level: ScalarLike,
    whitening: Whitening | None = None,
    directions: int = DIRECTIONS,
) -> BasinVolume:
    """Return the volume around a minimum in which the cost is at most C(w*) + level.

        log V = log V_n + log |det A| + log mean r^n

    The function can be jitted and mapped over minima by `jax.vmap`.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: the minimum w*.
        key: random key for directions and walks.
        level: largest rise of the cost within the basin, above 0.
        whitening: coordinates in which the basin is round (see `hessian_whitening`). They
            affect only the accuracy of the estimate. None means the eigenvectors of the Hessian and
            the extent of the basin along each of them for up to 500 parameters, and the original
            coordinates for more parameters.
        directions: number of random directions, at least 2; at least 100 for a reliable `tail`.

    Examples:
        The volume of a ball:

        >>> bowl, key = lambda w: w @ w, jax.random.key(0)
        >>> estimate = basin_volume(bowl, jnp.zeros(3), key=key, level=1.0, directions=16)
        >>> bool(abs(estimate.log_volume - jnp.log(4 / 3 * jnp.pi)) < 1e-4)
        True
        >>> bool(estimate.lower_bound)
        False
    """
    check_whole("basin_volume: directions", directions, 2, MAX_COUNT)
    check_key(key)
    flat, unravel = ravel_params(params)
    kind = Annotated[float, Meta(gt=0, le=float(jnp.finfo(flat.dtype).max))]
    check_limits("basin_volume: level", level, kind)
    level = jnp.asarray(level, flat.dtype)
    problem = problem_at(problem, params)
    lowest = evaluate(problem, unravel(flat))

    def inside(w):
        return evaluate(problem, unravel(w)) - lowest <= level

    if whitening is None:
        whitening = Whitening(jnp.ones_like(flat))
        if flat.size <= MAX_WHITENED:
            whitening = _extent(problem, params, flat, inside)
    if not isinstance(whitening, Whitening) or jnp.shape(whitening.scale) != flat.shape:
        raise InputError(
            f"basin_volume: whitening = {whitening!r:.80}, expected that of {flat.size} parameters"
        )
    basin = _Basin(flat, inside, whitening)

    def direction(key):
        u = jax.random.normal(key, flat.shape, flat.dtype)
        return u / jnp.linalg.norm(u)

    keys = jax.random.split(key, directions)
    reached, radii = jax.lax.map(lambda key: basin.reach(direction(key)), keys, batch_size=BATCH)
    estimate = log_mean(flat.size * jnp.log(reached))
    # Points that no straight line reaches are likely near the largest distances.
    _, indices = jax.lax.top_k(jnp.where(jnp.isfinite(radii), radii, 0), min(WALKERS, radii.size))
    half = flat.size / 2
    ball = half * math.log(math.pi) - jax.lax.lgamma(jnp.asarray(half + 1.0))
    shift = (ball + whitening.log_determinant).astype(flat.dtype)
    reached = jnp.where(jnp.isfinite(reached), reached, 1)[indices]
    key_walk = jax.random.fold_in(key, directions)
    hidden = basin.hidden_share(jax.vmap(direction)(keys[indices]), reached, key_walk)
    curved = (estimate.status == VolumeStatus.ESTIMATE) & (hidden > 0)
    return estimate._replace(
        log_volume=estimate.log_volume + shift,
        low=estimate.low + shift,
        high=jnp.where(curved, jnp.inf, estimate.high + shift),
        lower_bound=estimate.lower_bound | curved,
        status=jnp.where(curved, VolumeStatus.CURVED, estimate.status),
        hidden=hidden,
        radii=radii,
    )


class _Basin(NamedTuple):
    """Region within a level of the cost around a minimum, with its coordinates.

    Args:
        center: the minimum w*, as a vector.
        inside: function `w -> C(w) <= C(w*) + level`.
        scale: the whitening A.
    """

    center: Float[Array, " n"]
    inside: Callable
    scale: Whitening

    def reach(self, u):
        """Return the distance to the boundary along A u, in units of |A u| and of params."""
        along = self.scale.apply(u)
        r = _radius(lambda r: self.inside(self.center + r * along), self.center.dtype)
        return r, r * jnp.linalg.norm(along)

    def hidden_share(self, u, reached, key):
        """Return the share of points of walks from A u that no line from w* reaches."""
        shares = jnp.arange(1, SEGMENTS, dtype=self.center.dtype) / SEGMENTS
        n, dtype = self.center.size, self.center.dtype

        def step(w, key, size):
            """Draw a uniform point within the level on a line through w, by slice sampling."""
            key_line, key_axis, key_low, key = jax.random.split(key, 4)
            line = jax.random.normal(key_line, (n,), dtype)
            # Half of the lines are parallel to a coordinate axis, since valleys may be parallel to
            # one.
            axis = jax.random.randint(key_axis, (), 0, 2 * n)
            line = jnp.where(axis < n, jnp.arange(n) == axis, line / jnp.linalg.norm(line))
            along = self.scale.apply(line)
            low = -2 * size * jax.random.uniform(key_low, (), dtype)

            def cond_fun(state):
                *_, inside, tries = state
                return ~inside & (tries < MAX_TRIES)

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

            start = self.center + START * reached * self.scale.apply(u)
            return jax.lax.scan(strides, start, jax.random.split(key, WALKS))[1]

        return jnp.mean(jax.vmap(walk)(u, reached, jax.random.split(key, len(u))))


def _extent(problem, params, flat, inside):
    """Return a whitening by the Hessian's eigenvectors and extents along them.

    The extent is the geometric mean of the distances to the boundary in both directions.
    """
    matrix = HessianOperator(problem, params).as_matrix()
    finite = jnp.all(jnp.isfinite(matrix))
    _, axes = eigh(jnp.where(finite, matrix, 0))

    def distance(axis):
        return _radius(lambda r: inside(flat + r * axis), flat.dtype)

    def mean_distance(axis):
        return jnp.sqrt(distance(axis)) * jnp.sqrt(distance(-axis))

    extent = jax.lax.map(mean_distance, axes.T, batch_size=BATCH)
    longest = jnp.max(extent, where=jnp.isfinite(extent), initial=0)
    # The extent of an open direction, which never leaves the basin, is set to the largest of all.
    extent = jnp.where(jnp.isfinite(extent), extent, jnp.where(longest > 0, longest, 1))
    return Whitening(extent, axes)


def log_mean(logs: Float[Array, " n"]) -> BasinVolume:
    """Return the logarithm of a mean of e^logs, with an interval or a lower bound.

        low, high = value - min(t_0.025 error, log 20), value + t_0.0025 error

    For a lower bound, low is value - log 20, and high is infinite.

    The quantiles t of Student's distribution are those for (sum d^2)^2 / sum d^4 - 1 degrees of
    freedom, where d are the deviations of the numbers from their mean. See `BasinVolume` for the
    fields of the result.

    Examples:
        The mean of equal numbers is exactly that number. The mean of e^(10 z), z normal, is
        dominated by rare large numbers:

        >>> estimate = log_mean(jnp.zeros(100))
        >>> float(estimate.log_volume), bool(estimate.lower_bound)
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
    fall = jnp.minimum(student_t.quantile(LOW_TAIL, freedom) * error, MAX_EXCESS)
    rise = student_t.quantile(HIGH_TAIL, freedom) * error
    heavy = (tail > MAX_INDEX) & (effective < EQUAL_SHARE * logs.size)
    below = (effective < min(MIN_EFFECTIVE, 0.9 * logs.size)) | heavy | (open_directions > 0)
    status = jnp.where(below, VolumeStatus.FEW_DIRECTIONS, VolumeStatus.ESTIMATE)
    return BasinVolume(
        log_volume=value,
        low=value - jnp.where(below, MAX_EXCESS, fall),
        high=jnp.where(below, jnp.inf, value + rise),
        standard_error=error,
        effective_directions=effective,
        tail=tail,
        lower_bound=below,
        status=jnp.where(open_directions > 0, VolumeStatus.OPEN, status),
        hidden=jnp.zeros_like(value),
        open_directions=open_directions,
        radii=logs,
    )


def _radius(inside, dtype):
    """Return the distance to the boundary by geometric search, then bisection."""
    start, _ = jax.lax.while_loop(
        lambda state: ~inside(state[0]) & (state[1] < MAX_STEPS),
        lambda state: (state[0] / 4, state[1] + 1),
        (jnp.ones((), dtype), 0),
    )
    low, turns = jax.lax.while_loop(
        lambda state: inside(state[0] * GROWTH) & (state[1] < MAX_STEPS),
        lambda state: (state[0] * GROWTH, state[1] + 1),
        (start, 0),
    )

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        within = inside(middle)
        return jnp.where(within, middle, low), jnp.where(within, high, middle)

    halvings = jnp.finfo(dtype).nmant - 1
    low, high = jax.lax.fori_loop(0, halvings, halve, (low, low * GROWTH))
    return jnp.where(turns < MAX_STEPS, (low + high) / 2, jnp.inf)


def pareto_index(values: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the index k of a generalized Pareto distribution fitted to a tail.

        P(x > t) ~ t^(-1/k),   the largest min(n / 5, 3 sqrt(n)) numbers above the next one

    Args:
        values: numbers >= 0; a fit requires at least 25.

    Returns:
        The index k; -inf if there are too few numbers or the largest ones are equal to the next.

    Source: Zhang and Stephens 2009, Technometrics 51, 316, with the prior of Vehtari et al. 2024.
    """
    n = int(min(values.size / 5, 3 * math.sqrt(values.size)))
    if n < 5:
        return jnp.full((), -jnp.inf, values.dtype)
    ordered = jnp.sort(values)
    excess = ordered[-n:] - ordered[-n - 1]
    alike = excess[-1] <= EQUAL_ULPS * jnp.finfo(values.dtype).eps * ordered[-1]
    excess = jnp.where(alike, jnp.arange(1, n + 1, dtype=values.dtype), excess)
    grid = 30 + math.isqrt(n)
    j = jnp.arange(1, grid + 1, dtype=values.dtype)
    quarter = jnp.maximum(excess[int(n / 4 + 0.5) - 1], excess[-1] * jnp.finfo(values.dtype).tiny)
    b = (1 - jnp.sqrt(grid / (j - 0.5))) / (3 * quarter) + 1 / excess[-1]
    k = jax.vmap(lambda b: jnp.mean(jnp.log1p(-b * excess)))(b)
    likelihood = n * (jnp.log(-b / k) - k - 1)
    b = jnp.sum(jax.nn.softmax(likelihood) * b)
    k = jnp.mean(jnp.log1p(-b * excess))
    return jnp.where(alike, -jnp.inf, (n * k + 5) / (n + 10))
