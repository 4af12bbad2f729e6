"""Generalized sharpness, compared with closed forms and enumeration."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature import (
    WarmGeneralizedSharpness,
    dual_gradient_norm,
    generalized_sharpness,
    step_curvature,
)
from gdjax.curvature.generalized_sharpness import GeneralizedSharpnessStatus
from gdjax.descent import non_euclidean_descent
from gdjax.descent.norms import dual_norm, steepest_direction

KEY = jax.random.key(0)


def quadratic(H):
    def cost(w):
        flat = ravel_pytree(w)[0]
        return flat @ jnp.asarray(H) @ flat / 2

    return cost


def symmetric(n, seed, shift=0.0):
    A = np.random.default_rng(seed).normal(size=(n, n))
    return (A + A.T) / 2 + shift * np.eye(n)


POSITIVE, INDEFINITE = symmetric(6, 3, 4.0), symmetric(7, 4)
CLOSED_FORMS = {
    "trace of a diagonal matrix": ("linf", np.diag([0.5, 3.0, 0.0, 2.0]), 5.5, 1e-5),
    "largest diagonal entry": ("l1", POSITIVE, np.diag(POSITIVE).max(), 1e-5),
    "largest eigenvalue": ("l2", INDEFINITE, np.linalg.eigvalsh(INDEFINITE)[-1], 1e-4),
    "0 without positive eigenvalues": ("l2", -np.eye(2), 0.0, 0),
    "largest eigenvalue of a block": ("block", np.diag([1.0, 2.0, 5.0, 3.0]), 5.0, 1e-4),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_both_bounds_equal_their_closed_form(name):
    """In the 1-norm, a positive definite form is largest at a corner."""
    norm, H, expected, error = CLOSED_FORMS[name]
    params = jnp.split(jnp.ones(len(H)), 2) if norm == "block" else jnp.ones(len(H))
    result = generalized_sharpness(quadratic(H), params, norm, key=KEY)
    np.testing.assert_allclose([result.low, result.high], expected, rtol=error)
    assert result.status == GeneralizedSharpnessStatus.BOUNDED
    if norm == "linf":
        np.testing.assert_allclose(result.step_curvature, expected, rtol=error)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3)])
def test_spectral_sharpness_of_a_matrix_and_a_bias_is_the_smaller_dimension_plus_1(shape):
    params = {"matrix": jnp.zeros(shape).at[0, 0].set(1.0), "bias": jnp.zeros(2)}
    result = generalized_sharpness(quadratic(np.eye(14)), params, "spectral", key=KEY)
    np.testing.assert_allclose([result.low, result.high], 3 + 1, rtol=1e-4)
    singular = np.linalg.svd(result.direction["matrix"], compute_uv=False)
    np.testing.assert_allclose(singular, 1, atol=1e-3)


def test_bounds_in_the_maximum_norm_contain_the_maximum_over_all_corners():
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=10)))
    start = jnp.arange(10.0) - 4.5
    for seed, shift in ((0, 0.0), (1, 5.0), (2, 5.0)):
        H = symmetric(10, seed, shift)
        best = np.einsum("ij,jk,ik->i", corners, H, corners).max()
        result = generalized_sharpness(quadratic(H), start, "linf", key=KEY)
        assert result.low <= best * (1 + 1e-5) or shift == 0
        assert result.high >= best * (1 - 1e-5)
        np.testing.assert_allclose(result.low, best, rtol=1e-4 if shift else 0.2)
        if shift:  # without negative eigenvalues Nesterov's factor pi / 2 bounds the ratio
            assert np.linalg.eigvalsh(H)[0] > 0
            assert result.high <= np.pi / 2 * best


def test_in_the_1_norm_an_off_diagonal_form_is_largest_between_corners():
    H = np.array([[0.0, 1.0], [1.0, 0.0]])
    result = generalized_sharpness(quadratic(H), jnp.ones(2), "l1", key=KEY)
    assert result.low <= 0.5 <= result.high  # d = (1/2, 1/2)
    assert result.high <= 1


def test_bounds_in_the_spectral_norm_are_at_least_the_maximum_over_random_directions():
    H = symmetric(6, 5, 2.0)
    params = jnp.ones((2, 3))
    result = generalized_sharpness(quadratic(H), params, "spectral", key=KEY)
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(4000, 2, 3))
    left, _, right = np.linalg.svd(matrices, full_matrices=False)
    d = (left @ right).reshape(-1, 6)
    values = np.einsum("ij,jk,ik->i", d, H, d)
    assert values.max() <= result.low * (1 + 1e-3) <= result.high * (1 + 1e-3)
    assert result.high <= 2 * np.linalg.eigvalsh(H)[-1] * (1 + 1e-5)


def test_non_finite_values_give_nan_and_a_status():
    result = generalized_sharpness(lambda w: jnp.sum(jnp.sqrt(w)), jnp.zeros(2), "linf", key=KEY)
    assert result.status == GeneralizedSharpnessStatus.NOT_FINITE
    assert np.isnan([result.low, result.high, result.step_curvature, result.dual_norm]).all()
    assert "not finite" in repr(result)


def test_for_many_parameters_only_a_lower_bound_is_returned():
    h = jnp.linspace(0.0, 1.0, 2049)
    bowl = lambda w: jnp.sum(h * w**2) / 2  # noqa: E731
    result = generalized_sharpness(bowl, jnp.ones(2049), "linf", key=KEY, num_starts=1)
    np.testing.assert_allclose(result.low, 2049 / 2, rtol=1e-5)
    assert result.high == np.inf
    assert result.status == GeneralizedSharpnessStatus.LOWER_BOUND_ONLY


def test_a_step_below_the_limit_decreases_a_quadratic_cost():
    H = symmetric(6, 7, 5.0)
    cost, w = quadratic(H), jnp.arange(6.0) - 2
    for norm in ("linf", "l1", "l2"):
        result = generalized_sharpness(cost, w, norm, key=KEY)
        g = jnp.asarray(H, jnp.float32) @ w
        d = steepest_direction(g, norm)
        for scaled, size in ((True, dual_norm(g, norm)), (False, 1.0)):
            # At this rate the curvature along the step is at its limit: the cost does not change.
            rate = 2 * (1 if scaled else result.dual_norm) / result.step_curvature
            np.testing.assert_allclose(cost(w - rate * size * d), cost(w), rtol=1e-4)
            assert cost(w - 0.9 * rate * size * d) < cost(w)
        assert result.step_curvature <= result.high


@pytest.mark.long
def test_sign_descent_at_equal_curvatures_diverges_above_two_divided_by_the_trace():
    ones = gd.Problem(init=lambda key: jnp.ones(3), cost=lambda w: jnp.sum(w**2) / 2)
    rates = gd.axes(learning_rate=[0.9 * 2 / 3, 1.1 * 2 / 3])
    runs = gd.sweep(
        ones,
        rates,
        20,
        make_optimizer=non_euclidean_descent,
        metrics={
            "low": WarmGeneralizedSharpness("linf"),
            "along": partial(step_curvature, norm="linf"),
            "dual": partial(dual_gradient_norm, norm="linf"),
        },
    )
    below, above = runs.cost.values
    assert np.all(np.diff(below) < 0)
    assert np.all(np.diff(above) > 0)
    np.testing.assert_allclose(runs.low, 3, rtol=1e-5)
    np.testing.assert_allclose(runs.along, 3, rtol=1e-5)
    np.testing.assert_allclose(runs.dual[0], 3 * np.sqrt(2 * below / 3), rtol=1e-4)


def test_steepest_directions_and_dual_norms_equal_their_closed_forms():
    g = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(
        steepest_direction(jnp.asarray(g), "spectral"), scipy.linalg.polar(g)[0], atol=1e-5
    )
    np.testing.assert_allclose(
        dual_norm(jnp.asarray(g), "spectral"), np.linalg.norm(g, "nuc"), rtol=1e-5
    )
    tree = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([[0.0, -4.5]])}
    assert float(dual_norm(tree, "block")) == pytest.approx(5)
    assert float(dual_norm(tree, "l1")) == pytest.approx(4.5)
    assert float(dual_norm(tree, "l2")) == pytest.approx(np.sqrt(25 + 4.5**2))
    assert float(dual_norm(tree, "linf")) == pytest.approx(11.5)
    assert float(dual_norm(tree, "spectral")) == pytest.approx(9.5)
    zeros = jax.tree.map(jnp.zeros_like, tree)
    for norm in ("linf", "l1", "l2", "spectral", "block"):
        assert not any(np.any(x) for x in jax.tree.leaves(steepest_direction(zeros, norm)))


def test_unscaled_steps_equal_those_of_sign_descent():
    g = jnp.array([3.0, -0.1, 0.0])
    own, theirs = non_euclidean_descent(0.1, scaled=False), optax.sign_sgd(0.1)
    np.testing.assert_array_equal(
        own.update(g, own.init(g))[0], theirs.update(g, theirs.init(g))[0]
    )
