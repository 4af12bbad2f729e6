"""What lies between two sets of parameters, along straight and curved paths.

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1))),   0 <= t <= 1

A path is a stack of control points and a shape, which says with what weights they make up a point
of it: two points are a straight line, more are a Bezier curve or a chain of straight pieces.
Between the minima -1 and 1 of the double well:

>>> well = lambda x: (x**2 - 1) ** 2
>>> float(barrier(straight(well, jnp.array(-1.0), jnp.array(1.0))))
1.0

A curve's bends are found by gradient descent on its mean cost: `curve` makes that a Problem.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from gdjax.errors import InputError
from gdjax.problems.chunks import in_chunks
from gdjax.problems.evaluation import evaluation_chunk, evaluation_of, with_data, without_data
from gdjax.problems.problem import Problem, as_problem

POINTS = 25
NODES = 8
Shape = Callable[[int, Any], Array]
TOGETHER = 8  # points of a path looked at together: memory grows with it


def bezier(count: int, t: Float[Array, ""] | float) -> Float[Array, " count"]:
    """Weights of the control points at t, on their Bezier curve; a straight line for two of them.

        weight_k = binomial(n, k) (1 - t)^(n - k) t^k,   k = 0 .. n = count - 1

    The first and the last point are on the curve, the others pull.

    Args:
        count: of control points.
        t: in [0, 1].

    Examples:
        >>> bezier(3, 0.5).tolist()
        [0.25, 0.5, 0.25]
    """
    n, t = count - 1, jnp.asarray(t)
    return jnp.stack([comb(n, k) * (1 - t) ** (n - k) * t**k for k in range(count)])


def chain(count: int, t: Float[Array, ""] | float) -> Float[Array, " count"]:
    """Weights of the control points at t, on the chain of straight pieces from one to the next.

        weight_k = max(0, 1 - |(count - 1) t - k|)

    Every piece takes the same share of t, whatever its length.

    Args:
        count: of control points.
        t: in [0, 1].

    Examples:
        >>> chain(3, 0.25).tolist()
        [0.5, 0.5, 0.0]
    """
    at = (count - 1) * jnp.asarray(t)
    return jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(count, dtype=at.dtype)))


def place(control: PyTree, weights: Float[Array, "*places count"]) -> PyTree:
    """Points of a path: means of its control points.

        w(t) = sum_k weight_k(t) w_k

    As one matrix product for all places: while 5 points on each of 6 curves of a 784-64-64-10
    network are descended, this takes the step from 51 to 9 ms, against a loop over control points.

    Args:
        control: parameters with a leading axis of control points.
        weights: as a shape gives them.

    Returns:
        Parameters with the places as leading axes.
    """
    return jax.tree.map(
        lambda w: jnp.tensordot(weights.astype(w.dtype), w, 1, precision="highest"), control
    )


def straight(
    problem: Problem | Callable[..., PyTree],
    a: PyTree,
    b: PyTree,
    *,
    data: PyTree = None,
    points: int = POINTS,
) -> PyTree:
    """Costs, or anything else that is a mean over samples, along the straight line from a to b.

    Args:
        problem: as for `along`.
        a: parameters at t = 0.
        b: parameters at t = 1.
        data: instead of the problem's own.
        points: evenly spaced in t, the ends among them, >= 2.

    Returns:
        The cost, or what the function returns, with a leading axis of points.

    Raises:
        InputError: ends of different shapes; too few points; a cost that carries a state.

    Examples:
        >>> straight(lambda x: x**2, jnp.array(0.0), jnp.array(2.0), points=3).tolist()
        [0.0, 1.0, 4.0]
    """
    return along(problem, between(a, b), data=data, points=points)


def along(
    problem: Problem | Callable[..., PyTree],
    control: PyTree,
    *,
    data: PyTree = None,
    points: int = POINTS,
    shape: Shape = bezier,
) -> PyTree:
    """Costs, or anything else that is a mean over samples, along any path.

    Args:
        problem: a Problem, whose deterministic cost is taken; or any function
            `function(params, batch) -> pytree` that is a mean over samples, `function(params)`
            without data.
        control: parameters with a leading axis of control points, such as a descent on `curve`
            ends with.
        data: instead of the problem's own.
        points: evenly spaced in t, the ends among them, >= 2.
        shape: `bezier` or `chain`, or any `shape(count, t) -> weights`.

    Returns:
        The cost, or what the function returns, with a leading axis of points.

    Raises:
        InputError: too few points; a cost that carries a state: running statistics of the ends are
            none between them. Give the problem an `evaluation` that takes statistics of its batch,
            anew at each point.
    """
    if points < 2:
        raise InputError(f"points = {points}, expected 2 or more: the ends of the path")
    problem = as_problem(problem, data)
    control, data = jax.tree.map(jnp.asarray, (control, problem.data))
    mean = in_chunks(evaluation_of(problem), evaluation_chunk(problem))
    leaves = jax.tree.leaves(control)
    count, dtype = len(leaves[0]), jnp.result_type(*leaves)

    def at(t):
        with jax.default_matmul_precision("highest"):
            return mean(place(control, shape(count, t)), data)

    return jax.lax.map(at, jnp.linspace(0, 1, points, dtype=dtype), batch_size=TOGETHER)


@jax.jit
def barrier(
    cost: Float[Array, "*paths points"] | Float[np.ndarray, "*paths points"],
) -> Float[Array, "*paths"]:
    """Largest rise of a cost along a path above the straight line between its ends; at least 0.

        max over t of C(t) - ((1 - t) C(0) + t C(1))

    Args:
        cost: at points evenly spaced in t, the ends among them, along the last axis. More points
            can only find a higher barrier.

    Source: Frankle et al. 2020, arXiv 1912.05671, without their division by accuracies.

    Examples:
        >>> float(barrier(jnp.array([1.0, 2.0, 0.0])))
        1.5
    """
    cost = jnp.asarray(cost)
    t = jnp.linspace(0, 1, cost.shape[-1], dtype=cost.dtype)
    t = t.reshape((1,) * (cost.ndim - 1) + t.shape)
    line = (1 - t) * cost[..., :1] + t * cost[..., -1:]
    # The ends lie on the line: rounding there is no barrier.
    return jnp.maximum(jnp.max(cost - line, axis=-1), 0)


def curve(
    problem: Problem,
    a: PyTree,
    b: PyTree,
    *,
    bends: int = 1,
    shape: Shape = bezier,
    nodes: int = NODES,
) -> Problem:
    """A path between two sets of parameters as something to descend: its mean cost.

        minimise sum_k q_k C(w(t_k)),   w(0) = a and w(1) = b held,   bends free

    t_k and q_k are the nodes and weights of Gauss and Legendre's rule on [0, 1], an estimate of the
    mean of C over t. Parameters are the path's control points; their first and last have gradient
    exactly zero, so that every optimiser without weight decay leaves them where they are.

    Args:
        problem: whose deterministic cost; data and mini-batches are as for itself.
        a: parameters at t = 0, or many of them with a leading axis of pairs: then `init` has the
            keyword `pair`, and `gd.sweep(path, gd.axes(pair=range(pairs)), ...)` bends them all.
        b: parameters at t = 1, likewise.
        bends: free control points, >= 1. One makes the quadratic Bezier curve.
        shape: `bezier` or `chain`.
        nodes: points at which the cost is taken, each as expensive as the problem's own cost.

    Returns:
        A Problem that starts with the straight line. `along(problem, params, shape=shape)` says
        what is along the path that was found.

    Raises:
        InputError: ends of different shapes; bends or nodes below 1; a cost that carries a state
            (see `along`).

    Examples:
        Round a hill that stands on the straight line:

        >>> import optax
        >>> from gdjax.descent import descend
        >>> hill = lambda w: jnp.exp(-4 * jnp.sum((w - jnp.array([0.0, 0.1])) ** 2))
        >>> land = Problem(init=lambda key: jnp.zeros(2), cost=hill)
        >>> a, b = jnp.array([-2.0, 0.0]), jnp.array([2.0, 0.0])
        >>> path = curve(land, a, b)
        >>> start = path.init(jax.random.key(0))
        >>> bent = descend(path, optax.adam(0.1), start, 200, key=jax.random.key(1))
        >>> round(float(jnp.max(straight(hill, a, b))), 1)
        1.0
        >>> float(jnp.max(along(hill, bent.params))) < 0.1
        True

    Source: Garipov et al. 2018, *Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs*,
    arXiv 1802.10026, section 3, equation 2.
    """
    for name, value in (("bends", bends), ("nodes", nodes)):
        if value < 1:
            raise InputError(f"curve: {name} = {value}, expected 1 or more")
    _check_ends(a, b)
    single = jax.eval_shape(problem.init, jax.random.key(0))
    many = jnp.ndim(jax.tree.leaves(a)[0]) > len(jax.tree.leaves(single)[0].shape)
    ends = jax.tree.map(jnp.asarray, (a, b))
    if many:

        def init(key, *, pair=0):
            one = jax.tree.map(lambda w: w[jnp.asarray(pair).astype(int)], ends)
            return between(*one, bends=bends)

    else:

        def init(key):
            return between(*ends, bends=bends)

    x, q = np.polynomial.legendre.leggauss(nodes)
    evaluation_of(problem)  # what carries a state is refused here
    return Problem(
        init=init,
        cost=_MeanCost(without_data(problem), shape, tuple((x + 1) / 2), tuple(q / 2)),
        data=problem.data,
        couples_samples=evaluation_chunk(problem) is None,
        baseline=problem.baseline,
    )


@dataclass(frozen=True)
class _MeanCost:
    """Equal for equal fields, so that paths between other ends need no other program.

    Args:
        without_data: the problem as a tree without leaves.
        shape: of the path.
        t: nodes of the quadrature.
        weight: of each node.
    """

    without_data: Any
    shape: Callable
    t: tuple[float, ...]
    weight: tuple[float, ...]

    def __call__(self, control: PyTree, batch: PyTree = None) -> Float[Array, ""]:
        held = jax.tree.map(_hold_ends, control)
        leaves = jax.tree.leaves(control)
        t = jnp.asarray(self.t, jnp.result_type(*leaves))
        weights = jax.vmap(lambda t: self.shape(leaves[0].shape[0], t))(t)
        cost = evaluation_of(with_data(self.without_data, None))
        values = jax.vmap(lambda params: cost(params, batch))(place(held, weights))
        return jnp.sum(values * jnp.asarray(self.weight, values.dtype))


def between(a: PyTree, b: PyTree, *, bends: int = 0) -> PyTree:
    """Control points of the straight line from a to b, the bends evenly spaced on it."""
    _check_ends(a, b)

    def stacked(a, b):
        a, b = jnp.asarray(a), jnp.asarray(b)
        inner = [a + (k / (bends + 1)) * (b - a) for k in range(1, bends + 1)]
        return jnp.stack([a, *inner, b])

    return jax.tree.map(stacked, a, b)


def _hold_ends(control):
    hold = jax.lax.stop_gradient
    return jnp.concatenate([hold(control[:1]), control[1:-1], hold(control[-1:])])


def _check_ends(a, b):
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(end)] for end in (a, b)]
    if jax.tree.structure(a) != jax.tree.structure(b) or shapes[0] != shapes[1]:
        raise InputError(
            f"path: a has shapes {shapes[0]} and b {shapes[1]}, expected two sets of parameters of "
            f"one kind"
        )
