"""Closed forms of the estimators of the flatness experiment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.flatness.__main__ import fisher, rank_matrix, reliability, two_way_bootstrap
from experiments.flatness.model import scaled_hessian
from experiments.shared.images import strided


def test_the_scaled_hessian_of_a_quadratic_has_a_closed_form_and_gives_the_mean_rise():
    """E C(w + r |w| z) - C(w) = r^2 / 2 sum_i w_i^2 H_ii, also where the gradient is not 0."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6))
    H = A @ A.T
    w = rng.normal(size=6)
    problem = gd.problems.as_problem(lambda w: w @ jnp.asarray(H, jnp.float32) @ w / 2 + 3 * w[0])
    matrix = scaled_hessian(problem, jnp.asarray(w, jnp.float32)).as_matrix()
    np.testing.assert_allclose(matrix, np.abs(np.outer(w, w)) * H, rtol=1e-4, atol=1e-4)
    e = 0.1 * np.abs(w) * rng.normal(size=(200_000, 6))
    rise = np.einsum("ni,ij,nj->n", e, H, e) / 2 + e @ (H @ w) + 3 * e[:, 0]
    error = rise.std() / len(rise) ** 0.5
    assert abs(rise.mean() - 0.1**2 / 2 * np.trace(matrix)) < 4 * error


def test_the_scaled_hessian_does_not_change_if_relu_neurons_are_rescaled():
    problem = gd.problems.digits(
        strided(gd.data.load("mnist5k"), 7), widths=(3,), activation="relu",
        loss="cross_entropy", samples=20,
    )  # fmt: skip
    first, second = problem.init(jax.random.key(0))
    scale = jnp.array([0.25, 4.0, 2.0])
    rescaled = (
        first._replace(weights=first.weights * scale[:, None], bias=first.bias * scale),
        second._replace(weights=second.weights / scale[None]),
    )
    scaled = jax.jit(lambda w: scaled_hessian(problem, w).as_matrix())
    plain = jax.jit(lambda w: jnp.trace(gd.curvature.HessianOperator(problem, w).as_matrix()))
    np.testing.assert_allclose(scaled(rescaled), scaled((first, second)), rtol=1e-3, atol=1e-5)
    assert abs(plain(rescaled) / plain((first, second)) - 1) > 0.2


def test_the_variance_of_two_way_resamples_of_a_mean_has_a_closed_form():
    """E n_i n_k = 1 - 1/R + [i = k] for multinomial counts n of R starts or R orders."""
    rng = np.random.default_rng(0)
    R, C = 10, 6
    x = 2 * rng.normal(size=(R, 1)) + rng.normal(size=C) + rng.normal(size=(R, C))
    drawn = two_way_bootstrap(lambda v: v.mean(), x[None], 10_000, rng)
    weight_rows, weight_columns = 1 - 1 / R + np.eye(R), 1 - 1 / C + np.eye(C)
    wanted = np.einsum("ij,ik,jl,kl", x, weight_rows, weight_columns, x) / (R * C) ** 2
    assert drawn.var() == pytest.approx(wanted - x.mean() ** 2, rel=0.06)
    assert drawn.mean() == pytest.approx(x.mean(), abs=0.03)


def test_two_way_intervals_cover_the_correlation_of_a_crossed_design():
    """Starts, orders and remainders contribute to both variables with correlation 0.4.

    The rank correlation of all networks is that of normal variables, 6 / pi asin(0.4 / 2).
    """
    rng = np.random.default_rng(1)
    mix = np.linalg.cholesky(np.array([[1, 0.4], [0.4, 1]]))
    truth = 6 / np.pi * np.arcsin(0.4 / 2)
    covered = 0
    for _ in range(60):
        parts = [rng.normal(size=(2, *shape)) for shape in ((40, 1), (1, 4), (40, 4))]
        scaled = [s * p for s, p in zip((1.0, 0.1, 0.7), parts, strict=True)]
        values = np.tensordot(mix, sum(scaled[1:], scaled[0]), 1)
        drawn = two_way_bootstrap(lambda v: rank_matrix(v.reshape(2, -1))[0, 1], values, 100, rng)
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= truth <= high
    assert covered >= 53


def test_rank_correlations_of_normal_variables_have_their_closed_form():
    A = np.random.default_rng(2).normal(size=(3, 3))
    covariance = A @ A.T
    deviation = np.sqrt(np.diag(covariance))
    r = covariance / np.outer(deviation, deviation)
    sample = np.random.default_rng(3).multivariate_normal(np.zeros(3), covariance, 20_000)
    ranks = rank_matrix(sample.T)
    np.testing.assert_allclose(ranks, 6 / np.pi * np.arcsin(r / 2), atol=0.02)


def test_the_reliability_is_the_share_of_quality_in_the_variance_of_accuracy():
    """The noise has variance 2 on each half of the images, and 1 on all of them."""
    rng = np.random.default_rng(4)
    q = rng.normal(size=20_000)
    first, second = (q + 2**0.5 * rng.normal(size=(3, len(q))) for _ in range(2))
    assert reliability(first, second) == pytest.approx(1 / 2, abs=0.01)
    assert reliability(first, -second) == 0


def test_the_published_interval_is_that_of_fisher():
    np.testing.assert_allclose(fisher(-0.226, 100), [-0.226, -0.404, -0.031], atol=1e-3)
