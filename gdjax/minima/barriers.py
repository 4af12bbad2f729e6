"""Barriers and distances between pairs of runs, before and after matching.

    barrier_ij = barrier of the straight line from the parameters of run i to those of run j

In a network, the first layer's pre-activations are linear along a straight line: z(t) = (1 - t) z_a
+ t z_b for every image. If the cost is the mean loss of the outputs, they are computed once for
each network, since a symmetry only changes their order, signs and scales. The first layer, which
accounts for 97 % of the arithmetic of the digit network, is then not evaluated again along the
paths.

The highest of evenly spaced points is not the maximum. Further points are therefore added where the
parabola through three neighboring points is highest. How far it rises above the highest point is
the stated error.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree
from scipy.spatial.distance import pdist, squareform

from gdjax.base import progress
from gdjax.base.arguments import check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Whole
from gdjax.base.reprs import fields
from gdjax.landscape.slices import over_rows
from gdjax.minima.finished_runs import ends_of
from gdjax.minima.matching import NUM_STARTS, match_pairs
from gdjax.minima.paths import POINTS, cost_at, linear_path
from gdjax.minima.symmetry import FLIPS, SCALES, apply_symmetry, check_layers, identity_symmetry
from gdjax.problems.evaluation import deterministic_cost, evaluation_part
from gdjax.problems.facts import check_runs, problem_of_runs
from gdjax.problems.microbatches import microbatch_size
from gdjax.problems.networks import ACTIVATIONS, Layer, Network
from gdjax.problems.problem import Problem, require_problem
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import AxisValue

SLAB_BYTES = {"cpu": 2**20}  # maximum size of a layer's activations, about a core's cache
DEFAULT_SLAB_BYTES = 2**28  # the same maximum on other devices
REFINEMENTS = 4  # number of times that points are added to each path
QUARTERS = np.array([0.25, 0.5, 0.75])  # positions of added points between the outer two of three
CHECK_SAMPLES = 12  # number of samples for comparing a cost with loss(network(inputs), targets)


class PairwiseBarriers(NamedTuple):
    """Barriers and distances between all pairs of some runs.

    Args:
        barrier: barrier of the straight line; 0 on the diagonal.
        matched_barrier: barrier after the first network is matched to the second. This and the
            other matched fields are NaN if the problem has no `network`, so that its symmetries are
            unknown.
        distance: Euclidean distance before matching, between `coordinates` if the problem has a
            network, and between parameters otherwise.
        matched_distance: distance after matching, at most `distance`.
        first: index of the run at t = 0, for each pair.
        second: index of the run at t = 1, for each pair.
        t: position in [0, 1] of the points along each path.
        cost: cost along each straight line.
        matched_cost: cost along each straight line after matching.
        barrier_error: estimate of how much higher the barrier is than the highest computed cost,
            from slope and curvature between neighboring points.
        matched_barrier_error: the same after matching.
    """

    barrier: Float[np.ndarray, "runs runs"]
    matched_barrier: Float[np.ndarray, "runs runs"]
    distance: Float[np.ndarray, "runs runs"]
    matched_distance: Float[np.ndarray, "runs runs"]
    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    t: Float[np.ndarray, " points"]
    cost: Float[np.ndarray, "pairs points"]
    matched_cost: Float[np.ndarray, "pairs points"]
    barrier_error: Float[np.ndarray, "runs runs"]
    matched_barrier_error: Float[np.ndarray, "runs runs"]

    __repr__, _repr_html_ = fields

    @property
    def smallest_distance(self) -> Float[np.ndarray, "runs runs"]:
        """Distances after matching, or before it if the symmetries are unknown."""
        return np.fmin(self.distance, self.matched_distance)


def pairwise_barriers(
    problem: Problem | None,
    params: PyTree,
    at: Mapping[str, AxisValue] | None = None,
    *,
    key: Key[Array, ""],
    points: int = POINTS,
    num_starts: int = NUM_STARTS,
) -> PairwiseBarriers:
    """Return the barriers between all pairs of runs, before and after matching.

        barrier = max over t of C(t) - ((1 - t) C(0) + t C(1)),   along the line from t = 0 to 1

    The maximum is refined beyond the evenly spaced points, and its error is stated. To go around a
    barrier, minimize the mean cost of a curved path (`gdjax.minima.curve`).

    All pairs are evaluated by one program of fixed width. On a terminal or in a notebook, a
    progress bar of the completed paths appears after two seconds.

    Args:
        problem: problem whose deterministic cost is evaluated. If it has a network, every pair is
            matched by weights; otherwise its symmetries are unknown, and all matched fields are
            NaN.
        params: parameters of all runs, in arrays whose leading axis indexes the runs. Parameters
            that are not finite give NaN. Or a sweep: its Dataset, or the path or URL of its store,
            whose finished runs are compared at their settings of the cost.
        at: values of some axes of the sweep, by name, to which its runs are restricted.
        key: random key for the starts of matching.
        points: number of evenly spaced points along each path, both end points included, >= 2;
            a barrier that is narrower than their spacing may be missed.
        num_starts: number of random starts of matching (see `match`).

    Returns:
        Matrices over runs, and the costs along each path.

    Examples:
        >>> from gdjax.problems import Problem
        >>> well = Problem(init=lambda key: jnp.zeros(()), cost=lambda x: (x**2 - 1) ** 2)
        >>> result = pairwise_barriers(well, jnp.array([-1.0, 1.0, 1.0]), key=jax.random.key(0))
        >>> result.barrier.tolist()
        [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    check_whole("pairwise_barriers: points", points, 2)
    check_limits("pairwise_barriers: num_starts", num_starts, Whole)
    check_key(key)
    if isinstance(params, StoreLike) or hasattr(params, "data_vars"):
        problem, params = ends_of(problem, params, at or {})
    elif at is not None:
        raise InputError(f"pairwise_barriers: at = {at!r:.80}, expected None for runs without axes")
    require_problem(problem)
    assert isinstance(problem, Problem)
    runs = check_runs(problem, params)
    problem = problem_of_runs(problem, params)
    first, second = np.triu_indices(runs, 1)  # in the order of SciPy's condensed matrices
    network = problem.network
    if network is not None:
        check_layers("pairwise_barriers", network, jax.tree.map(lambda a: a[0], params))
    hidden = () if network is None else network.widths[1:-1]
    identity = jax.vmap(lambda _: tuple(map(identity_symmetry, hidden)))(first)
    rounds = (1 if network is None else 2) * (1 + REFINEMENTS)
    with progress.bar(total=len(first) * rounds, unit="path") as bar:
        costs = partial(_costs, problem, params, first, second, bar=bar)
        cost, barrier, error = _refined(partial(costs, identity), len(first), points)
        if network is None:
            leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(params)]
            flat = np.concatenate([leaf.reshape(runs, -1) for leaf in leaves], axis=1)
            distance = pdist(flat)
            matched_cost, *matched = np.full_like(cost, np.nan), *np.full((3, len(first)), np.nan)
        else:
            matches = match_pairs(network, params, first, second, key=key, num_starts=num_starts)
            distance = matches.distance
            matched_cost, *matched = _refined(partial(costs, matches.symmetry), len(first), points)
            matched.append(matches.matched_distance)
    diagonal = 0.0 if network is not None else np.nan
    matched_barrier, matched_error, matched_distance = (squareform(m) + diagonal for m in matched)
    return PairwiseBarriers(
        barrier=squareform(barrier),
        matched_barrier=matched_barrier,
        distance=squareform(distance),
        matched_distance=matched_distance,
        first=first,
        second=second,
        t=np.linspace(0, 1, points),
        cost=cost,
        matched_cost=matched_cost,
        barrier_error=squareform(error),
        matched_barrier_error=matched_error,
    )


