"""Classification of polynomials and matrix products with known critical points.

One family consists of polynomials of two reflected and shifted coordinates, with quadratic terms of
known curvature in the other coordinates. The other consists of products of matrices, whose fibers
are manifolds of minima. One compiled program classifies all points of equal dimension and precision
in a family.
"""

import sys
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.critical_points.classify import Kind, classify

K = Kind
DEGREE = 8


class Point(NamedTuple):
    """A polynomial sum c x^i y^j around its critical point 0, as {(i, j): c}.

    Args:
        terms: the polynomial.
        kind: kind of the point 0 if the curvatures along other coordinates have the sign `sides`.
        sides: sign of the curvatures along other coordinates.
    """

    terms: dict
    kind: Kind
    sides: float = 1.0


POLYNOMIALS = {
    "bowl": Point({(2, 0): 1, (0, 2): 3}, K.STRICT_MINIMUM),
    "bowl, condition 1e8": Point({(2, 0): 1, (0, 2): 1e-8}, K.STRICT_MINIMUM),
    "hill": Point({(2, 0): -1, (0, 2): -3}, K.STRICT_MAXIMUM, -1),
    "saddle": Point({(2, 0): 1, (0, 2): -1}, K.SADDLE),
    "saddle, condition 1e8": Point({(2, 0): 1, (0, 2): -1e-8}, K.SADDLE),
    "x2 + y4": Point({(2, 0): 1, (0, 4): 1}, K.DEGENERATE_MINIMUM),
    "x2 - y4": Point({(2, 0): 1, (0, 4): -1}, K.DEGENERATE_SADDLE),
    "x2 - y3 + y4": Point({(2, 0): 1, (0, 3): -1, (0, 4): 1}, K.DEGENERATE_SADDLE),
    "-x2 - y4": Point({(2, 0): -1, (0, 4): -1}, K.DEGENERATE_MAXIMUM, -1),
    "-x2 + y3": Point({(2, 0): -1, (0, 3): 1}, K.DEGENERATE_SADDLE, -1),
    "(y - x2)(y - 2 x2)": Point({(0, 2): 1, (2, 1): -3, (4, 0): 2}, K.DEGENERATE_SADDLE),
    "(y - x2)(y - x2) + x4": Point({(0, 2): 1, (2, 1): -2, (4, 0): 2}, K.DEGENERATE_MINIMUM),
    "(y - x2)2": Point({(0, 2): 1, (2, 1): -2, (4, 0): 1}, K.MANIFOLD_OF_MINIMA),
    "(1 + x2) y2": Point({(0, 2): 1, (2, 2): 1}, K.MANIFOLD_OF_MINIMA),
}


@cache
def program(n):
    """Return the compiled function that classifies polynomials in n dimensions."""

    def cost(w, case):
        terms, sides, rotation, offset = case
        # A reflection takes O(n) operations, and a general rotation O(n^2).
        z = w - 2 * rotation * (rotation @ w) - offset
        powers = [jnp.ones((2,), w.dtype)]
        for _ in range(DEGREE):
            powers.append(powers[-1] * z[:2])
        x, y = jnp.stack(powers, axis=1)
        return x @ (terms @ y) + sides @ z[2:] ** 2 / 2

    def one(w, case):
        return classify(lambda w: cost(w, case), w, key=jax.random.key(3))

    return jax.jit(jax.vmap(one))


def cases(n, chosen, shifted, sides):
    """Return the arguments of the program: points, and arrays that define each cost."""
    rng = np.random.default_rng(n)
    result = []
    for name in chosen:
        point = POLYNOMIALS[name]
        terms = np.zeros((DEGREE + 1, DEGREE + 1))
        for (i, j), c in point.terms.items():
            terms[i, j] = c
        direction = rng.normal(size=n) * (1.0 if shifted else 0.0)
        direction = direction / max(np.linalg.norm(direction), 1)
        w = rng.normal(size=n) * (1.0 if shifted else 0.0)
        offset = w - 2 * direction * (direction @ w)
        result.append((w, (terms, point.sides * sides, direction, offset)))
    return jax.tree.map(lambda *a: jnp.array(np.stack(a), float), *result)


def check_kinds(n, chosen, shifted, sides):
    result = program(n)(*cases(n, chosen, shifted, sides))
    for name, code in zip(chosen, result.kind.tolist(), strict=True):
        assert K(code) == POLYNOMIALS[name].kind, (name, K(code).label)


@pytest.mark.long
@pytest.mark.parametrize("shifted", [False, True], ids=["at 0", "shifted and reflected"])
def test_polynomials_in_12_dimensions_are_classified(shifted):
    with jax.enable_x64(True):
        check_kinds(12, tuple(POLYNOMIALS), shifted, np.geomspace(1e-2, 10, 10))


# -- products of matrices


