"""What lies between every two of many networks: barriers and distances, before and after matching.

    barrier_ij = barrier of the straight line from network i to network j

>>> from gdjax.problems.problem import Problem
>>> well = Problem(init=lambda key: jnp.zeros(()), cost=lambda x: (x**2 - 1) ** 2)
>>> hills = barriers(well, jnp.array([-1.0, 1.0, 1.0]), key=jax.random.key(0))
>>> hills.barrier.tolist()
[[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]

A straight line between two networks is straight in the first layer's sums, too: z(t) = (1 - t) z_a
+ t z_b for every image. These sums are computed once a network, and rearranging a network only
changes their order and sign. So the first layer, which is 97 % of the digit network's arithmetic,
costs nothing along all the paths.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from gdjax import progress
from gdjax.errors import InputError
from gdjax.minima.matching import RESTARTS, match_pairs
from gdjax.minima.paths import POINTS, along, barrier, between
from gdjax.minima.symmetry import FLIPS, SCALES, arrange, checked, identity
from gdjax.problems.chunks import chunk_length
from gdjax.problems.evaluation import evaluation_of, evaluation_part
from gdjax.problems.networks import ACTIVATIONS, Layer, Network
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import check_runs
from gdjax.slabs import Program, Slab, over_runs
from gdjax.summaries import fields

SLAB_BYTES = {"cpu": 2**20}  # one layer's activities of all pairs of a slab: about a core's cache
ELSEWHERE = 2**28
CHECKED = 12  # samples on which a network is told from something else


class Barriers(NamedTuple):
    """What lies between every two of some networks.

    Args:
        barrier: of the straight line; 0 on the diagonal.
        matched_barrier: the same after the first network was matched to the second. NaN, like the
            other matched fields, where the symmetries of the problem are unknown.
        distance: between the two (`coordinates` for networks, else Euclidean).
        matched_distance: the distance after matching.
        first: number of the network at t = 0, for each pair.
        second: the same for t = 1.
        t: of the points along each path.
        cost: along each straight line.
        matched_cost: along each straight line after matching.
        symmetries_known: whether pairs could be matched, that is, whether the problem has a
            `network`. A model of another kind may have symmetries, too, but gdjax does not know
            them.
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
    symmetries_known: bool

    __repr__ = fields

    @property
    def closest_distance(self) -> Float[np.ndarray, "runs runs"]:
        """Distances after matching, or as they are where the symmetries are unknown."""
        return self.matched_distance if self.symmetries_known else self.distance


def barriers(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    points: int = POINTS,
    restarts: int = RESTARTS,
    devices: Sequence[jax.Device] | None = None,
) -> Barriers:
    """Barriers and distances between every two of many sets of parameters.

    All pairs go through one program of fixed width. A progress bar shows the paths done (on a
    terminal, after two seconds).

    Args:
        problem: whose deterministic cost. If it has a network, every pair is matched by weights;
            otherwise its symmetries are unknown, and all that is matched is NaN.
        params: of all runs, with a leading axis. What is not finite gives NaN.
        key: of the matching's random starts.
        data: instead of the problem's own.
        points: evenly spaced along each path, the ends among them, >= 2.
        restarts: random starts of the matching, as for `match`.
        devices: what to compute on; None takes all local devices.

    Returns:
        Matrices over runs, and the costs along each path.

    Raises:
        InputError: parameters that are not those of runs, or of another network; a cost that is
            no real scalar, or carries a state (see `along`); too few points.
    """
    if points < 2:
        raise InputError(f"points = {points}, expected 2 or more: the ends of the path")
    runs = check_runs(problem, params)
    problem = as_problem(problem, data)
    first, second = np.triu_indices(runs, 1)
    local = tuple(jax.local_devices() if devices is None else devices)
    network = problem.network
    if network is not None:
        checked("barriers", network, jax.tree.map(lambda a: a[0], params))
    plain = None if network is None else _unchanged(network, len(first))
    with progress.bar(total=len(first) * (1 if network is None else 2), unit="path") as bar:
        measure = partial(
            _costs, problem, params, first, second, points=points, devices=local, bar=bar
        )
        cost = measure(plain)
        if network is None:
            distance = _distances(params, first, second)
            matched_cost, matched_distance = np.full_like(cost, np.nan), np.full(len(first), np.nan)
        else:
            matches = match_pairs(network, params, first, second, key=key, restarts=restarts)
            distance, matched_distance = matches.plain, matches.distance
            matched_cost = measure(matches.arrangement)
    full = partial(_matrix, runs, first, second)
    full_matched = (
        full if network is not None else partial(_matrix, runs, first, second, diagonal=np.nan)
    )
    return Barriers(
        barrier=full(np.asarray(barrier(cost))),
        matched_barrier=full_matched(np.asarray(barrier(matched_cost))),
        distance=full(distance),
        matched_distance=full_matched(matched_distance),
        first=first,
        second=second,
        t=np.linspace(0, 1, points),
        cost=cost,
        matched_cost=matched_cost,
        symmetries_known=network is not None,
    )


