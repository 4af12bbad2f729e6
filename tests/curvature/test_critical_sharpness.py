"""Critical sharpness: closed forms on quadratics, statuses, and use as a metric."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.curvature.critical_sharpness import (
    CriticalSharpnessStatus,
    critical_sharpness,
    update_direction,
)
from gdjax.problems import digits

H = jnp.array([1.0, 10.0, 100.0])


def quadratic(w):
    return jnp.sum(H * w**2) / 2


@pytest.mark.parametrize(
    ("guess", "x64", "error"),
    [(None, False, 1e-4), (1e6, False, 1e-4), (1e-9, False, 1e-4), (None, True, 1e-12)],
)
def test_on_a_quadratic_critical_sharpness_is_curvature_divided_by_slope(guess, x64, error):
    w, direction = np.array([1.0, -2.0, 0.5]), np.array([0.5, -3.0, 1.0])
    h = np.asarray(H, float)
    slope, curvature = np.sum(h * w * direction), np.sum(h * direction**2)
    with jax.enable_x64(x64):
        result = critical_sharpness(quadratic, jnp.array(w), jnp.array(direction), guess=guess)
        result = jax.tree.map(np.asarray, result)
    assert result.status == CriticalSharpnessStatus.FOUND
    np.testing.assert_allclose(result.slope, slope, rtol=1e-6)
    np.testing.assert_allclose(result.curvature, curvature, rtol=1e-6)
    np.testing.assert_allclose(result.learning_rate, 2 * slope / curvature, rtol=error)
    np.testing.assert_allclose(result.sharpness, curvature / slope, rtol=error)
    np.testing.assert_allclose(result.quadratic_minimizer, slope / curvature, rtol=1e-6)
    np.testing.assert_allclose(result.line_minimizer, slope / curvature, rtol=1e-4)
    assert result.low <= result.learning_rate * (1 + 1e-4)
    assert result.learning_rate <= result.high * (1 + 1e-4)
    assert result.high - result.low <= 0.01 * result.high
    assert result.num_evaluations <= (3 if guess is None else 20)


def test_without_positive_curvature_the_critical_sharpness_is_0():
    result = critical_sharpness(lambda w: -quadratic(w), H, -(H**2))
    assert result.status == CriticalSharpnessStatus.NO_CROSSING
    assert (result.sharpness, result.learning_rate, result.high) == (0, np.inf, np.inf)
    assert result.quadratic_minimizer == np.inf
    assert result.line_minimizer == np.inf
    flat = critical_sharpness(lambda w: w[0] + 0 * w[1], jnp.ones(2), jnp.array([1.0, 0.0]))
    assert (flat.status, flat.sharpness) == (CriticalSharpnessStatus.NO_CROSSING, 0)


@pytest.mark.parametrize(
    ("cost", "direction", "status"),
    [
        (quadratic, -H, CriticalSharpnessStatus.NOT_A_DESCENT_DIRECTION),
        (quadratic, 0 * H, CriticalSharpnessStatus.NOT_A_DESCENT_DIRECTION),
        (quadratic, H * jnp.nan, CriticalSharpnessStatus.NOT_FINITE),
        (lambda w: jnp.sum(jnp.sqrt(w - 2)), H, CriticalSharpnessStatus.NOT_FINITE),
    ],
)
def test_without_a_finite_positive_slope_the_result_is_nan_with_a_status(cost, direction, status):
    result = critical_sharpness(cost, jnp.ones(3), direction)
    assert result.status == status
    numbers = (result.learning_rate, result.sharpness, result.low, result.high)
    assert np.isnan([*numbers, result.quadratic_minimizer, result.line_minimizer]).all()
    assert status.name.lower().replace("_", " ") in repr(result)


def test_too_few_evaluations_do_not_resolve_the_crossing():
    result = critical_sharpness(quadratic, H, H**2, guess=1e6, max_steps=3)
    assert result.status == CriticalSharpnessStatus.NOT_RESOLVED
    assert np.isnan(result.sharpness)
    assert result.low < 0.02 < result.high
    assert result.num_evaluations == 3


def test_costs_that_are_not_finite_beyond_a_point_count_as_increased():
    """The cost -log(1 - w^2) - 5 w is negative from 0 to 0.997, and NaN above 1."""
    cost = lambda w: -jnp.log(1 - w**2) - 5 * w  # noqa: E731
    result = critical_sharpness(cost, jnp.array(0.0), jnp.array(-1.0), guess=100.0)
    assert result.status == CriticalSharpnessStatus.FOUND
    np.testing.assert_allclose(result.learning_rate, 0.997, atol=0.01)


@pytest.mark.long
def test_saturated_digit_networks_have_no_crossing():
    """The initial cost exceeds 2; after a long step, outputs are 0 and the cost is 1."""
    problem = digits("mnist5k", samples=200)
    params = problem.init(jax.random.key(0))
    direction = update_direction(optax.sgd, problem, params)
    result = critical_sharpness(problem, params, direction)
    assert result.status == CriticalSharpnessStatus.NO_CROSSING
    assert result.sharpness == 0
    assert 0.1 < result.quadratic_minimizer < 10
    assert 0.1 < result.line_minimizer < 10


def test_results_under_jit_and_vmap_equal_those_of_a_loop():
    points = jax.random.normal(jax.random.key(1), (4, 3))
    directions = points * H[None] * jnp.array([1.0, 1.0, -1.0, 1.0])[:, None]
    batched = jax.jit(jax.vmap(lambda w, d: critical_sharpness(quadratic, w, d)))
    results = batched(points, directions)
    assert "3 found, 1 not a descent direction" in repr(results)
    for i in range(4):
        single = critical_sharpness(quadratic, points[i], directions[i])
        for one, all_of_them in zip(single, results, strict=True):
            np.testing.assert_allclose(one, all_of_them[i], rtol=1e-5)


@pytest.mark.parametrize("make_optimizer", [optax.sgd, optax.adam, optax.lion])
def test_the_direction_is_minus_the_update_divided_by_the_learning_rate(make_optimizer):
    w = jnp.array([1.0, -2.0, 0.5])
    state = make_optimizer(0.1).update(H, make_optimizer(0.1).init(w), w)[1]
    updates, _ = make_optimizer(0.1).update(H * w, state, w)
    expected = -updates / 0.1
    direction = update_direction(make_optimizer, quadratic, w, opt_state=state)
    np.testing.assert_allclose(direction, expected, rtol=1e-5)