def _refined(costs, pairs, points):
    """Return the costs at evenly spaced points, the barriers, and estimates of their errors."""
    t = np.broadcast_to(np.linspace(0, 1, points), (pairs, points))
    cost = even = costs(t)
    for _ in range(REFINEMENTS if points > 2 else 0):
        height, top = _parabolas(t, _rise(t, cost))
        best = np.argmax(height, axis=1)[:, None]
        low, high = (np.take_along_axis(t, best + k, 1) for k in (0, 2))
        added = np.append(low + (high - low) * QUARTERS, np.take_along_axis(top, best, 1), axis=1)
        order = np.argsort(np.append(t, added, axis=1), axis=1, kind="stable")
        t, cost = (
            np.take_along_axis(np.append(a, b, axis=1), order, 1)
            for a, b in ((t, added), (cost, costs(added)))
        )
    rise = _rise(t, cost)
    barrier = np.maximum(rise.max(axis=1), 0)
    higher = _parabolas(t, rise)[0].max(axis=1) if points > 2 else barrier
    error = np.where(np.isnan(barrier), np.nan, np.maximum(higher - barrier, 0))
    return even, barrier, error


def _rise(t, cost):
    """Return the rise of the cost above the line between both ends of each path."""
    return cost - ((1 - t) * cost[:, :1] + t * cost[:, -1:])


