"""Reduction of a network on a slice to a smaller network with equal costs.

    (W + a D_1 + b D_2) x = [1 a b] [W x; D_1 x; D_2 x]

The first layer is linear in its weights, so the products are computed once per direction rather
than once per point, and are the inputs of the smaller network: 48 inputs instead of 784 pixels for
16 neurons and two directions. Its parameters and directions are pytrees like those of the network,
and equal coordinates give equal costs.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.landscape.directions import at_coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem

BATCH = 1000  # number of samples whose products are computed at a time
CHECK_SAMPLES = 12  # number of samples on which the costs of both networks are compared


class Reduced(NamedTuple):
    """A slice of a network's cost as a slice of a smaller network's cost.

    Args:
        problem: problem of the smaller network, whose inputs are the products of the first layer.
        params: origin of the slice, as parameters of the smaller network.
        directions: directions of the slice by name, for the smaller network.
    """

    problem: Problem
    params: PyTree
    directions: dict[str, PyTree]


def reduced(problem: Problem, params: PyTree, directions: Mapping[str, PyTree]) -> Reduced | None:
    """Return a slice of a network's cost as a slice of a smaller network's cost.

        z = [1 a b] [W x; D_1 x; D_2 x] + bias,   the other layers unchanged

    Inputs may be scaled before the first layer, as by `Network.input_scale`, but not shifted. The
    cost must not depend on the first layer in any other way, such as through weight decay. This is
    checked on a few samples.

    Args:
        problem: problem whose slice is evaluated.
        params: origin of the slice.
        directions: directions of the slice by name.

    Returns:
        The slice of the smaller network; None if the problem has no network or other data than a
        tuple (inputs, ...), if the products are not fewer than the inputs, or if costs differ.

    Examples:
        >>> from gdjax.problems import digits
        >>> problem = digits("mnist5k", samples=20)
        >>> w, d = (problem.init(jax.random.key(seed)) for seed in (0, 1))
        >>> small = reduced(problem, w, {"random": d})
        >>> small.problem.network.widths
        (32, 16, 16, 10)
        >>> point = at_coordinates(w, {"random": d}, [0.5])
        >>> small_point = at_coordinates(small.params, small.directions, [0.5])
        >>> float(problem.cost(point, problem.data))
        2.597
        >>> float(small.problem.cost(small_point, small.problem.data))
        2.597
    """
    network, data = problem.network, problem.data
    trees = (params, *directions.values())
    count = len(trees)
    if network is None or count * network.widths[1] >= network.widths[0]:
        return None
    inputs, width = network.widths[:2]
    of_network = jax.eval_shape(network.init, jax.random.key(0))
    if _shapes(params) != _shapes(of_network) or not isinstance(data, tuple):
        return None
    if jnp.shape(data[0]) != (problem.samples, inputs):
        return None
    weights = jnp.concatenate([tree[0].weights for tree in trees])

    def smaller(number):
        # The weights select the products of one pytree: each neuron uses one product.
        tree, dtype = trees[number], weights.dtype
        share = jnp.asarray(np.kron(np.eye(count)[number : number + 1], np.eye(width)), dtype)
        return (tree[0]._replace(weights=share), *tree[1:])

    small = Reduced(
        dataclasses.replace(
            problem,
            init=lambda key: smaller(0),
            data=(_products(data[0], weights), *data[1:]),
            metrics={},
            network=dataclasses.replace(network, widths=(count * width, *network.widths[1:])),
            provenance=None,
        ),
        smaller(0),
        {name: smaller(number) for number, name in enumerate(directions, start=1)},
    )
    return small if _has_equal_costs(problem, params, directions, small) else None


def _shapes(params):
    return jax.tree.structure(params), [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]


@jax.jit
def _products(inputs, weights):
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda x: weights @ x.astype(weights.dtype), inputs, batch_size=BATCH)


def _has_equal_costs(problem, params, directions, small):
    """Return whether costs agree at the origin, and a unit along each or all directions."""
    batch, products = (
        jax.tree.map(lambda a: jnp.asarray(a[:CHECK_SAMPLES]), data)
        for data in (problem.data, small.problem.data)
    )
    cost = deterministic_cost(problem)
    count = len(directions)
    corners = np.concatenate([np.zeros((1, count)), np.eye(count), np.ones((1, count))])
    with jax.default_matmul_precision("highest"):
        for corner in corners:
            point = at_coordinates(params, directions, corner)
            small_point = at_coordinates(small.params, small.directions, corner)
            costs = float(cost(point, batch)), float(cost(small_point, products))
            if not np.isclose(*costs, rtol=1e-3, atol=1e-9, equal_nan=True):
                return False
    return True
