"""Test functions: textbook formulas, lists of critical points, and user-defined functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from gdjax.problems.facts import check_problem
from gdjax.problems.keywords import declared
from gdjax.problems.test_functions import FUNCTIONS, from_function

NAMES = tuple(FUNCTIONS)


@pytest.mark.usefixtures("float64")
def test_ackley_equals_the_textbook_formula():
    w = np.random.default_rng(0).uniform(-2.5, 2.5, (100, 2))
    root = np.sqrt(np.mean(w**2, axis=1))
    waves = np.mean(np.cos(2 * np.pi * w), axis=1)
    textbook = -20 * np.exp(-0.2 * root) - np.exp(waves) + 20 + np.e
    np.testing.assert_allclose(calculus("ackley", w)[0], textbook, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float64")
def test_ackley_is_a_cone_at_zero():
    angles = np.linspace(0, 2 * np.pi, 9)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    slope = calculus("ackley", 1e-7 * directions)[0] / 1e-7
    np.testing.assert_allclose(slope, 2 * np.sqrt(2), rtol=1e-5)

    value, gradient = jax.jit(jax.value_and_grad(FUNCTIONS["ackley"].f))(np.zeros(2))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(2))
    hessian = calculus("ackley", np.zeros((1, 2)))[2][0]
    np.testing.assert_allclose(hessian, 2 * np.pi**2 * np.e * np.eye(2), rtol=1e-14)


def test_ackley_has_a_finite_gradient_down_to_the_smallest_float32():
    w = jnp.array([[0.0, 0.0], [1e-45, 0.0], [1e-38, -1e-30], [1e-22, 1e-22], [1e-19, 1e-10]])
    assert w.dtype == jnp.float32
    gradient = jax.jit(jax.vmap(jax.grad(FUNCTIONS["ackley"].f)))(w)
    assert jnp.isfinite(gradient).all()
    assert (jnp.linalg.norm(gradient, axis=1) < 3).all()


@pytest.mark.usefixtures("float64")
def test_the_hessian_of_two_factors_equals_the_formula():
    w = np.random.default_rng(0).uniform(-2, 2, (20, 2))
    x, y = w.T
    known = np.array([[y**2, 2 * x * y - 1], [2 * x * y - 1, x**2]])
    np.testing.assert_allclose(calculus("two_factors", w)[2], np.moveaxis(known, -1, 0), atol=1e-13)

    hyperbola = np.stack([x, 1 / x], axis=1)
    eigenvalues = np.linalg.eigvalsh(calculus("two_factors", hyperbola)[2])
    np.testing.assert_allclose(calculus("two_factors", hyperbola)[0], 0, atol=1e-25)
    np.testing.assert_allclose(eigenvalues[:, 0] / eigenvalues[:, 1], 0, atol=1e-14)
    np.testing.assert_allclose(eigenvalues[:, 1], (hyperbola**2).sum(axis=1), rtol=1e-13)
    assert (eigenvalues[:, 1] >= 2).all()  # so no learning rate above 1 is stable


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_preserved_and_agrees_with_float64(name):
    problem = from_function(name)
    w = np.asarray(jax.jit(jax.vmap(problem.init))(jax.random.split(jax.random.key(0), 50)))
    assert w.dtype == np.float64
    cost = jax.jit(jax.vmap(problem.cost))
    single, double = cost(w.astype(np.float32)), cost(w)
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(single, double, rtol=0, atol=3e-6 * np.abs(double).max())


@pytest.mark.parametrize("name", NAMES)
def test_the_formula_can_be_rendered(name):
    MathTextParser("path").parse(FUNCTIONS[name].formula)


def test_listed_minima_are_sorted_and_strict():
    assert [point.value for point in FUNCTIONS["goldstein_price"].minima] == [3, 30, 84, 840]
    assert FUNCTIONS["monkey_saddle"].minima == ()


@pytest.mark.parametrize("name", NAMES)
def test_starts_are_uniform_in_the_domain(name):
    problem = from_function(name)
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 4096))
    domain = np.array(FUNCTIONS[name].domain)
    assert starts.shape == ((4096,) if len(FUNCTIONS[name].domain) == 1 else (4096, 2))
    assert starts.dtype == jnp.float32
    lo, hi = domain.T
    u = (np.asarray(starts, float).reshape(4096, -1) - lo) / (hi - lo)
    assert u.min() > -1e-6
    assert u.max() < 1 + 1e-6
    # The empirical distribution of n uniform numbers is within 2 / sqrt(n) of uniform in all but
    # 7 of 10,000 cases.
    ranks = (np.arange(4096) + 0.5) / 4096
    assert np.abs(np.sort(u, axis=0) - ranks[:, None]).max() < 2 / np.sqrt(4096)
    check_problem(problem, starts[0])


@pytest.mark.parametrize(
    ("domain", "shape"),
    [((-2, 2), ()), ([[-1, 1]], (1,)), (np.array([[0, 1], [2, 3], [4, 5]]), (3,))],
)
def test_a_problem_is_created_from_a_user_defined_function(domain, shape):
    def f(x, *, eps=0.25):
        return jnp.sum(x**4 - eps * x)

    for cost, eps in ((f, 0.25), (functools.partial(f, eps=0.5), 0.5)):
        problem = from_function(cost, domain)
        assert problem.cost is cost
        assert problem.provenance is None
        assert declared(problem.cost) == {"eps": eps}
        assert float(problem.cost(jnp.ones(shape))) == np.prod(shape) * (1 - eps)
        start = problem.init(jax.random.key(0))
        assert start.shape == shape
        lo, hi = np.moveaxis(np.array(domain), -1, 0)
        assert ((start >= lo) & (start <= hi)).all()
        check_problem(problem, start)


SURFACES = tuple(name for name in NAMES if len(FUNCTIONS[name].domain) == 2)

# Published or independently computed values, to the digits given in their sources.
KNOWN_POINTS = [
    ("quartic", "minimum", -1.47299760, -5.44419),
    ("quartic", "minimum", 1.34699741, -2.61856),
    ("quartic", "maximum", 0.12600019, None),
    ("sine_bowl", "minimum", -1.30644001, -7.94582),
    ("sine_bowl", "minimum", 3.83746711, 8.31559),
    ("sine_bowl", "maximum", 1.97738303, None),
    ("two_sines", "minimum", 3.38725172, -1.19992),
    ("two_sines", "minimum", 5.14573529, -1.89960),
    ("two_sines", "minimum", 7.00014912, -0.31700),
    ("two_sines", "maximum", 4.19659627, None),
    ("two_sines", "maximum", 6.21730885, None),
    ("rosenbrock", "minimum", (1, 1), 0),
    ("himmelblau", "minimum", (3, 2), 0),
    ("himmelblau", "minimum", (3.58442834, -1.84812653), 0),
    ("himmelblau", "minimum", (-2.80511809, 3.13131252), 0),
    ("himmelblau", "minimum", (-3.77931025, -3.28318599), 0),
    ("himmelblau", "maximum", (-0.27084459, -0.92303856), 181.61652),
    ("beale", "minimum", (3, 0.5), 0),
    ("beale", "saddle", (0, 1), 14.203125),
    ("beale", "saddle", (0.10053794, -2.64451359), None),
    ("six_hump_camel", "minimum", (0.08984201, -0.71265640), -1.03163),
    ("six_hump_camel", "minimum", (-0.08984201, 0.71265640), -1.03163),
    ("styblinski_tang", "minimum", (-2.90353403, -2.90353403), 2 * -39.166166),
    ("ackley", "minimum", (0, 0), 0),
    ("goldstein_price", "minimum", (0, -1), 3),
    ("goldstein_price", "minimum", (-0.6, -0.4), 30),
    ("goldstein_price", "minimum", (1.8, 0.2), 84),
    ("goldstein_price", "minimum", (1.2, 0.8), 840),
    ("monkey_saddle", "degenerate", (0, 0), 0),
]


@functools.cache
def _calculus(name):
    """Return a function from points [n, d] to values, gradients and Hessians."""
    f = FUNCTIONS[name].f
    g = f if name in SURFACES else lambda w: f(w[0])
    return jax.jit(jax.vmap(lambda w: (g(w), jax.grad(g)(w), jax.hessian(g)(w))))


def calculus(name, points):
    return tuple(np.asarray(array) for array in _calculus(name)(np.asarray(points)))


def newton(name, points, steps=60, reach=0.3):
    """Return the results of Newton's method, and which of them converged."""
    points = np.array(points)
    for _ in range(steps):
        _, gradient, hessian = calculus(name, points)
        step = np.einsum("nij,nj->ni", np.linalg.pinv(hessian, hermitian=True), gradient)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points -= step * np.minimum(1, reach / np.maximum(length, 1e-300))
        if length.max() < 1e-14:
            break
    return points, length[:, 0] < 1e-10


