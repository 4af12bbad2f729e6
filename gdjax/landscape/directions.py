"""Directions through a point, for lines and planes of the cost.

    w(a, b) = w_0 + a d_1 + b d_2

A direction is a pytree like the parameters: a `random_direction`, scaled to the weights by
`filter_normalize`; the gradient; the difference from another network; a principal component of a
descent; or an eigenvector. Planes and grids take a dict of directions by
name, as `orthogonalize` and `plane_directions` return it. All other functions are pure functions of
arrays that can be jitted and mapped.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Key, PyTree

from gdjax.base.arguments import MAX_WHOLE, check_choice, check_numbers, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.slabs import RecentlyUsed
from gdjax.curvature.eigenpairs import EigenpairsStatus, extreme_eigenpairs
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems.checks import check_like, check_params
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

PARALLEL = 1e-6  # 1 - |cosine| below which two directions count as parallel
# Names of the dimensions of a grid, one per direction.
DIMENSIONS = string.ascii_lowercase
KINDS = ("random", "neuron", "layer", "eigenvectors", "gradient")


def random_direction(params: PyTree, *, key: Key[Array, ""]) -> PyTree:
    """Return a direction with independent N(0, 1) entries.

    Its length is about sqrt(number of parameters).

    Args:
        params: the point, any pytree of real arrays.
        key: random key of the direction.

    Examples:
        >>> random_direction({"a": jnp.ones(3)}, key=jax.random.key(0))["a"].shape
        (3,)
    """
    check_params(params)
    check_key(key)
    return optax.tree.random_like(key, jax.tree.map(jnp.asarray, params))


def filter_normalize(direction: PyTree, params: PyTree, *, axis: int | None = 0) -> PyTree:
    """Scale each neuron's direction to the length of that neuron's weights.

        d_j <- d_j |w_j| / |d_j|,   j a neuron, w_j its incoming weights

    The function of a network does not change if a layer of relus is scaled up and the next layer is
    scaled down. This changes slices along plain random directions, but not along normalized ones.
    In arrays of two or more dimensions, position j along `axis` is a neuron (or a filter), so the
    leading axis is correct for weights stored [to, from]. Arrays of fewer dimensions, such as
    biases, are scaled as a whole to the length of the array of parameters, whereas Li et al. omit
    biases. The direction of a neuron is zero if all its weights are zero.

    Args:
        direction: a pytree like `params`.
        params: the point.
        axis: axis of the neurons (0, or -1 for weights stored [from, to], as in Flax); None scales
            each array as a whole.

    Examples:
        >>> w = {"weights": jnp.array([[3.0, 4.0], [0.0, 1.0]]), "bias": jnp.array([0.0, 2.0])}
        >>> d = filter_normalize(random_direction(w, key=jax.random.key(0)), w)
        >>> [round(float(jnp.linalg.norm(row)), 3) for row in (*d["weights"], d["bias"])]
        [5.0, 1.0, 2.0]
        >>> filter_normalize({"a": jnp.eye(2)}, {"a": jnp.ones((2, 2))}, axis=None)["a"].tolist()
        [[1.4142..., 0.0], [0.0, 1.4142...]]

    References: Li et al. 2018, *Visualizing the loss landscape of neural nets*, arXiv 1712.09913.
    """
    check_like("filter_normalize: direction", direction, params)
    if axis is not None:
        check_whole("filter_normalize: axis", axis, -MAX_WHOLE)

    def scaled(d, w):
        if axis is None or d.ndim < 2:
            return _rescaled(d, w, None)
        return _rescaled(d, w, tuple(i for i in range(d.ndim) if i != axis % d.ndim))

    return jax.tree.map(scaled, *jax.tree.map(jnp.asarray, (direction, params)))


@partial(jax.jit, static_argnums=2)
def _rescaled(d, w, axes):
    """Return d with the norms of w over some axes; zero where d or w is zero."""
    length = jnp.sqrt(jnp.sum(d**2, axis=axes, keepdims=True))
    length_of_w = jnp.sqrt(jnp.sum(w**2, axis=axes, keepdims=True))
    factor = jnp.where(length > 0, length_of_w / jnp.where(length > 0, length, 1), 0)
    return (d * factor).astype(d.dtype)


def gradient_direction(problem: Problem | Callable, params: PyTree) -> PyTree:
    """Return the direction of steepest ascent, of length 1.

        g / |g|,   g = grad C

    The direction is zero if the gradient is zero.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: the point.

    Examples:
        >>> gradient_direction(lambda w: 3 * w[0] + 4 * w[1], jnp.zeros(2)).round(3).tolist()
        [0.6, 0.8]
    """
    return _unit(value_and_gradient(problem, params)[1])


def direction_to(params: PyTree, other: PyTree) -> PyTree:
    """Return the direction from one point (coordinate 0) to another (coordinate 1).

    Args:
        params: the point.
        other: a pytree like `params`.

    Examples:
        >>> direction_to(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
        [2.0, 0.0]
    """
    check_like("direction_to: other", other, params)
    return optax.tree.sub(*jax.tree.map(jnp.asarray, (other, params)))


def orthogonalize(directions: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Orthogonalize directions by subtraction of projections on previous ones.

        d_i <- |d_i| u / |u|,   u = d_i - sum_(j < i) d_j (d_j . d_i) / |d_j|^2

    The first direction is unchanged. All directions keep their lengths, and ", orthogonalized" is
    appended to the names of all but the first.

    Args:
        directions: directions by name.

    Examples:
        >>> list(orthogonalize({"a": jnp.array([1.0, 0.0]), "b": jnp.array([1.0, 1.0])}))
        ['a', 'b, orthogonalized']

    References: Gram-Schmidt process, in which every projection is repeated to reduce rounding.
    """
    if not isinstance(directions, Mapping) or not directions:
        raise InputError(
            f"directions = {directions!r:.80}, expected a dict with one tree per direction, by name"
        )
    orthogonal, units = {}, []
    for name, direction in directions.items():
        check_like(f"direction {name!r}", direction, next(iter(directions.values())))
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, direction))
        rest = d = np.asarray(flat, float)
        for unit in units * 2:
            rest = rest - unit * (unit @ rest)
        length, length_of_rest = np.linalg.norm(d), np.linalg.norm(rest)
        if not length_of_rest > 1e-5 * length:
            dependent = (
                f"is linearly dependent on {', '.join(orthogonal)}"
                if length > 0 and orthogonal
                else "is zero"
            )
            raise InputError(
                f"orthogonalize: direction {name!r} {dependent}; expected linearly independent "
                f"directions"
            )
        units.append(rest / length_of_rest)
        if not orthogonal:
            orthogonal[name] = direction
            continue
        rest = jnp.asarray(length * rest / length_of_rest, flat.dtype)
        orthogonal[f"{name}, orthogonalized"] = unravel(rest)
    return orthogonal