def _costs(problem, params, first, second, arrangement, *, points, devices, bar):
    """The cost along every pair's path, slab by slab: [pairs, points]."""
    params = jax.tree.map(jnp.asarray, params)
    dtype = jnp.result_type(*jax.tree.leaves(params))
    t = jnp.linspace(0, 1, points, dtype=dtype)
    alone, data, samples = _of_outputs_alone(problem), problem.data, problem.samples
    length = chunk_length(samples) if samples else 0
    pairs = jax.tree.map(np.asarray, (first, second, arrangement))
    total = np.zeros((len(first), points))
    begins = range(0, samples, length) if alone else [0]
    for begin in begins:
        if not alone:
            evaluate = _Whole(problem.network)
            shared = (params, evaluation_part(problem))
            share, size = 1.0, sum(leaf[0].nbytes for leaf in jax.tree.leaves(params))
        else:
            inputs, targets = jax.tree.map(lambda a, b=begin: a[b : b + length], data)
            evaluate = _Behind(problem.loss, problem.network)
            sums = _first_sums(params[0].weights, jnp.asarray(inputs), problem.network.input_scale)
            shared = (sums, _without_inputs(params), jnp.asarray(targets))
            share = len(inputs) / samples
            size = max(problem.network.widths[1:]) * len(inputs) * dtype.itemsize
        room = SLAB_BYTES.get(devices[0].platform, ELSEWHERE)
        slab = Slab(int(np.clip(room // size, 1, 64)), devices)
        program = _program(evaluate, jax.tree.structure(shared), slab)
        shared = slab.share((shared, t))
        for start in range(0, len(first), slab.runs):
            costs = np.asarray(program(*slab.filled(pairs, start), *shared))
            count = min(slab.runs, len(first) - start)
            total[start : start + count] += share * costs[:count]
            bar.update(count * share)
    return total.astype(dtype)


@lru_cache(maxsize=16)
def _program(evaluate: Callable, structure: Any, slab: Slab) -> Program:
    # The structure holds a problem's functions: 16 of them are kept, and no more.
    return Program(over_runs(evaluate, slab, (0, 0, 0, None, None)))


class _Whole(NamedTuple):
    """Costs along one path, from all parameters: what works for every problem."""

    network: Network | None

    def __call__(self, i, j, arrangement, shared, t):
        params, problem = shared
        a, b = (jax.tree.map(lambda w, k=k: w[k], params) for k in (i, j))
        if self.network is not None:
            a = arrange(self.network, a, arrangement)
        return along(problem, between(a, b), points=t.shape[0])


class _Behind(NamedTuple):
    """The same from the first layer's sums and the layers behind it."""

    loss: Callable
    network: Network

    def __call__(self, i, j, arrangement, shared, t):
        sums, params, targets = shared
        network = self.network
        small = Network((1, *network.widths[1:]), network.activation, network.output_activation)
        behind = Network(network.widths[1:], network.activation, network.output_activation)
        a, b = (jax.tree.map(lambda w, k=k: w[k], params) for k in (i, j))
        a = arrange(small, a, arrangement)
        order, sign, factor = arrangement[0]
        factor = factor * sign if network.activation in FLIPS or network.activation in SCALES else 1
        z_a = sums[i][order] * jnp.reshape(factor, (-1, 1)) + a[0].bias[:, None]
        z_b = sums[j] + b[0].bias[:, None]

        def at(t):
            layers = jax.tree.map(lambda x, y: x + t * (y - x), a[1:], b[1:])
            z = z_a + t * (z_b - z_a)
            hidden = ACTIVATIONS[network.activation](z)
            return self.loss(behind.apply(layers, hidden.T), targets)

        with jax.default_matmul_precision("highest"):
            return jax.lax.map(at, t)


@jax.jit
def _first_sums(weights, inputs, scale):
    """What flows into the first layer, without biases: [runs, neurons, samples]."""
    runs, neurons, pixels = weights.shape
    x = inputs.astype(weights.dtype) / scale
    flat = jnp.matmul(weights.reshape(-1, pixels), x.T, precision="highest")
    return flat.reshape(runs, neurons, -1)


def _without_inputs(params):
    """Parameters of the same networks with one input, whose weights are 0."""
    (weights, bias), *behind = params
    return (Layer(jnp.zeros_like(weights[..., :1]), bias), *behind)


def _of_outputs_alone(problem):
    """Whether the cost is loss(network(inputs), targets): tried on a few samples.

    Where it is not (weight decay, say), paths are followed with the problem's cost as it is.
    """
    network, data = problem.network, problem.data
    known = network is not None and problem.loss is not None and len(network.widths) > 2
    if not known or not isinstance(data, tuple) or len(data) != 2 or jnp.ndim(data[0]) != 2:
        return False
    one = network.init(jax.random.key(0))

    @jax.jit
    def costs(one, few):
        own = evaluation_of(problem)(one, few)
        return own, problem.loss(network.apply(one, few[0]), few[1])

    own, of_outputs = costs(one, jax.tree.map(lambda a: jnp.asarray(a[:CHECKED]), data))
    return abs(float(of_outputs) - float(own)) <= 1e-5 * abs(float(own))


def _unchanged(network, pairs):
    return tuple(
        jax.tree.map(lambda a: np.broadcast_to(a, (pairs, *a.shape)), identity(width))
        for width in network.widths[1:-1]
    )


def _distances(params, first, second):
    leaves = [np.asarray(leaf, float).reshape(len(leaf), -1) for leaf in jax.tree.leaves(params)]
    flat = np.concatenate(leaves, axis=1)
    return np.array([np.linalg.norm(flat[i] - flat[j]) for i, j in zip(first, second, strict=True)])


def _matrix(runs, first, second, values, diagonal=0.0):
    full = np.full((runs, runs), diagonal, np.asarray(values).dtype)
    full[first, second] = full[second, first] = values
    return full
