"""Test functions, compared with textbook formulas, and user-defined functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from gdjax.problems.keywords import declared
from gdjax.problems.test_functions import FUNCTIONS, from_function
from gdjax.problems.validation import check_problem

NAMES = tuple(FUNCTIONS)


def values(name, points):
    return np.asarray(jax.jit(jax.vmap(FUNCTIONS[name].f))(points))


def hessians(name, points):
    return np.asarray(jax.jit(jax.vmap(jax.hessian(FUNCTIONS[name].f)))(jnp.asarray(points)))


@pytest.mark.usefixtures("float64")
def test_ackley_equals_the_textbook_formula():
    w = np.random.default_rng(0).uniform(-2.5, 2.5, (100, 2))
    root = np.sqrt(np.mean(w**2, axis=1))
    waves = np.mean(np.cos(2 * np.pi * w), axis=1)
    textbook = -20 * np.exp(-0.2 * root) - np.exp(waves) + 20 + np.e
    np.testing.assert_allclose(values("ackley", w), textbook, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float64")
def test_ackley_is_a_cone_at_zero():
    angles = np.linspace(0, 2 * np.pi, 9)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    slope = values("ackley", 1e-7 * directions) / 1e-7
    np.testing.assert_allclose(slope, 2 * np.sqrt(2), rtol=1e-5)

    value, gradient = jax.jit(jax.value_and_grad(FUNCTIONS["ackley"].f))(np.zeros(2))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(2))
    hessian = hessians("ackley", np.zeros((1, 2)))[0]
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
    np.testing.assert_allclose(hessians("two_factors", w), np.moveaxis(known, -1, 0), atol=1e-13)

    hyperbola = np.stack([x, 1 / x], axis=1)
    eigenvalues = np.linalg.eigvalsh(hessians("two_factors", hyperbola))
    np.testing.assert_allclose(values("two_factors", hyperbola), 0, atol=1e-25)
    np.testing.assert_allclose(eigenvalues[:, 0] / eigenvalues[:, 1], 0, atol=1e-14)
    np.testing.assert_allclose(eigenvalues[:, 1], (hyperbola**2).sum(axis=1), rtol=1e-13)
    assert (eigenvalues[:, 1] >= 2).all()  # so no learning rate above 1 is stable


def test_two_factors_accepts_another_target():
    f = FUNCTIONS["two_factors"].f
    assert float(f(jnp.array([1.5, 2.0]), target=3.0)) == 0
    assert declared(from_function("two_factors").cost) == {"target": 1.0}


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
