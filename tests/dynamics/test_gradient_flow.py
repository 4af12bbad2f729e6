"""Gradient flow, compared with closed forms and with descent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from curved_problems import regression

import gdjax as gd
from gdjax.dynamics.gradient_flow import FlowStatus, distance_from_flow, gradient_flow
from gdjax.problems import as_problem

KEY = jax.random.key(0)


def quadratic(h):
    return lambda w: w @ h @ w / 2


def factors(w, target=2.0):
    return (target - w[0] * w[1]) ** 2 / 2


def product_along(time, start, s=2.0):
    """Return u = ab along the flow from a = b, with u(0) = start."""
    growth = np.exp(2 * s * time)
    return s * growth / (growth - 1 + s / start)


@pytest.mark.parametrize(("x64", "error"), [(False, 1e-4), (True, 1e-9)])
def test_the_flow_on_a_bowl_is_an_exponential(x64, error):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rates, start = np.array([0.5, 1.0, 20.0]), np.array([1.0, -2.0, 0.5])
    times = np.array([0.0, 0.0, 0.1, 1.0, 4.0])
    known = [q @ (np.exp(-rates * t) * (q.T @ start)) for t in times]
    with jax.enable_x64(x64):
        h = jnp.array(q * rates @ q.T)
        result = jax.jit(lambda w: gradient_flow(quadratic(h), w, times=times))(jnp.array(start))
        assert result.params.dtype == jnp.zeros(()).dtype
        np.testing.assert_allclose(result.params, known, atol=error)
        np.testing.assert_array_equal(result.params[:2], [jnp.array(start)] * 2)
        np.testing.assert_allclose(
            result.cost, [w @ (q * rates @ q.T) @ w / 2 for w in known], atol=20 * error
        )
        assert int(result.status) == FlowStatus.COMPLETED
        # Stability alone requires at least this number of steps.
        assert int(result.num_steps) >= 20 * 4 / 3.4


@pytest.mark.long
def test_error_decreases_with_the_tolerance(float64):
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        result = gradient_flow(factors, jnp.full(2, 0.1), times=[1.0, 2.0], rtol=tolerance)
        known = product_along(np.array([1.0, 2.0]), 0.01)
        errors.append(np.max(np.abs(np.prod(result.params, axis=1) - known)))
        assert errors[-1] < 100 * tolerance  # early errors grow by a factor e^(2st)
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


@pytest.mark.long
def test_vmapped_flows_conserve_their_invariants(float64):
    starts = jnp.array([[0.3, 1.7], [-0.5, -0.2]])
    flow = jax.vmap(lambda w: gradient_flow(factors, w, times=np.linspace(0, 5, 20)))
    a, b = np.moveaxis(np.asarray(flow(starts).params), 2, 0)
    np.testing.assert_allclose(
        a**2 - b**2, [[0.3**2 - 1.7**2] * 20, [0.5**2 - 0.2**2] * 20], rtol=1e-8
    )
    np.testing.assert_allclose((a * b)[:, -1], 2, atol=1e-4)


def test_status_reports_a_flow_that_diverges(float64):
    """The solution of dw/dt = 4 w^3 with w(0) = 1 is infinite at t = 1/8."""
    result = gradient_flow(lambda w: -(w**4), jnp.array(1.0), times=[0.1, 0.2])
    assert FlowStatus(int(result.status)).name == "NOT_COMPLETED"
    assert float(result.params[0]) == pytest.approx(1 / np.sqrt(1 - 8 * 0.1), rel=1e-6)
    assert not np.isfinite(result.params[1])


# -- comparison with descent


def test_the_distance_on_a_bowl_equals_its_closed_form(float64):
    rates, curvature = np.array([0.1, 0.05, 0.025]), np.array([1.0, 3.0])
    start, times = np.array([1.0, -2.0]), np.array([0.1, 0.5, 1.0])
    result = distance_from_flow(
        quadratic(jnp.diag(curvature)), jnp.array(start), learning_rates=rates, times=times
    )
    for i, rate in enumerate(rates):
        for j, time in enumerate(times):
            descent = (1 - rate * curvature) ** round(time / rate)
            apart = np.linalg.norm(start * (descent - np.exp(-curvature * time)))
            assert result.distance[i, j] == pytest.approx(apart, rel=1e-6, abs=1e-9)
            value = np.sum(curvature * (start * descent) ** 2) / 2
            assert result.cost[i, j] == pytest.approx(value, rel=1e-9)


@pytest.mark.long
def test_the_distance_is_of_first_order_for_two_factors(float64):
    result = distance_from_flow(
        factors,
        jnp.array([0.1, 0.5]),
        learning_rates=0.04 / 2.0 ** np.arange(5),
        times=0.04 * np.arange(1, 101),
    )
    largest = result.distance.max(axis=1)
    order = np.polyfit(np.log(result.learning_rate), np.log(largest), 1)[0]
    assert order == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(largest[:-1] / largest[1:], 2, rtol=0.05)


@pytest.mark.long
def test_the_compared_descent_equals_that_of_descend():
    cost, start, data = regression(30)
    problem = as_problem(cost, data)
    result = distance_from_flow(problem, start, learning_rates=[0.1], times=[0.0, 0.5, 2.0])
    run = gd.descend(problem, optax.sgd(0.1), start, 20, key=KEY, record_every=5, snapshot_every=5)
    np.testing.assert_allclose(result.cost[0], run.cost[[0, 1, 4]], rtol=1e-5)
    for j, k in ((0, 0), (1, 1), (2, 4)):
        flow = jax.tree.map(lambda a, j=j: a[j], result.flow.params)
        descent = jax.tree.map(lambda a, k=k: a[k], run.snapshots)
        apart = float(optax.tree.norm(optax.tree.sub(flow, descent)))
        assert result.distance[0, j] == pytest.approx(apart, rel=1e-3, abs=1e-6)
    assert result.distance[0, 0] == 0
