"""Classification of polynomials and matrix products with known critical points.

One family consists of polynomials of two reflected and shifted coordinates, with quadratic terms of
known curvature in the other coordinates. The other consists of products of matrices, whose fibers
are manifolds of minima. One compiled program classifies all points of equal dimension and precision
in a family.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points_of_known_kind import BENT_SADDLE, TABLE, Known, Variant, case, cost

from gdjax.curvature.critical_points.classify import Kind, classify

K = Kind

# Polynomials with one kind at 0 if the curvatures along other coordinates are positive or negative.
POSITIVE = (
    *("bowl 1 and 1000", "bowl with eigenvalue ratio 1e-08", "saddle 1"),
    *("saddle with eigenvalue ratio -1e-08", "x^2 + y^4", "x^2 - y^4", "x^2 - y^3 + y^4"),
    *("(y - x^2)(y - 2 x^2)", "(y - x^2)^2 + x^4", "(y - x^2)^2", "(1 + x^2) y^2"),
)
POLYNOMIALS = {name: (TABLE[name], 1) for name in POSITIVE}
POLYNOMIALS |= {name: (TABLE[name], -1) for name in ("hill", "-x^2 - y^4")}
POLYNOMIALS["-x^2 + y^3"] = (Known({(2, 0): -1, (0, 3): 1}, BENT_SADDLE), -1)


def extended(w, case):
    """Return the cost of a polynomial of two coordinates with quadratic terms of the others."""
    polynomial, sides, direction, offset = case
    # A reflection takes O(n) operations, and a general rotation O(n^2).
    z = w - 2 * direction * (direction @ w) - offset
    return cost(z[:2], polynomial) + sides @ z[2:] ** 2 / 2


@jax.jit
@jax.vmap
def classify_extended(w, case):
    return classify(lambda w: extended(w, case), w, key=jax.random.key(3))


def check_kinds(n, names, shifted, sides):
    rng, cases = np.random.default_rng(n), []
    for name in names:
        known, sign = POLYNOMIALS[name]
        direction, w = rng.normal(size=(2, n)) * (1.0 if shifted else 0.0)
        direction = direction / max(np.linalg.norm(direction), 1)
        offset = w - 2 * direction * (direction @ w)
        _, polynomial = case(known, Variant(), np.zeros(2))
        cases.append((w, (polynomial, sign * sides, direction, offset)))
    stacked = jax.tree.map(lambda *leaves: jnp.array(np.stack(leaves)), *cases)
    for name, code in zip(names, classify_extended(*stacked).kind.tolist(), strict=True):
        assert POLYNOMIALS[name][0].names == {K(code)}, (name, K(code).label)


@pytest.mark.parametrize("shifted", [False, True], ids=["at 0", "shifted and reflected"])
def test_polynomials_in_12_dimensions_are_classified(shifted):
    with jax.enable_x64(True):
        check_kinds(12, tuple(POLYNOMIALS), shifted, np.geomspace(1e-2, 10, 10))


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
MANIFOLD = K.MANIFOLD_OF_MINIMA

# Index of the product, target, layers (u is the first row of the first layer), and kind.
PRODUCTS = {
    "u u, definite, 0": (0, DEFINITE, (NONE,), K.UNDECIDED),  # a maximum, with dead coordinates
    "u u, definite, lowest": (0, DEFINITE, (3**0.5 * UPPER,), MANIFOLD),
    "u u, definite, second": (0, DEFINITE, (np.array([[0.0, 1.0], [0, 0]]),), K.SADDLE),
    "u u, singular, 0": (0, SINGULAR, (NONE,), K.DEGENERATE_SADDLE),
    "u u, mixed, 0": (0, MIXED, (NONE,), K.SADDLE),
    "u u, equal, lowest": (0, IDENTITY, (UPPER,), MANIFOLD),
    "two layers, 0": (1, DEFINITE, (NONE, NONE), K.SADDLE),
    "two layers, fitted": (1, DEFINITE, (ROOT, ROOT), MANIFOLD),
    "two layers, rank 1": (1, DEFINITE, (3**0.5 * UPPER, 3**0.5 * UPPER), K.SADDLE),
    "two layers, smallest singular direction": (1, DEFINITE, (LOWER, LOWER), K.SADDLE),
    "three layers, 0": (2, DEFINITE, (NONE,) * 3, K.DEGENERATE_SADDLE),
    "three layers, fitted": (2, DEFINITE, (IDENTITY, DEFINITE, IDENTITY), MANIFOLD),
    "four layers, 0": (3, DEFINITE, (NONE,) * 4, K.DEGENERATE_SADDLE),
    "four layers, fitted": (3, DEFINITE, (IDENTITY, DEFINITE, IDENTITY, IDENTITY), MANIFOLD),
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
        check_kinds(2000, ("x^2 + y^4",), False, sides)


@pytest.mark.long
@pytest.mark.parametrize("name", ["bowl 1 and 1000", "hill", "saddle 1", "x^2 + y^4", "x^2 - y^4"])
def test_polynomials_have_the_expected_kinds_above_the_dense_limit(name, monkeypatch):
    monkeypatch.setattr(sys.modules["gdjax.curvature.critical_points.classify"], "DENSE", 30)
    with jax.enable_x64(True):
        check_kinds(40, (name,), True, np.geomspace(0.1, 1, 38))
