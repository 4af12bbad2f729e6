"""Test functions of one and two parameters, with their critical points.

    minimize f(x),   x in a box,   with all isolated solutions of grad f(x) = 0 known

The functions can be plotted, and the end point of a descent can be compared with the known points.
`from_function` returns a Problem for one of them, or for a custom function.

>>> FUNCTIONS["himmelblau"].minima[0]
CriticalPoint(x=(3.0, 2.0), value=0.0, kind='minimum')
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar, ScalarLike

from gdjax.base.arguments import check_choice, real_array
from gdjax.base.errors import InputError
from gdjax.problems import critical_points as points
from gdjax.problems.critical_points import CriticalPoint
from gdjax.problems.problem import Problem


@dataclass(frozen=True, eq=False)
class TestFunction:
    """A test function of one or two parameters, with its domain and critical points.

    Args:
        name: name of the function in `FUNCTIONS` and for `from_function`.
        f: function `f(x) -> scalar`, with x a scalar array in 1-D and a vector of two in 2-D.
        domain: bounds `((lo, hi),)` in 1-D, `((lo, hi), (lo, hi))` in 2-D.
        critical_points: all isolated critical points in the domain, for the default settings of
            `f`. "two_factors" also lists points that are not isolated.
        formula: formula in mathtext, for titles.
        source: reference to the literature.
    """

    __test__ = False  # pytest would collect the class, whose name begins with "Test"
    name: str
    f: Callable[..., Scalar]
    domain: tuple[tuple[float, float], ...]
    critical_points: tuple[CriticalPoint, ...]
    formula: str
    source: str

    @property
    def minima(self) -> tuple[CriticalPoint, ...]:
        """Strict minima, lowest first."""
        minima = [point for point in self.critical_points if point.kind == points.MINIMUM]
        return tuple(sorted(minima, key=lambda point: point.value))


_functions: dict[str, TestFunction] = {}
FUNCTIONS: Mapping[str, TestFunction] = MappingProxyType(_functions)


def _registered(domain, critical_points, formula, source):
    """Return a decorator that adds a function to `FUNCTIONS`."""

    def register(f):
        _functions[f.__name__] = TestFunction(
            f.__name__, f, domain, critical_points, formula, source
        )
        return f

    return register


@_registered(((-2.5, 2.5),), points.QUARTIC, r"$x^4 - 4x^2 + x$", "the tilted double well")
def quartic(x: Float[Array, ""]) -> Float[Array, ""]:
    return x**4 - 4 * x**2 + x


@_registered(
    ((-10.0, 10.0),),
    points.SINE_BOWL,
    r"$x^2 + 10 \sin x$",
    "SciPy lecture notes, chapter on optimization",
)
def sine_bowl(x: Float[Array, ""]) -> Float[Array, ""]:
    return x**2 + 10 * jnp.sin(x)


@_registered(
    ((2.7, 7.5),),
    points.TWO_SINES,
    r"$\sin x + \sin \frac{10}{3} x$",
    "Gavana, Global Optimization Benchmarks, univariate problem 2",
)
def two_sines(x: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.sin(x) + jnp.sin(10 * x / 3)


@_registered(
    ((-2.0, 2.0), (-1.0, 3.0)),
    points.ROSENBROCK,
    r"$(1 - x)^2 + 100\,(y - x^2)^2$",
    "Rosenbrock 1960, The Computer Journal 3, 175",
)
def rosenbrock(w: Float[Array, "2"]) -> Float[Array, ""]:
    x, y = w
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@_registered(
    ((-6.0, 6.0), (-6.0, 6.0)),
    points.HIMMELBLAU,
    r"$(x^2 + y - 11)^2 + (x + y^2 - 7)^2$",
    "Himmelblau 1972, Applied Nonlinear Programming",
)
def himmelblau(w: Float[Array, "2"]) -> Float[Array, ""]:
    x, y = w
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@_registered(
    ((-4.5, 4.5), (-4.5, 4.5)),
    points.BEALE,
    r"$(1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2$",
    "Beale 1958, On an iterative method for finding a local minimum",
)
def beale(w: Float[Array, "2"]) -> Float[Array, ""]:
    x, y = w
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


@_registered(
    ((-5.12, 5.12), (-5.12, 5.12)),
    points.RASTRIGIN,
    r"$20 + x^2 - 10 \cos 2\pi x + y^2 - 10 \cos 2\pi y$",
    "Rastrigin 1974, Systems of Extremal Control",
)
def rastrigin(w: Float[Array, "2"]) -> Float[Array, ""]:
    return jnp.sum(w**2 + 10 * (1 - jnp.cos(2 * jnp.pi * w)))


@_registered(
    ((-3.0, 3.0), (-2.0, 2.0)),
    points.SIX_HUMP_CAMEL,
    r"$(4 - 2.1x^2 + x^4/3)\,x^2 + xy + (4y^2 - 4)\,y^2$",
    "Dixon & Szego 1978, Towards Global Optimisation 2",
)
def six_hump_camel(w: Float[Array, "2"]) -> Float[Array, ""]:
    x, y = w
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


@_registered(
    ((-5.0, 5.0), (-5.0, 5.0)),
    points.STYBLINSKI_TANG,
    r"$\frac{1}{2}(x^4 - 16x^2 + 5x + y^4 - 16y^2 + 5y)$",
    "Styblinski & Tang 1990, Neural Networks 3, 467",
)
def styblinski_tang(w: Float[Array, "2"]) -> Float[Array, ""]:
    return jnp.sum(w**4 - 16 * w**2 + 5 * w) / 2


@_registered(
    ((-2.5, 2.5), (-2.5, 2.5)),
    points.ACKLEY,
    r"$20 + e - 20\,e^{-0.2\sqrt{(x^2 + y^2)/2}}"
    r" - e^{(\cos 2\pi x + \cos 2\pi y)/2}$",
    "Ackley 1987, A Connectionist Machine for Genetic Hillclimbing",
)
def ackley(w: Float[Array, "2"]) -> Float[Array, ""]:
    """Return the Ackley function, which is a cone near its minimum 0.

        -20 e^(-r/5) - e^(mean cos 2 pi w) + 20 + e,   r the root mean square of w

    The cone has the slope 2 sqrt(2). At 0 the function is not differentiable, and the textbook
    expression gives NaN. Here the gradient at 0 is the subgradient 0, and the Hessian is that of
    the second term, 2 pi^2 e I. The sum is evaluated in a form that avoids cancellation near the
    minimum.
    """
    square = jnp.mean(w**2)
    away = square > 0
    # Both branches of a `where` are differentiated, so the argument of the root must not be zero.
    r = jnp.where(away, jnp.sqrt(jnp.where(away, square, 1)), 0)
    wave = -2 * jnp.mean(jnp.sin(jnp.pi * w) ** 2)  # mean cos(2 pi w) - 1
    return -20 * jnp.expm1(-r / 5) - jnp.e * jnp.expm1(wave)


@_registered(
    ((-2.0, 2.0), (-2.0, 2.0)),
    points.GOLDSTEIN_PRICE,
    r"$(1 + (x + y + 1)^2\,(19 - 14x + 3x^2 - 14y + 6xy + 3y^2))"
    r"\,(30 + (2x - 3y)^2\,(18 - 32x + 12x^2 + 48y - 36xy + 27y^2))$",
    "Goldstein & Price 1971, Mathematics of Computation 25, 569",
)
def goldstein_price(w: Float[Array, "2"]) -> Float[Array, ""]:
    x, y = w
    a = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    b = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return (1 + (x + y + 1) ** 2 * a) * (30 + (2 * x - 3 * y) ** 2 * b)


@_registered(
    ((-1.5, 1.5), (-1.5, 1.5)),
    points.MONKEY_SADDLE,
    r"$x^3 - 3xy^2$",
    "Hilbert & Cohn-Vossen 1932, Anschauliche Geometrie",
)
def monkey_saddle(w: Float[Array, "2"]) -> Float[Array, ""]:
    """Return x^3 - 3 x y^2, whose gradient and Hessian are zero at 0."""
    x, y = w
    return x**3 - 3 * x * y**2


@_registered(
    ((-2.0, 2.0), (-2.0, 2.0)),
    points.TWO_FACTORS,
    r"$\frac{1}{2}(s - ab)^2$",
    "Saxe, McClelland & Ganguli 2014, arXiv 1312.6120",
)
def two_factors(w: Float[Array, "2"], *, target: ScalarLike = 1.0) -> Float[Array, ""]:
    """Return (target - ab)^2 / 2, the cost of a linear network with two weights.

    Each of the two layers has one weight. The minima form the hyperbola ab = target, where the
    eigenvalues of the Hessian are 0 and a^2 + b^2 >= 2 target. The listed critical points are the
    saddle at 0 and the two flattest minima, whose kind is "degenerate".
    """
    a, b = w
    return (target - a * b) ** 2 / 2


def from_function(
    name: str | Callable[..., Scalar], domain: Sequence | ArrayLike | None = None
) -> Problem:
    """Return the problem of a test function with starting points in its domain.

        minimize f(x),   x_0 uniform in the domain

    Args:
        name: name of a registered function, one of `FUNCTIONS`, or a custom `f(x) -> scalar`.
            Keyword-only arguments of f can be swept.
        domain: box of the starting points: `(lo, hi)` for scalar x, `((lo, hi), ...)` with one pair
            per coordinate for a vector. None for the domain of a registered function.

    Examples:
        >>> problem = from_function(lambda x: x**4 - x, domain=(-2, 2))
        >>> problem.init(jax.random.key(0)).shape
        ()
        >>> from_function("himmelblau").cost(jnp.array([3.0, 2.0]))
        Array(0., dtype=float32)
    """
    if callable(name):
        return Problem(init=_uniform(_bounds(domain)), cost=name)

    check_choice("name", name, FUNCTIONS)
    known = FUNCTIONS[name]
    dimensions = len(known.domain)
    provenance = {"problem": "from_function", "name": name}
    bounds = np.atleast_2d(_bounds(known.domain if domain is None else domain))
    if domain is not None:
        provenance["domain"] = bounds.tolist()
    if len(bounds) != dimensions:
        raise InputError(
            f"from_function: domain = {domain!r} has {len(bounds)} pairs, but {name!r} has "
            f"{dimensions} coordinates; pass {dimensions} pairs (lo, hi)"
        )
    return Problem(
        init=_uniform(bounds[0] if dimensions == 1 else bounds), cost=known.f, provenance=provenance
    )


def _uniform(bounds):
    """Return an `init` that draws uniformly from bounds of shape (2,) or (n, 2)."""
    lo, hi = bounds[..., 0], bounds[..., 1]

    def init(key):
        return jax.random.uniform(key, lo.shape, minval=lo, maxval=hi)

    return init


def _bounds(domain):
    """Return pairs (lo, hi) as an array of shape (2,) or (n, 2)."""
    bounds = real_array(domain)
    if bounds is not None and bounds.ndim in (1, 2) and bounds.shape[-1] == 2 and bounds.size:
        lo, hi = bounds[..., 0], bounds[..., 1]
        if np.isfinite(bounds).all() and (lo < hi).all():
            return bounds.astype(float)
    raise InputError(
        f"from_function: domain = {domain!r:.80}, expected (lo, hi) for a scalar x, or "
        f"((lo, hi), ...) with one pair per coordinate, finite and with lo < hi"
    )