def listed(name):
    points = FUNCTIONS[name].critical_points
    return np.array([point.x for point in points]).reshape(len(points), -1)


def inside(name, points):
    lo, hi = np.array(FUNCTIONS[name].domain).T
    return ((points >= lo) & (points <= hi)).all(axis=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_listed_points_are_critical(name):
    x = listed(name)
    value, gradient, hessian = calculus(name, x)
    eigenvalues = np.linalg.eigvalsh(hessian)
    scale = 1 + np.abs(eigenvalues).max(axis=1)

    assert inside(name, x).all()
    assert len(set(FUNCTIONS[name].critical_points)) == len(x)
    assert (np.linalg.norm(gradient, axis=1) <= 1e-13 * scale).all()
    np.testing.assert_allclose(newton(name, x)[0], x, rtol=0, atol=1e-13)
    listed_values = [point.value for point in FUNCTIONS[name].critical_points]
    np.testing.assert_allclose(value, listed_values, rtol=1e-13, atol=1e-13)

    kinds = {(True, False): "minimum", (False, True): "maximum", (True, True): "saddle"}
    for point, spectrum in zip(FUNCTIONS[name].critical_points, eigenvalues, strict=True):
        flat = np.abs(spectrum).min() < 1e-12
        # No point is nearly degenerate: the smallest nonzero |eigenvalue| is Beale's 0.30146.
        assert flat or np.abs(spectrum).min() > 0.1
        signs = (bool((spectrum > 0).any()), bool((spectrum < 0).any()))
        assert point.kind == ("degenerate" if flat else kinds[signs])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_no_critical_point_is_missing(name):
    # Newton's method from many starts finds exactly the listed points.
    sides = [np.linspace(lo, hi, 41) for lo, hi in FUNCTIONS[name].domain]
    starts = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, len(sides))
    ends, arrived = newton(name, starts)
    result = ends[arrived & inside(name, ends)]
    if name == "two_factors":  # its minima form a hyperbola
        minima = np.abs(result[:, 0] * result[:, 1] - 1) < 1e-6
        assert minima.sum() > 100
        result = result[~minima]
    distance = np.linalg.norm(result[:, None] - listed(name)[None], axis=-1)

    np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-8)
    if name != "two_factors":
        np.testing.assert_allclose(distance.min(axis=0), 0, atol=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SURFACES])
