"""Third and fourth derivatives, compared with dense tensors and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.curvature.directional_derivatives import directional_derivatives, largest_third, reduced
from gdjax.problems.problem import Problem, as_problem


@pytest.mark.long
def test_derivatives_in_microbatches_equal_those_of_the_mean_cost():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2_500, 3))

    def cost(w, batch):
        return jnp.mean(jnp.tanh(batch @ w) ** 3 + jnp.cos(batch @ w))

    w, u = (jnp.array(rng.normal(size=3), jnp.float32) for _ in range(2))
    at = directional_derivatives(Problem(init=lambda key: w, cost=cost, data=data), lambda w: w)

    @jax.jit
    def both(w, u):
        def full_cost(w):
            return cost(w, jnp.array(data, jnp.float32))

        T3 = jax.jacfwd(jax.hessian(full_cost))(w)
        T4 = jax.jacfwd(jax.jacfwd(jax.hessian(full_cost)))(w)
        expected = (
            (full_cost(w), jax.grad(full_cost)(w)),
            jax.hessian(full_cost)(w) @ u,
            T3 @ u @ u,
            jnp.einsum("ijkl,i,j,k,l", T4, u, u, u, u),
        )
        twice, fourth = at.fourth(w, u)
        return expected, (at.gradient(w), at.product(w, u), at.third(w, u), fourth), twice

    expected, result, twice = both(w, u)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(twice, result[2], rtol=1e-6)


def test_the_largest_third_derivative_of_a_cubic_equals_its_closed_form():
    """The maximum is 2 / sqrt(3) for x y z, and 6 max(|a|, |b|) for a x^3 + b y^3."""
    product = directional_derivatives(as_problem(lambda w: w[0] * w[1] * w[2]), lambda w: w)
    apart = directional_derivatives(
        as_problem(lambda w: w[0] ** 3 - 2 * w[1] ** 3 + w[2] ** 2), lambda w: w
    )
    starts = jnp.array(np.random.default_rng(1).normal(size=(8, 3)), jnp.float32)
    points = jnp.ones((8, 3))
    result, where = jax.jit(lambda: largest_third(product, points, starts, lambda v: v))()
    # Every start gives a lower bound, and the best is within 1 % of the maximum.
    assert np.all(result <= 2 / 3**0.5 + 1e-5)
    assert float(result.max()) > 0.99 * 2 / 3**0.5
    np.testing.assert_allclose(jnp.abs(6 * jnp.prod(where, axis=1)), result, rtol=1e-4, atol=1e-6)
    both = jax.jit(lambda: largest_third(apart, points, starts, lambda v: v)[0])()
    assert abs(float(both.max()) - 12) < 1e-3
    # With the second coordinate masked, the maximum is that along the first.
    mask = jnp.array([[1.0, 0.0, 1.0]])
    first = jax.jit(lambda: largest_third(apart, points, starts, lambda v: v * mask)[0])()
    assert abs(float(first.max()) - 6) < 1e-3


def test_the_reduced_fourth_derivative_is_that_along_the_curve_of_lowest_cost():
    """The minimum of a y^2 / 2 + b x^2 y + c x^4 over y is (c - b^2 / (2 a)) x^4."""
    rng = np.random.default_rng(2)
    a, b, c = rng.uniform(0.5, 2, 6), rng.normal(size=6), rng.normal(size=6)

    def one(a, b, c):
        def cost(w):
            return a * w[1] ** 2 / 2 + b * w[0] ** 2 * w[1] + c * w[0] ** 4

        at = directional_derivatives(as_problem(cost), lambda w: w)
        along = jnp.array([1.0, 0.0])
        return reduced(at, jnp.zeros(2), along, lambda v: jnp.array([0, 1]) * v / a)

    third, fourth, terms, *_ = jax.jit(jax.vmap(one))(*(jnp.array(x, float) for x in (a, b, c)))
    np.testing.assert_allclose(third, 0, atol=1e-6)
    np.testing.assert_allclose(fourth, 24 * (c - b**2 / (2 * a)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(terms, 24 * np.abs(c) + 12 * b**2 / a, rtol=1e-5)