def products(w, case):
    """Return the squared distance of a product of matrices from a target matrix.

    The product is u u^T, W2 W1, W3 W2 W1 or W4 W3 W2 W1, selected by a one-hot vector.
    """
    which, target = case
    W = w.reshape(4, 2, 2)
    u = w[:2]
    deep = [W[1] @ W[0]]
    for layer in W[2:]:
        deep.append(layer @ deep[-1])
    tensors = jnp.stack([jnp.outer(u, u), *deep])
    return jnp.sum(which * jnp.sum((tensors - target[None]) ** 2, axis=(1, 2)))


IDENTITY, NONE = np.eye(2), np.zeros((2, 2))
UPPER, LOWER = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
DEFINITE, SINGULAR, MIXED = np.diag([3.0, 1.0]), np.diag([3.0, 0.0]), np.diag([3.0, -1.0])
ROOT = np.diag([3**0.5, 1.0])

# Index of the product, target, layers (u is the first row of the first layer), and kind.
PRODUCTS = {
    "u u, definite, 0": (0, DEFINITE, (NONE,), K.UNDECIDED),  # a maximum, with dead coordinates
    "u u, definite, lowest": (0, DEFINITE, (3**0.5 * UPPER,), K.MANIFOLD_OF_MINIMA),
    "u u, definite, second": (0, DEFINITE, (np.array([[0.0, 1.0], [0, 0]]),), K.SADDLE),
    "u u, singular, 0": (0, SINGULAR, (NONE,), K.DEGENERATE_SADDLE),
    "u u, mixed, 0": (0, MIXED, (NONE,), K.SADDLE),
    "u u, equal, lowest": (0, IDENTITY, (UPPER,), K.MANIFOLD_OF_MINIMA),
    "two layers, 0": (1, DEFINITE, (NONE, NONE), K.SADDLE),
    "two layers, fitted": (1, DEFINITE, (ROOT, ROOT), K.MANIFOLD_OF_MINIMA),
    "two layers, rank 1": (1, DEFINITE, (3**0.5 * UPPER, 3**0.5 * UPPER), K.SADDLE),
    "two layers, smallest singular direction": (1, DEFINITE, (LOWER, LOWER), K.SADDLE),
    "three layers, 0": (2, DEFINITE, (NONE,) * 3, K.DEGENERATE_SADDLE),
    "three layers, fitted": (2, DEFINITE, (IDENTITY, DEFINITE, IDENTITY), K.MANIFOLD_OF_MINIMA),
    "four layers, 0": (3, DEFINITE, (NONE,) * 4, K.DEGENERATE_SADDLE),
    "four layers, fitted": (
        3,
        DEFINITE,
        (IDENTITY, DEFINITE, IDENTITY, IDENTITY),
        K.MANIFOLD_OF_MINIMA,
    ),
}
# These points may be undecided: their nullities are 4 and 8, and paths in the manifold are so
# strongly curved that steps of length 1/8 leave it.
LEVEL_MANY = ("two layers, fitted", "three layers, fitted")


@pytest.mark.long
@pytest.mark.parametrize("x64", [True, False], ids=["float64", "float32"])
def test_products_of_matrices_are_classified(x64):
    """Parameters of layers that a product does not contain are dead.

    Every minimum of a deep linear network is global and lies on a manifold of minima; every other
    critical point is a saddle (Kawaguchi 2016).
    """
    points, chosen, targets = [], [], []
    for which, target, layers, _ in PRODUCTS.values():
        points.append(np.concatenate([*map(np.ravel, layers), np.zeros(4 * (4 - len(layers)))]))
        chosen.append(np.eye(4)[which])
        targets.append(target)
    with jax.enable_x64(x64):
        arguments = [jnp.array(np.stack(a), float) for a in (points, chosen, targets)]
        result = jax.jit(
            jax.vmap(
                lambda w, *case: classify(lambda w: products(w, case), w, key=jax.random.key(0))
            )
        )(*arguments)
    for (name, (which, *_, kind)), code, dead in zip(
        PRODUCTS.items(), result.kind.tolist(), result.dead.tolist(), strict=True
    ):
        assert dead == (14, 8, 4, 0)[which], name
        allowed = {kind} if x64 and name not in LEVEL_MANY else {kind, K.UNDECIDED}
        assert K(code) in allowed, (name, K(code).label)


@pytest.mark.long
def test_a_degenerate_minimum_in_2000_dimensions_with_condition_1e8_is_classified():
    """The polynomial x^2 + y^4 is combined with 1,998 quadratic terms."""
    sides = np.geomspace(1e-8, 1, 1998)
    with jax.enable_x64(True):
        check_kinds(2000, ("x2 + y4",), False, sides)


@pytest.mark.long
@pytest.mark.parametrize("name", ["bowl", "hill", "saddle", "x2 + y4", "x2 - y4"])
def test_polynomials_have_the_expected_kinds_above_the_dense_limit(name, monkeypatch):
    monkeypatch.setattr(sys.modules["gdjax.critical_points.classify"], "DENSE", 30)
    with jax.enable_x64(True):
        check_kinds(40, (name,), True, np.geomspace(0.1, 1, 38))
