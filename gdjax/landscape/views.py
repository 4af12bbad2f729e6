"""Pairs of directions of length 1 by name of their kind: the usual planes through a point.

    w(a, b) = w_0 + a d_1 + b d_2,   |d_1| = |d_2| = 1

All of length 1, so that planes of different kinds can be compared at the same distance:

>>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2
>>> two = plane_directions(bowl, jnp.ones(2), "eigenvectors", key=jax.random.key(0))
>>> list(two)
['eigenvector 1, λ = 20', 'eigenvector 2, λ = 2']
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from gdjax.curvature.eigenpairs import EigenpairsStatus, extreme_eigenpairs
from gdjax.errors import InputError
from gdjax.landscape.directions import (
    by_name,
    filter_normalize,
    gradient_direction,
    layer_normalize,
    orthogonalize,
    random_direction,
)
from gdjax.problems.problem import Problem, as_problem

KINDS = ("random", "neuron", "layer", "eigenvectors", "gradient")


def plane_directions(
    problem: Problem | Callable,
    params: PyTree,
    kind: str,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
) -> dict[str, PyTree]:
    """Two directions of length 1 through a point.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point, of at least two parameters.
        kind: "random": two draws of N(0, 1); "neuron": the same draws, each neuron's scaled to its
            weights (see `filter_normalize`); "layer": the same, each array's; "eigenvectors": of
            the Hessian's two largest eigenvalues; "gradient": the gradient, and a random direction
            at a right angle to it.
        key: for what is random.
        data: instead of the problem's own.

    Returns:
        Both by name, for `plane`. One that is zero, such as the gradient where it vanishes, stays.
        Eigenvalues that did not converge are named with their residual, "λ = 20 ± 0.3".

    Raises:
        InputError: an unknown kind, a single parameter, or eigenvectors of a Hessian that is not
            finite.
    """
    if kind not in KINDS:
        raise InputError(
            f"plane_directions: kind = {kind!r} is unknown; choose one of {', '.join(KINDS)}"
        )
    count = optax.tree.size(params)
    if count < 2:
        raise InputError(f"plane_directions: {count} parameter has no plane; take `line`")
    problem = as_problem(problem, data)
    first, second = jax.random.split(key)
    if kind == "eigenvectors":
        pairs = _largest_two(problem, params, first)
        if int(pairs.status) == EigenpairsStatus.NOT_FINITE:
            raise InputError(
                "plane_directions: the Hessian is not finite at params, so it has no eigenvectors; "
                "give a point at which cost and gradient are finite, or take another kind"
            )
        exact = int(pairs.status) == EigenpairsStatus.CONVERGED
        names = [
            f"eigenvector {i}, λ = {pair[0]:.3g}" + ("" if exact else f" ± {pair[1]:.1g}")
            for i, pair in enumerate(zip(pairs.values, pairs.residuals, strict=True), 1)
        ]
        return {name: _unit(d) for name, d in by_name(names, pairs.vectors).items()}
    draws = [random_direction(params, key=k) for k in (first, second)]
    if kind == "gradient":
        steepest = jax.jit(gradient_direction)(problem, params)
        two = {"gradient": steepest, "random direction": draws[0]}
        if float(optax.tree.norm(steepest)) > 0:
            two = orthogonalize(two)
        return {name: _unit(d) for name, d in two.items()}
    names, scaled = {
        "random": ("random direction", lambda d: d),
        "neuron": ("neuron-scaled direction", lambda d: filter_normalize(d, params)),
        "layer": ("layer-scaled direction", lambda d: layer_normalize(d, params)),
    }[kind]
    return {f"{names} {i}": _unit(scaled(d)) for i, d in enumerate(draws, 1)}


@jax.jit
def _largest_two(problem, params, key):
    return extreme_eigenpairs(problem, params, key=key, largest=2)


@jax.jit
def _unit(direction):
    length = optax.tree.norm(direction)
    return jax.tree.map(lambda d: jnp.where(length > 0, d / length, d), direction)
