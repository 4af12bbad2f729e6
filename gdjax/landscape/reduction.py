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

from gdjax.errors import InputError
from gdjax.landscape.directions import at_coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem
from gdjax.problems.validation import check_like

BATCH = 1000  # number of samples whose products are computed at a time


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


def reduced(problem: Problem, params: PyTree, directions: Mapping[str, PyTree]) -> Reduced:
    """Return a slice of a network's cost as a slice of a smaller network's cost.

        z = [1 a b] [W x; D_1 x; D_2 x] + bias,   the other layers unchanged

    Inputs may be scaled before the first layer, as by `Network.input_scale`, but not shifted. The
    cost must not depend on the first layer in any other way, such as through weight decay. This is
    checked on a few samples.

    Args:
        problem: problem with a `network`, and with data that are a tuple (inputs, ...).
        params: origin of the slice, the layers of the network.
        directions: directions of the slice by name.

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
    remedy = "take the slice of problem.cost and problem.data instead, which works for any cost"
    network, data = problem.network, problem.data
    if network is None:
        raise InputError(f"reduced: the problem has no network; {remedy}")
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    check_like("reduced: params", params, shapes)
    for name, direction in directions.items():
        check_like(f"reduced: direction {name!r}", direction, params)
    expected = (problem.samples, network.widths[0])
    if not isinstance(data, tuple) or jnp.shape(data[0]) != expected:
        raise InputError(f"reduced: the problem's data are not (inputs {expected}, ...); {remedy}")
    trees = (params, *directions.values())
    weights = jnp.concatenate([tree[0].weights for tree in trees])
    count, width = len(trees), network.widths[1]

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
    _check_same(problem, params, directions, small, remedy)
    return small


def reduces_inputs(problem: Problem, directions: Mapping[str, PyTree]) -> bool:
    """Return whether a problem has a network whose reduction has fewer inputs."""
    widths = getattr(problem.network, "widths", None)
    return widths is not None and (len(directions) + 1) * widths[1] < widths[0]


@jax.jit
def _products(inputs, weights):
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda x: weights @ x.astype(weights.dtype), inputs, batch_size=BATCH)


def _check_same(problem, params, directions, small, remedy):
    """Check that costs agree at the origin, and a unit along each or all directions."""
    few, few_products = (
        jax.tree.map(lambda a: jnp.asarray(a[:12]), data)
        for data in (problem.data, small.problem.data)
    )
    cost = deterministic_cost(problem)
    count = len(directions)
    corners = np.concatenate([np.zeros((1, count)), np.eye(count), np.ones((1, count))])
    with jax.default_matmul_precision("highest"):
        for corner in corners:
            full_cost = float(cost(at_coordinates(params, directions, corner), few))
            point = at_coordinates(small.params, small.directions, corner)
            small_cost = float(cost(point, few_products))
            if not np.isclose(full_cost, small_cost, rtol=1e-3, atol=1e-9, equal_nan=True):
                raise InputError(
                    f"reduced: at coordinates {corner.tolist()} the cost is {full_cost:.6g}, and "
                    f"{small_cost:.6g} for the smaller network; expected a cost of the outputs "
                    f"alone, and inputs that are at most multiplied by a number; {remedy}"
                )