def by_name(names: Sequence[str], stacked: PyTree) -> dict[str, PyTree]:
    """Return directions by name from a pytree whose leading axis indexes them."""
    return {name: jax.tree.map(lambda a, i=i: a[i], stacked) for i, name in enumerate(names)}


def at_coordinates(
    params: PyTree, directions: Mapping[str, PyTree], coordinates: ArrayLike | Sequence
) -> PyTree:
    """Return the parameters at a point of a slice: w_0 + sum_i c_i d_i.

    Args:
        params: origin w_0.
        directions: directions d_i by name.
        coordinates: coordinates c, one per direction.

    Examples:
        >>> directions = {"right": jnp.array([1.0, 0.0]), "up": jnp.array([0.0, 2.0])}
        >>> at_coordinates(jnp.ones(2), directions, [0.5, 1.0]).tolist()
        [1.5, 3.0]
    """
    check_params(params)
    check_named("at_coordinates", params, directions)
    check_numbers("at_coordinates: coordinates", coordinates, shape=(len(directions),))
    return displaced(params, tuple(directions.values()), jnp.asarray(coordinates))


@jax.jit
def displaced(params: PyTree, directions: tuple[PyTree, ...], coordinates: Array) -> PyTree:
    """Return `at_coordinates` for a tuple of directions; jit sorts the keys of dicts."""
    for c, direction in zip(coordinates, directions, strict=True):
        params = jax.tree.map(lambda w, d, c=c: w + c.astype(w.dtype) * d, params, direction)
    return params


