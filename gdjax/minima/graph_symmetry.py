"""Finite groups of symmetries of a cost: signed permutations of the parameters.

    (g w)_i = sign_i w_{order_i},   C(g w) = C(w) for every w

Permutations of hidden neurons, and sign flips of tanh neurons, are such symmetries if the decay is
the same for all neurons. A flip of a sigmoid neuron moves the bias of the next layer, so a decay of
that bias excludes it. Every generator is tested at random parameters.

A group of 10 tanh neurons has 3.7e9 elements, so images of points are never listed. Each signed
permutation is one of the 2n signed coordinates, and a chain of stabilizers (Schreier and Sims)
gives orders, membership, and the element that maps one point to another.

References: Seress 2003, *Permutation Group Algorithms*; sympy.combinatorics.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from gdjax.base.arguments import import_extra
from gdjax.base.errors import InputError
from gdjax.minima.symmetry import FLIPS, NeuronSymmetry, apply_symmetry, identity_symmetry
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem

COST_RTOL = 1e-9  # largest relative change of the cost under a symmetry, in float64
TEST_POINTS = 4  # number of random parameters at which a symmetry is tested
MAX_VISITS = 100_000  # maximum number of steps of one search for a symmetry
STARTS = 4  # number of random starts of the search for the nearest image

Signed = Int[np.ndarray, " signed"]
"""An element: the image of each signed coordinate, where n + i stands for the negative of i."""


def identity(n: int) -> Signed:
    """Return the element that changes nothing."""
    return np.arange(2 * n)


def apply(element: Signed, w: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Return the image of a point.

    Examples:
        >>> swap_and_flip = np.array([1, 2, 3, 0])  # e_0 -> e_1, e_1 -> -e_0
        >>> apply(swap_and_flip, np.array([2.0, 3.0])).tolist()
        [-3.0, 2.0]
    """
    n = len(element) // 2
    image = np.empty_like(w)
    target = element[:n]
    image[..., target % n] = w * np.where(target < n, 1.0, -1.0)
    return image


def compose(first: Signed, then: Signed) -> Signed:
    """Return the element that applies two elements in turn."""
    return then[first]


def inverse(element: Signed) -> Signed:
    """Return the inverse of an element."""
    return np.argsort(element)


def signed_permutation(function: Callable[[Array], Array], n: int) -> Signed | None:
    """Return a map of flat parameters as an element; None if it is no signed permutation."""
    probe = np.arange(1.0, n + 1)
    image = np.asarray(function(jnp.asarray(probe)))
    rounded = np.rint(image)
    if image.shape != (n,) or np.any(rounded != image):
        return None
    if not np.array_equal(np.sort(np.abs(rounded)), probe):
        return None
    element = np.empty(2 * n, int)
    source = np.abs(rounded).astype(int) - 1
    negative = rounded < 0
    element[source] = np.arange(n) + n * negative
    element[source + n] = np.arange(n) + n * ~negative
    return element


def neuron_symmetries(problem: Problem, example: PyTree) -> list[Callable[[PyTree], PyTree]]:
    """Return the swaps of two neurons and the flips of one, for each hidden layer."""
    network = problem.network
    widths = () if network is None else network.widths[1:-1]
    identities = tuple(identity_symmetry(width) for width in widths)
    functions = []

    def add(layer, neurons):
        symmetry = (*identities[:layer], neurons, *identities[layer + 1 :])
        functions.append(lambda params: apply_symmetry(network, params, symmetry))

    for layer, width in enumerate(widths):
        flips = FLIPS.get(network.activation) == 0.0
        for i in range(width * flips):
            add(layer, identities[layer]._replace(sign=jnp.ones(width).at[i].set(-1)))
        for i, j in combinations(range(width), 2):
            order = jnp.arange(width).at[jnp.array([i, j])].set(jnp.array([j, i]))
            add(layer, NeuronSymmetry(order, *identities[layer][1:]))
    return functions