def test_the_derivative_changes_sign_only_at_the_listed_points(name):
    ((lo, hi),) = FUNCTIONS[name].domain
    _, slope, _ = calculus(name, np.linspace(lo, hi, 20_001)[:, None])
    assert np.count_nonzero(np.diff(np.sign(slope[:, 0]))) == len(listed(name))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [name for name in SURFACES if name != "two_factors"])
def test_the_winding_number_of_the_gradient_is_that_of_the_listed_points(name):
    # By the index theorem, along the boundary of a region the gradient makes one positive turn for
    # every minimum or maximum inside and one negative turn for every saddle (two for the monkey
    # saddle). This check does not depend on a search. The hyperbola of minima of "two_factors"
    # leaves the domain, so this function is excluded.
    index = {"minimum": 1, "maximum": 1, "saddle": -1, "degenerate": -2}
    (left, right), (bottom, top) = FUNCTIONS[name].domain
    corners = np.array([(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)])
    # If a narrow valley crosses the boundary, the gradient turns within a millionth of the path.
    steps = 800_000 if name in ("rosenbrock", "beale") else 8_000
    t = np.linspace(0, 4, steps + 1)
    walk = np.stack([np.interp(t, range(5), corners[:, axis]) for axis in (0, 1)], axis=1)
    _, gradient, _ = calculus(name, walk)
    turns = np.diff(np.unwrap(np.arctan2(gradient[:, 1], gradient[:, 0])))
    assert np.abs(turns).max() < np.pi / 2
    assert turns.sum() / (2 * np.pi) == pytest.approx(
        sum(index[point.kind] for point in FUNCTIONS[name].critical_points), abs=1e-6
    )


@pytest.mark.parametrize(("name", "kind", "x", "value"), KNOWN_POINTS)
def test_known_points_are_listed(name, kind, x, value):
    nearest = min(
        FUNCTIONS[name].critical_points,
        key=lambda point: np.linalg.norm(np.subtract(point.x, x)),
    )
    np.testing.assert_allclose(nearest.x, x, rtol=0, atol=6e-9)
    assert nearest.kind == kind
    if value is not None:
        assert nearest.value == pytest.approx(value, abs=6e-6)


def test_coordinates_of_the_minima_of_rastrigin_have_known_absolute_values():
    offsets = np.array([0, 0.99495864, 1.98991223, 2.98485570, 3.97978386, 4.97469139])
    result = np.unique([np.abs(point.x) for point in FUNCTIONS["rastrigin"].minima])
    np.testing.assert_allclose(result, offsets, rtol=0, atol=6e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "x", "spectrum"),
    [
        ("rosenbrock", (1, 1), (0.39936, 1001.60064)),
        ("beale", (3, 0.5), (0.30146, 48.97979)),
        ("rastrigin", (0, 0), (2 + 40 * np.pi**2, 2 + 40 * np.pi**2)),
        ("himmelblau", (3, 2), (None, 82.284)),
        ("himmelblau", (3.58442834, -1.84812653), (None, 105.419)),
        ("himmelblau", (-2.80511809, 3.13131252), (None, 80.550)),
        ("himmelblau", (-3.77931025, -3.28318599), (None, 133.786)),
    ],
)
def test_eigenvalues_at_known_points_equal_published_values(name, x, spectrum):
    eigenvalues = np.linalg.eigvalsh(calculus(name, np.array([x], float))[2][0])
    for eigenvalue, known in zip(eigenvalues, spectrum, strict=True):
        if known is not None:
            assert eigenvalue == pytest.approx(known, abs=6e-4 if known > 1 else 6e-6)
