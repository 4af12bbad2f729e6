"""Points whose kind follows from a closed form, and programs that classify them.

    C(w) = P_0(z) + s_1 P_1(z)^2 + s_2 P_2(z)^2 + kinks(z) + c,   z = R w - offset

The P_i are polynomials of two or three variables, and R is a reflection or the identity. The
simplest instance is a bowl:

>>> bowl = Known({(2, 0): 1, (0, 2): 3}, {Kind.STRICT_MINIMUM})
>>> bowl.at
(0.0, 0.0)
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.curvature.critical_points.classify import Kind, classify

K = Kind
DEGREE = 8
MONOMIALS = 6
REFUSALS = frozenset({K.UNDECIDED, K.NOT_STATIONARY, K.NO_DERIVATIVE})
KINKS = {
    "|x|^3": lambda x: jnp.abs(x) ** 3,
    "relu(x - 1.5)^3": lambda x: jax.nn.relu(x - 1.5) ** 3,
    "relu(|x| - 2)^2": lambda x: jax.nn.relu(jnp.abs(x) - 2) ** 2,
    "sigmoid(x)": jax.nn.sigmoid,
    "|x|": jnp.abs,
    "x |x|": lambda x: x * jnp.abs(x),
    "x |x|^3": lambda x: x * jnp.abs(x) ** 3,
}


class Known(NamedTuple):
    """A function, one of its points, and the kinds that are correct for it.

    Args:
        terms: P_0 as {exponents: coefficient}.
        names: kinds that are correct; the kinds in `REFUSALS` are allowed for all points.
        squares: pairs (s, P), at most two.
        kinks: coefficients of the functions in `KINKS`, which depend on the first variable.
        at: coordinates z of the point.
        offsets: largest offset at which these kinds are correct. At 1e4 a float32 coordinate is
            rounded to 1e-3, and the rounded point may be of another kind.
    """

    terms: dict
    names: set
    squares: tuple = ()
    kinks: Mapping = MappingProxyType({})
    at: tuple = (0.0, 0.0)
    offsets: float = 1e4


class Variant(NamedTuple):
    """Reflection of a function, equal shift of all coordinates, and added constant."""

    reflected: bool = False
    offset: float = 0.0
    constant: float = 0.0


VARIANTS = (
    Variant(),
    Variant(reflected=True),
    Variant(constant=5.0),
    Variant(reflected=True, constant=5.0),
    Variant(offset=1.0),
    Variant(offset=100.0),
    Variant(offset=2000.0),
    Variant(offset=1e4),
    Variant(reflected=True, offset=1.0),
    Variant(reflected=True, offset=100.0, constant=-3.0),
    Variant(reflected=True, offset=1e4),
    Variant(offset=10.0, constant=5.0),
    Variant(offset=1000.0, constant=-5.0),
    Variant(reflected=True, offset=10.0),
    Variant(reflected=True, offset=1000.0, constant=1.0),
    Variant(reflected=True, offset=2000.0),
)


MINIMUM, SADDLE, MANIFOLD = {K.STRICT_MINIMUM}, {K.SADDLE}, {K.MANIFOLD_OF_MINIMA}
BENT_SADDLE, BENT_MINIMUM = {K.DEGENERATE_SADDLE}, {K.DEGENERATE_MINIMUM}
SIZES = (1e-6, 1e-3, 1.0, 1e3, 1e6)
ROSENBROCK = ((1, {(0, 0): 1, (1, 0): -1}), (100, {(0, 1): 1, (2, 0): -1}))
HYPERBOLA = ((1, {(1, 1): 1, (0, 0): -1}),)
PARABOLA = ((1, {(0, 1): 1, (2, 0): -1}),)

TABLE = {
    **{f"bowl {a:g}": Known({(2, 0): a / 2, (0, 2): a / 2}, MINIMUM) for a in SIZES},
    **{f"bowl 1 and {a:g}": Known({(2, 0): 0.5, (0, 2): a / 2}, MINIMUM) for a in SIZES if a != 1},
    **{f"saddle {a:g}": Known({(2, 0): a / 2, (0, 2): -a / 2}, SADDLE) for a in SIZES},
    **{
        f"saddle with eigenvalue ratio {r:g}": Known({(2, 0): 0.5, (0, 2): r / 2}, SADDLE)
        for r in (-1e-2, -1e-4, -1e-5, -1e-6, -1e-7, -1e-8)
    },
    **{
        f"bowl with eigenvalue ratio {r:g}": Known({(2, 0): 0.5, (0, 2): r / 2}, MINIMUM)
        for r in (1e-2, 1e-4, 1e-5, 1e-7, 1e-8)
    },
    "1e4 x^2 - 0.4 y^2": Known({(2, 0): 1e4, (0, 2): -0.4}, SADDLE),
    "hill": Known({(2, 0): -1, (0, 2): -3}, {K.STRICT_MAXIMUM}),
    "bowl with terms of order 3 and 4": Known(
        {(2, 0): 1, (0, 2): 2, (3, 0): 5, (1, 2): -7, (0, 4): -3}, MINIMUM
    ),
    "100 (x^2 + y^2)": Known({(2, 0): 100, (0, 2): 100}, MINIMUM),
    "x^2 + y^4": Known({(2, 0): 1, (0, 4): 1}, BENT_MINIMUM),
    "x^2 - y^4": Known({(2, 0): 1, (0, 4): -1}, BENT_SADDLE),
    "1e8 x^2 + y^4": Known({(2, 0): 1e8, (0, 4): 1}, BENT_MINIMUM),
    "1e8 x^2 - y^4": Known({(2, 0): 1e8, (0, 4): -1}, BENT_SADDLE),
    "-x^2 - y^4": Known({(2, 0): -1, (0, 4): -1}, {K.DEGENERATE_MAXIMUM}),
    "-x^2 + y^4": Known({(2, 0): -1, (0, 4): 1}, BENT_SADDLE),
    "x^2 + y^3": Known({(2, 0): 1, (0, 3): 1}, BENT_SADDLE),
    "x^2 - y^3 + y^4": Known({(2, 0): 1, (0, 3): -1, (0, 4): 1}, BENT_SADDLE),
    "x^2 + y^5": Known({(2, 0): 1, (0, 5): 1}, BENT_SADDLE),
    "x^2 + y^6": Known({(2, 0): 1, (0, 6): 1}, BENT_MINIMUM),
    "x^2 - y^6": Known({(2, 0): 1, (0, 6): -1}, BENT_SADDLE),
    "x^2 + y^8": Known({(2, 0): 1, (0, 8): 1}, BENT_MINIMUM),
    "(y - x^2)(y - 2 x^2)": Known({(0, 2): 1, (2, 1): -3, (4, 0): 2}, BENT_SADDLE),
    "(y - x^2)^2 + x^4": Known({(4, 0): 1}, BENT_MINIMUM, PARABOLA),
    "x^4 + y^4": Known({(4, 0): 1, (0, 4): 1}, BENT_MINIMUM),
    "x^4 - y^4": Known({(4, 0): 1, (0, 4): -1}, BENT_SADDLE),
    "x^6 + y^6": Known({(6, 0): 1, (0, 6): 1}, BENT_MINIMUM),
    "x^6 - y^6": Known({(6, 0): 1, (0, 6): -1}, BENT_SADDLE),
    "x^2 y^2": Known({(2, 2): 1}, {K.DEGENERATE_MINIMUM, K.MANIFOLD_OF_MINIMA}),
    "x^2 y^2 at (1, 0)": Known({(2, 2): 1}, MANIFOLD, at=(1.0, 0.0)),
    "monkey": Known({(3, 0): 1, (1, 2): -3}, BENT_SADDLE),
    # y^2 does not depend on x: x is a dead coordinate, or a flat direction after reflection.
    "y^2": Known({(0, 2): 1}, MANIFOLD),
    "-y^2": Known({(0, 2): -1}, set()),
    "(1 + x^2) y^2": Known({(0, 2): 1, (2, 2): 1}, MANIFOLD),
    "(y - x^2)^2": Known({}, MANIFOLD, PARABOLA),
    "(y - x^2)^2 at (1, 1)": Known({}, MANIFOLD, PARABOLA, at=(1.0, 1.0)),
    **{
        f"(x y - 1)^2 at ({x:g}, {1 / x:g})": Known({}, MANIFOLD, HYPERBOLA, at=(x, 1 / x))
        for x in (1.0, 2.0, -0.5, 8.0, 128.0)
    },
    "(x y - 1)^2 at 0": Known({}, SADDLE, HYPERBOLA),
    "Rosenbrock at (1, 1)": Known({}, MINIMUM, ROSENBROCK, at=(1.0, 1.0)),
    "Rosenbrock at (0, 0)": Known({}, set(), ROSENBROCK),
    "Rosenbrock at (1.1, 1.21)": Known({}, set(), ROSENBROCK, at=(1.1, 1.21)),
    # Functions that are difficult to classify.
    "|x|^3 + y^2": Known({(0, 2): 1}, BENT_MINIMUM, kinks={"|x|^3": 1}),
    **{
        f"x^2 - {a:g} y^2 + y^4": Known({(2, 0): 1, (0, 2): -a, (0, 4): 1}, SADDLE, offsets=100)
        for a in (1e-4, 9e-7, 1e-7, 1e-9, 1e-12, 1e-15)
    },
    **{
        f"x^2 + {a:g} y^2 - y^4": Known({(2, 0): 1, (0, 2): a, (0, 4): -1}, MINIMUM, offsets=100)
        for a in (1e-4, 9e-7, 1e-7, 1e-9, 1e-12, 1e-15)
    },
    **{
        f"sigmoid(x) + y^2 at x = {x:g}": Known(
            {(0, 2): 1}, set(), kinks={"sigmoid(x)": 1}, at=(x, 0.0)
        )
        for x in (0.0, 10.0, 20.0, 40.0)
    },
    "y^2 - relu(x - 1.5)^3": Known({(0, 2): 1}, MANIFOLD, kinks={"relu(x - 1.5)^3": -1}),
    "y^2 + relu(|x| - 2)^2": Known({(0, 2): 1}, MANIFOLD, kinks={"relu(|x| - 2)^2": 1}),
    "y^2 + 1e-8 x^2 at (100, 0)": Known({(2, 0): 1e-8, (0, 2): 1}, set(), at=(100.0, 0.0)),
    "1e-12 (x^2 + y^2) at (1e3, 1e3)": Known({(2, 0): 1e-12, (0, 2): 1e-12}, set(), at=(1e3, 1e3)),
    "1e8 y^2 - 1e-6 x^6": Known({(0, 2): 1e8, (6, 0): -1e-6}, BENT_SADDLE),
    "(y - x^2)^2 - 1e-13 x^8": Known({(8, 0): -1e-13}, BENT_SADDLE, PARABOLA, offsets=1),
    "y^2 - 1e-10 x^6": Known({(0, 2): 1, (6, 0): -1e-10}, BENT_SADDLE),
    # Kinks and plateaus.
    "|x| + y^2": Known({(0, 2): 1}, set(), kinks={"|x|": 1}),
    "1e-4 |x| + x^2 + y^2": Known({(0, 2): 1, (2, 0): 1}, set(), kinks={"|x|": 1e-4}, offsets=1),
    "100 |x| + y^2": Known({(0, 2): 1}, set(), kinks={"|x|": 100}),
    "-|x| + y^2": Known({(0, 2): 1}, set(), kinks={"|x|": -1}),
    "x |x| + y^2": Known({(0, 2): 1}, set(), kinks={"x |x|": 1}),
    "x |x|^3 + y^2": Known({(0, 2): 1}, BENT_SADDLE, kinks={"x |x|^3": 1}),
    "constant": Known({}, {K.FLAT}),
    # Three variables.
    "x y z": Known({(1, 1, 1): 1}, BENT_SADDLE, at=(0.0,) * 3),
    "x y z at (1, 0, 0)": Known({(1, 1, 1): 1}, SADDLE, at=(1.0, 0.0, 0.0)),
    "x^2 + y^2 + z^4": Known({(2, 0, 0): 1, (0, 2, 0): 1, (0, 0, 4): 1}, BENT_MINIMUM, at=(0,) * 3),
    "x^2 + y^4 + z^4": Known({(2, 0, 0): 1, (0, 4, 0): 1, (0, 0, 4): 1}, BENT_MINIMUM, at=(0,) * 3),
    "x^2 + y^4 - z^4": Known({(2, 0, 0): 1, (0, 4, 0): 1, (0, 0, 4): -1}, BENT_SADDLE, at=(0,) * 3),
    "x^2 + y^4, z dead": Known({(2, 0, 0): 1, (0, 4, 0): 1}, BENT_MINIMUM, at=(0,) * 3),
    "x^2 - y^2, z dead": Known({(2, 0, 0): 1, (0, 2, 0): -1}, SADDLE, at=(0,) * 3),
    "x^2 + y^2, z dead": Known({(2, 0, 0): 1, (0, 2, 0): 1}, MANIFOLD, at=(0,) * 3),
}


def tabulated(terms):
    """Return exponents and coefficients, padded with zeros to a common length."""
    exponents, coefficients = np.zeros((MONOMIALS, 3), int), np.zeros(MONOMIALS)
    for row, (powers, coefficient) in enumerate(terms.items()):
        exponents[row, : len(powers)], coefficients[row] = powers, coefficient
    return exponents, coefficients


def case(known: Known, variant: Variant, direction):
    """Return the point w and the arrays that define the cost, in float64."""
    n = len(known.at)
    direction = np.asarray(direction, float)[:n] * variant.reflected
    direction = direction / max(np.linalg.norm(direction), 1e-300)
    squares = [*known.squares, *[(0.0, {})] * (2 - len(known.squares))]
    tables = [tabulated(terms) for terms in (known.terms, *(terms for _, terms in squares))]
    shifted = np.asarray(known.at, float) + variant.offset
    w = shifted - 2 * direction * (direction @ shifted)
    return w, {
        "exponents": np.stack([exponents for exponents, _ in tables]),
        "coefficients": np.stack([coefficients for _, coefficients in tables]),
        "squared": np.array([s for s, _ in squares], float),
        "kinks": np.array([known.kinks.get(name, 0.0) for name in KINKS], float),
        "direction": direction,
        "offset": np.full(n, variant.offset),
        "constant": np.array(variant.constant),
    }


def cost(w, case):
    z = w - 2 * case["direction"] * (case["direction"] @ w) - case["offset"]
    powers = [jnp.ones_like(z)]
    for _ in range(DEGREE):
        powers.append(powers[-1] * z)
    powers = jnp.stack(powers)
    factors = [powers[case["exponents"][..., i], i] for i in range(z.size)]
    polynomials = jnp.sum(case["coefficients"] * jnp.prod(jnp.stack(factors), axis=0), axis=1)
    kinks = jnp.stack([kink(z[0]) for kink in KINKS.values()])
    value = polynomials[0] + case["squared"] @ polynomials[1:] ** 2 + case["kinks"] @ kinks
    return value + case["constant"]


@jax.jit
@jax.vmap
def classify_cases(w, case):
    return classify(lambda w: cost(w, case), w, key=jax.random.key(3))


def classifications(cases):
    """Return classifications for a list of results of `case`, in the default float type."""
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *cases)
    return jax.tree.map(np.asarray, classify_cases(*stacked))