def _parabolas(t, rise):
    """Return the maxima of the parabolas through three neighboring points, and their positions."""
    (t0, t1, t2), (r0, r1, r2) = ((a[:, :-2], a[:, 1:-1], a[:, 2:]) for a in (t, rise))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        left, right = (r1 - r0) / (t1 - t0), (r2 - r1) / (t2 - t1)
        curvature = (right - left) / (t2 - t0)
        slope = left + curvature * (t1 - t0)
        step = np.clip(-slope / (2 * curvature), t0 - t1, t2 - t1)
        top = r1 + step * (slope + step * curvature)
    is_top = (curvature < 0) & np.isfinite(top)
    highest = np.fmax(np.fmax(r0, r1), r2)
    height = np.where(is_top, np.fmax(top, highest), highest)
    return np.where(np.isnan(height), -np.inf, height), np.where(is_top, t1 + step, t1)


def _costs(problem, params, first, second, symmetry, t, *, bar):
    """Return the cost at positions t of every pair's path, [pairs, points]."""
    params = jax.tree.map(_padded, params)
    dtype = jnp.result_type(*jax.tree.leaves(params))
    uses_sums, data, samples = _is_loss_of_outputs(problem), problem.data, problem.samples
    length = microbatch_size(samples) if samples else 0
    count = len(first)
    pairs = jax.tree.map(np.asarray, (first, second, symmetry, t.astype(dtype)))
    total = np.zeros(t.shape)
    begins = range(0, samples, length) if uses_sums else [0]
    for begin in begins:
        if not uses_sums:
            evaluate = _PathCost(problem.network)
            shared = (params, evaluation_part(problem))
            share, size = 1.0, sum(leaf[0].nbytes for leaf in jax.tree.leaves(params))
        else:
            inputs, targets = jax.tree.map(lambda a, b=begin: a[b : b + length], data)
            evaluate = _PathCostFromSums(problem.loss, problem.network)
            sums = _first_sums(params[0].weights, jnp.asarray(inputs), problem.network.input_scale)
            shared = (sums, _without_inputs(params), jnp.asarray(targets))
            share = len(inputs) / samples
            size = max(problem.network.widths[1:]) * len(inputs) * dtype.itemsize
        max_bytes = SLAB_BYTES.get(jax.local_devices()[0].platform, DEFAULT_SLAB_BYTES)
        width = int(np.clip(max_bytes // size, 1, 64))
        # Slabs of one width need one program, also for few pairs.
        rows = jax.tree.map(partial(_repeat_last, multiple=width * jax.local_device_count()), pairs)
        costs = over_rows(evaluate, rows, shared, width=width, unit="pair")
        total += share * costs[:count]
        bar.update(count * share)
    return total.astype(dtype)


def _padded(leaf):
    """Repeat the last point up to a power of two, so that few programs are compiled."""
    leaf = np.asarray(leaf)
    return jnp.asarray(_repeat_last(leaf, 1 << (len(leaf) - 1).bit_length()))


def _repeat_last(rows, multiple):
    count = len(rows)
    return rows[np.minimum(np.arange(-(-count // multiple) * multiple), count - 1)]


class _PathCost(NamedTuple):
    """Cost along one path, computed from all parameters, for any problem."""

    network: Network | None

    def __call__(self, pair, shared):
        i, j, symmetry, t = pair
        params, problem = shared
        a, b = (jax.tree.map(lambda w, k=k: w[k], params) for k in (i, j))
        if self.network is not None:
            a = apply_symmetry(self.network, a, symmetry)
        return cost_at(problem, linear_path(a, b), t)


class _PathCostFromSums(NamedTuple):
    """Cost along one path, computed from the pre-activations of the first layer."""

    loss: Callable
    network: Network

    def __call__(self, pair, shared):
        i, j, symmetry, t = pair
        sums, params, targets = shared
        network = self.network
        small = Network((1, *network.widths[1:]), network.activation, network.output_activation)
        rest = Network(network.widths[1:], network.activation, network.output_activation)
        a, b = (jax.tree.map(lambda w, k=k: w[k], params) for k in (i, j))
        a = apply_symmetry(small, a, symmetry)
        order, sign, factor = symmetry[0]
        factor = factor * sign if network.activation in FLIPS or network.activation in SCALES else 1
        z_a = sums[i][order] * jnp.reshape(factor, (-1, 1)) + a[0].bias[:, None]
        z_b = sums[j] + b[0].bias[:, None]

        def cost_of(t):
            layers = jax.tree.map(lambda x, y: x + t * (y - x), a[1:], b[1:])
            z = z_a + t * (z_b - z_a)
            hidden = ACTIVATIONS[network.activation](z)
            return self.loss(rest.apply(layers, hidden.T), targets)

        with jax.default_matmul_precision("highest"):
            return jax.lax.map(cost_of, t)


@jax.jit
def _first_sums(weights, inputs, scale):
    """Return the first layer's weighted sums of inputs, [runs, neurons, samples]."""
    runs, neurons, pixels = weights.shape
    x = inputs.astype(weights.dtype) / scale
    flat = jnp.matmul(weights.reshape(-1, pixels), x.T, precision="highest")
    return flat.reshape(runs, neurons, -1)


def _without_inputs(params):
    """Return the parameters with a single column of zeros as first-layer weights."""
    (weights, bias), *later = params
    return (Layer(jnp.zeros_like(weights[..., :1]), bias), *later)


def _is_loss_of_outputs(problem):
    """Return whether the cost of a few samples is loss(network(inputs), targets).

    If it is not (with weight decay, for example), the cost of the problem is evaluated.
    """
    network, data = problem.network, problem.data
    has_loss = network is not None and problem.loss is not None and len(network.widths) > 2
    has_loss &= problem.weight is None
    if not has_loss or not isinstance(data, tuple) or len(data) != 2 or jnp.ndim(data[0]) != 2:
        return False
    params = network.init(jax.random.key(0))

    @jax.jit
    def costs(params, batch):
        cost = deterministic_cost(problem)(params, batch)
        return cost, problem.loss(network.apply(params, batch[0]), batch[1])

    cost, loss = costs(params, jax.tree.map(lambda a: jnp.asarray(a[:CHECK_SAMPLES]), data))
    return abs(float(loss) - float(cost)) <= 1e-5 * abs(float(cost))