class SymmetryGroup:
    """A group of signed permutations that leave a cost unchanged.

    Args:
        n: number of parameters.
        generators: elements that generate the group.
    """

    def __init__(self, n: int, generators: Iterable[Signed] = ()):
        self.n = n
        self.generators = _distinct(generators, n)
        self._chain = _chain(n, self.generators)

    @property
    def order(self) -> int:
        """Number of elements."""
        order = 1
        for _, transversal, _ in self._chain:
            order *= len(transversal)
        return order

    def __contains__(self, element: Signed) -> bool:
        """Return whether an element belongs to the group."""
        for base, transversal, _ in self._chain:
            if (image := int(element[base])) not in transversal:
                return False
            element = compose(element, inverse(transversal[image]))
        return bool(np.all(element == np.arange(2 * self.n)))

    def find(
        self,
        start: Float[np.ndarray, " n"],
        end: Float[np.ndarray, " n"],
        tolerance: float,
        *,
        level: int = 0,
        within: Signed | None = None,
    ) -> Signed | None:
        """Return an element that maps one point to another within a tolerance, or None.

        The search goes down the chain of stabilizers and compares all coordinates whose image is
        determined, so it rarely has to go back.

        Args:
            start: point to map.
            end: its image.
            tolerance: largest difference of a coordinate.
            level: level of the chain at which to start.
            within: element applied after those of deeper levels; None for the identity.
        """
        a, b = np.append(start, -start), np.append(end, -end)
        fixed = [np.flatnonzero(_fixed(self._chain, k, self.n)) for k in range(len(self._chain))]
        visits = 0

        def search(level, current):
            nonlocal visits
            if level == len(self._chain):
                return current if np.all(np.abs(b[current] - a) <= tolerance) else None
            _, transversal, _ = self._chain[level]
            for representative in transversal.values():
                visits += 1
                if visits > MAX_VISITS:
                    return None
                image = compose(representative, current)
                known = fixed[level]
                agrees = np.all(np.abs(b[image[known]] - a[known]) <= tolerance)
                if agrees and (result := search(level + 1, image)) is not None:
                    return result
            return None

        return search(level, identity(self.n) if within is None else within)

    def stabilizer(self, point: Float[np.ndarray, " n"], tolerance: float) -> "SymmetryGroup":
        """Return the subgroup that leaves a point unchanged within a tolerance."""
        a, generators = np.append(point, -point), []
        for level in reversed(range(len(self._chain))):
            base, transversal, _ = self._chain[level]
            for image, representative in transversal.items():
                if image != base and abs(a[image] - a[base]) <= tolerance:
                    element = self.find(
                        point, point, tolerance, level=level + 1, within=representative
                    )
                    if element is not None:
                        generators.append(element)
        return SymmetryGroup(self.n, generators)

    def fixed_space(self) -> Float[np.ndarray, "n n"]:
        """Return the projection onto the points that every element leaves unchanged."""
        if not self.generators:
            return np.eye(self.n)
        units = np.eye(self.n)
        moved = [apply(element, units).T - units for element in self.generators]
        _, size, rows = np.linalg.svd(np.concatenate(moved))
        null = rows[np.append(size, np.zeros(len(rows) - len(size))) < 1e-9]
        return null.T @ null

    def nearest_image(
        self,
        point: Float[np.ndarray, " n"],
        reference: Float[np.ndarray, " n"],
        random: np.random.Generator,
    ) -> Signed:
        """Return an element whose image of a point is near a reference.

        From the identity and from random elements, generators are applied while the distance falls.
        """
        best, best_distance = identity(self.n), np.inf
        for number in range(STARTS if self.generators else 1):
            element = identity(self.n) if number == 0 else self.random(random)
            distance = np.linalg.norm(apply(element, point) - reference)
            while self.generators:
                tried = [compose(element, g) for g in self.generators]
                distances = [np.linalg.norm(apply(t, point) - reference) for t in tried]
                if min(distances) >= distance * (1 - 1e-12):
                    break
                distance = min(distances)
                element = tried[int(np.argmin(distances))]
            if distance < best_distance * (1 - 1e-12):
                best, best_distance = element, distance
        return best

    def random(self, random: np.random.Generator) -> Signed:
        """Draw an element, all of them with equal probability."""
        element = identity(self.n)
        for _, transversal, _ in reversed(self._chain):
            keys = list(transversal)
            element = compose(element, transversal[keys[random.integers(len(keys))]])
        return element


def _distinct(generators, n):
    distinct = {tuple(np.asarray(g).tolist()): np.asarray(g) for g in generators}
    distinct.pop(tuple(range(2 * n)), None)
    return list(distinct.values())


def _chain(n, generators):
    """Return base point, transversal and strong generators of each level of stabilizers."""
    if not generators:
        return []
    groups = import_extra("symmetries", "sympy.combinatorics", "graphs")
    group = groups.PermutationGroup([groups.Permutation(g.tolist()) for g in generators])
    group.schreier_sims()
    strong = [np.array(g.array_form) for g in group.strong_gens]
    chain = []
    for base, transversal in zip(group.base, group.basic_transversals, strict=True):
        elements = {int(x): np.array(p.array_form) for x, p in transversal.items()}
        elements = {base: elements.pop(base), **elements}  # the identity is tried first
        chain.append((base, elements, strong))
        strong = [g for g in strong if g[base] == base]
    return chain


def _fixed(chain, level, n):
    """Return which signed coordinates the stabilizer below a level leaves unchanged."""
    fixed = np.ones(2 * n, bool)
    if level + 1 < len(chain):
        for g in chain[level + 1][2]:
            fixed &= g == np.arange(2 * n)
    return fixed


def symmetry_group(
    problem: Problem,
    example: PyTree,
    symmetries: Sequence[Callable[[PyTree], PyTree]] | None,
    *,
    key: Key[Array, ""],
) -> tuple[SymmetryGroup, int]:
    """Return the group of the symmetries that leave the cost unchanged.

    Args:
        problem: problem whose deterministic cost is evaluated.
        example: parameters, for their structure.
        symmetries: functions `params -> params`; None for swaps and flips of neurons.
        key: random key for the parameters at which the symmetries are tested.

    Returns:
        The group, and the number of neuron symmetries that change the cost.

    Raises:
        InputError: if one of the given symmetries changes the cost, or is no signed permutation.
    """
    flat, unravel = ravel_pytree(example)
    functions = neuron_symmetries(problem, example) if symmetries is None else list(symmetries)
    points = np.asarray(jax.random.normal(key, (TEST_POINTS, flat.size), flat.dtype))
    evaluation, data = deterministic_cost(problem), jax.tree.map(jnp.asarray, problem.data)
    cost = jax.jit(jax.vmap(lambda w: evaluation(unravel(w), data)))
    before, generators, excluded = np.asarray(cost(points)), [], 0
    for number, function in enumerate(functions):
        element = signed_permutation(
            lambda w, f=function: ravel_pytree(f(unravel(w)))[0], flat.size
        )
        change = np.inf
        if element is not None:
            change = np.max(np.abs(np.asarray(cost(apply(element, points))) - before))
        if change <= COST_RTOL * np.max(np.abs(before)):
            generators.append(element)
        elif symmetries is None:
            excluded += 1
        else:
            reason = (
                "is no permutation of parameters with signs"
                if element is None
                else f"changes the cost at random parameters by up to {change:.2g}"
            )
            raise InputError(
                f"symmetries: function {number} {reason}, expected one that leaves the cost "
                f"unchanged; leave it out"
            )
    return SymmetryGroup(flat.size, generators), excluded