def plane_directions(
    problem: Problem | Callable, params: PyTree, kind: str, *, key: Key[Array, ""]
) -> dict[str, PyTree]:
    """Return two directions of length 1, by name, for a plane through a point.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: the point, with at least two parameters.
        kind: "random": two draws of N(0, 1); "neuron": the same draws, scaled for each neuron (see
            `filter_normalize`); "layer": the same draws, scaled for each array (`axis=None`);
            "eigenvectors": eigenvectors of the two largest eigenvalues of the Hessian; "gradient":
            the gradient and a random direction orthogonal to it.
        key: random key for random directions and for the eigenvector search.

    Returns:
        Both directions by name, as an argument of `plane`. Directions that are zero, such as a
        vanishing gradient, remain zero. If the search for eigenvectors did not converge, their
        names contain the residuals of the eigenvalues, as in "λ = 20 ± 0.3".

    Examples:
        >>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2
        >>> list(plane_directions(bowl, jnp.ones(2), "eigenvectors", key=jax.random.key(0)))
        ['eigenvector 1, λ = 20', 'eigenvector 2, λ = 2']
    """
    check_choice("plane_directions: kind", kind, KINDS)
    check_key(key)
    check_params(params)
    count = optax.tree.size(params)
    if count < 2:
        raise InputError("plane_directions: a single parameter has no plane; use `line`")
    problem = problem_at(problem, params)
    key_first, key_second = jax.random.split(key)
    if kind == "eigenvectors":
        pairs = _compiled_largest_two(problem, params, key_first)
        if int(pairs.status) == EigenpairsStatus.NOT_FINITE:
            raise InputError(
                "plane_directions: the Hessian is not finite at params, so it has no eigenvectors; "
                "pass a point at which cost and gradient are finite, or choose another kind"
            )
        exact = int(pairs.status) == EigenpairsStatus.CONVERGED
        names = [
            f"eigenvector {i}, λ = {pair[0]:.3g}" + ("" if exact else f" ± {pair[1]:.1g}")
            for i, pair in enumerate(zip(pairs.values, pairs.residuals, strict=True), 1)
        ]
        return {name: _unit(d) for name, d in by_name(names, pairs.vectors).items()}
    draws = [random_direction(params, key=k) for k in (key_first, key_second)]
    if kind == "gradient":
        steepest = jax.jit(gradient_direction)(problem, params)
        directions = {"gradient": steepest, "random direction": draws[0]}
        if float(optax.tree.norm(steepest)) > 0:
            directions = orthogonalize(directions)
        return {name: _unit(d) for name, d in directions.items()}
    name, scaled = {
        "random": ("random direction", lambda d: d),
        "neuron": ("neuron-scaled direction", lambda d: filter_normalize(d, params)),
        "layer": ("layer-scaled direction", lambda d: filter_normalize(d, params, axis=None)),
    }[kind]
    return {f"{name} {i}": _unit(scaled(d)) for i, d in enumerate(draws, 1)}


def _largest_two(problem, params, key):
    return extreme_eigenpairs(problem, params, key=key, largest=2)


_compiled_largest_two = RecentlyUsed(_largest_two)


@jax.jit
def _unit(direction):
    length = optax.tree.norm(direction)
    return jax.tree.map(lambda d: jnp.where(length > 0, d / length, 0).astype(d.dtype), direction)


def check_named(caller: str, params: PyTree, directions: Mapping[str, PyTree]) -> None:
    """Check that directions are a mapping of 1 to 26 names to pytrees like the parameters."""
    is_named = isinstance(directions, Mapping) and all(isinstance(n, str) for n in directions)
    if not is_named or not 1 <= len(directions) <= len(DIMENSIONS):
        raise InputError(
            f"{caller}: directions = {directions!r:.80}, expected a dict with one tree per "
            f"direction, by name"
        )
    for name, direction in directions.items():
        check_like(f"{caller}: directions[{name!r}]", direction, params)


def check_directions(
    caller: str, params: PyTree, directions: Mapping[str, PyTree]
) -> tuple[list[float], list[float]]:
    """Return the lengths of directions and the cosine of each pair.

    Directions must have nonzero lengths, and no two of them may be parallel.
    """
    check_named(caller, params, directions)
    flat = [np.asarray(ravel_pytree(d)[0], float) for d in directions.values()]
    lengths = [float(np.linalg.norm(d)) for d in flat]
    for name, length in zip(directions, lengths, strict=True):
        if not length > 0:
            raise InputError(
                f"{caller}: the direction {name!r} has length {length:g}, expected a nonzero "
                f"direction; pass another, such as gd.landscape.random_direction(params, key=key)"
            )
    pairs = list(combinations(range(len(flat)), 2))
    cosines = [float(flat[i] @ flat[j] / (lengths[i] * lengths[j])) for i, j in pairs]
    for (a, b), cosine in zip(combinations(directions, 2), cosines, strict=True):
        if abs(cosine) > 1 - PARALLEL:
            raise InputError(
                f"{caller}: directions {a!r} and {b!r} are parallel (cosine {cosine:.6g}), "
                f"expected directions that span a plane; leave one out, or pass another"
            )
    return lengths, cosines
