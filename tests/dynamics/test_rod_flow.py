"""Rod flow, compared with closed forms and with descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.dynamics import gradient_flow
from gdjax.dynamics.gradient_flow import FlowStatus
from gdjax.dynamics.rod_flow import _velocity, rod_flow
from gdjax.problems.problem import as_problem


def descend(gradient, w, rate, steps):
    """Return all points of a descent in NumPy, [steps + 1, n]."""
    points = [np.asarray(w, float)]
    for _ in range(steps):
        points.append(points[-1] - rate * gradient(points[-1]))
    return np.stack(points)


@pytest.mark.long
def test_on_a_quadratic_the_amplitude_grows_only_above_the_edge(float64):
    """Center and amplitude change exponentially along the eigenvector of eigenvalue 3."""
    rates = np.linspace(0.4, 0.8, 5)

    def one(rate):
        return rod_flow(
            lambda w: w @ (jnp.array([3.0, 1.0]) * w) / 2,
            jnp.array([0.1, 0.0]),
            rate,
            2.0,
            intervals=4,
            noise=0.0,
        )

    flow = jax.jit(jax.vmap(one))(rates)
    eta, t = rates[:, None], np.asarray(flow.time)
    growth, decay = eta / 4 * 9 - 1 / eta, 3 * (1 + eta * 3 / 2)
    x = 0.1 * (3 * eta / 2) ** 2
    np.testing.assert_allclose(flow.amplitude, x * np.exp(growth * t), rtol=1e-7)
    np.testing.assert_allclose(flow.params[..., 0], (0.1 - x) * np.exp(-decay * t), atol=1e-8)
    np.testing.assert_allclose(flow.curvature, 3, rtol=1e-7)
    np.testing.assert_array_equal(growth[:, 0] > 0, 2 / rates < 3)
    assert np.all(flow.status == FlowStatus.COMPLETED)


@pytest.mark.long
def test_the_direction_becomes_the_eigenvector_of_the_largest_eigenvalue(float64):
    H = jnp.array(np.random.default_rng(0).normal(size=(4, 4)))
    H = H @ H.T
    values, vectors = np.linalg.eigh(H)
    flow = jax.jit(
        lambda w: rod_flow(lambda w: w @ H @ w / 2, w, 2 / values[-1], 40 / values[-1], intervals=1)
    )(jnp.ones(4))
    np.testing.assert_allclose(np.abs(flow.direction[-1] @ vectors[:, -1]), 1, atol=1e-6)


@pytest.mark.long
def test_the_rod_flow_reaches_the_cycle_of_descent_on_a_quartic_cost(float64):
    """Descent alternates between +-x with p - q x^2 = 2 / eta."""
    p, q, rates = 3.0, 1.0, np.linspace(0.7, 0.85, 4)

    def one(rate):
        valley = as_problem(lambda w: jnp.sum(p * w**2 / 2 - q * w**4 / 4))
        return rod_flow(valley, jnp.array([0.1]), rate, 60.0, intervals=1)

    rod = jax.jit(jax.vmap(one))(rates)
    cycles = [descend(lambda w: p * w - q * w**3, 0.1, rate, 4000)[-1] for rate in rates]
    np.testing.assert_allclose(np.abs(cycles), np.sqrt((p - 2 / rates) / q), rtol=1e-6)
    np.testing.assert_allclose(rod.amplitude[:, -1], np.abs(cycles), rtol=1e-5)
    np.testing.assert_allclose(rod.params[:, -1], 0, atol=1e-6)
    assert np.all(rod.status == FlowStatus.COMPLETED)


@pytest.mark.long
def test_in_a_narrowing_valley_the_cycles_of_the_flow_conserve_their_invariant(float64):
    """The invariant is x^2 / 4 - f log x + int G(1 + y) dy.

    It is constant since dy/dt = f - x^2 / 2 and d(log x)/dt = G(1 + y), with the growth rate G of
    the flow. The flow orbits around 1 + y = 2 / eta and x^2 = 2 f, the values of the central flow.
    """
    f, rate = 0.1, 0.5
    flow = jax.jit(
        lambda w: rod_flow(
            lambda w: (1 + w[1]) * w[0] ** 2 / 2 - f * w[1], w, rate, 60.0, noise=0.0
        )
    )(jnp.array([0.1, 2.0]))
    s = 1 + np.asarray(flow.params[:, 1])
    x = np.asarray(flow.amplitude)
    integral = rate / 12 * s**3 - s / rate
    settled = np.asarray(flow.time) > 5  # the center has reached the bottom of the valley
    invariant = (x**2 / 4 - f * np.log(x) + integral)[settled]
    np.testing.assert_allclose(invariant, invariant[0], atol=1e-6)
    assert np.ptp(s[settled]) > 0.3
    np.testing.assert_allclose(np.mean(x[settled] ** 2), 2 * f, rtol=0.2)


def test_velocities_equal_their_definitions(float64):
    """The rod flow projects dS/dt onto the tangent space of rank-one matrices."""
    rng = np.random.default_rng(0)
    A, c, u = (jnp.array(rng.normal(size=size)) for size in ((7, 5), 5, 5))
    u, x, eta = u / jnp.linalg.norm(u), 0.3, 0.7

    def cost(w):
        return jnp.sum(jnp.tanh(A @ w) ** 2)

    at = directional_derivatives(as_problem(cost), lambda w: w)

    def average(c):
        return (cost(c + x * u) + cost(c - x * u)) / 2

    def corrected(c):
        return average(c) + eta / 4 * jnp.sum(jax.grad(average)(c) ** 2)

    rod, a, b, changed = jax.jit(
        lambda c: (
            _velocity(at, eta, c, u, x),
            jax.grad(cost)(c + x * u),
            jax.grad(cost)(c - x * u),
            jax.grad(corrected)(c),
        )
    )(c)
    rod, a, b, changed, u = jax.tree.map(np.asarray, (rod, a, b, changed, u))
    P = np.outer(u, u)
    S, D = x**2 * P, a - b
    Z = eta / 8 * np.outer(D, D) - 2 / eta * S
    dS = x**2 * (2 * rod.growth * P + np.outer(rod.direction, u) + np.outer(u, rod.direction))
    np.testing.assert_allclose(dS, P @ Z + Z @ P - P @ Z @ P, atol=1e-12)
    np.testing.assert_allclose(rod.direction @ u, 0, atol=1e-12)
    np.testing.assert_allclose(rod.center, -changed, atol=1e-12)


@pytest.mark.long
def test_away_from_the_edge_the_error_of_the_center_is_of_second_order(float64):
    rates = np.array([0.04, 0.02])
    gradient = lambda w: -(1 - w[0] * w[1]) * w[::-1]  # noqa: E731
    known = [descend(gradient, [1.5, 0.2], r, round(1 / r))[-1] for r in rates]

    def one(rate):
        return rod_flow(
            lambda w: (1 - w[0] * w[1]) ** 2 / 2, jnp.array([1.5, 0.2]), rate, 1.0, intervals=1
        ).params[-1]

    errors = np.linalg.norm(jax.jit(jax.vmap(one))(rates) - np.stack(known), axis=1)
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.15


@pytest.mark.long
def test_below_the_edge_the_amplitude_approaches_its_equilibrium_with_noise(float64):
    """It is x^2 = e^2 / (2 eta |growth|), with d(log x)/dt = growth without noise."""
    flow = jax.jit(lambda w: rod_flow(lambda w: w @ w / 2, w, 0.5, 30.0, intervals=1, noise=1e-3))(
        jnp.array([1.0])
    )
    growth = 0.5 / 4 - 2
    np.testing.assert_allclose(flow.amplitude[-1], 1e-3 / np.sqrt(-2 * growth * 0.5), rtol=1e-6)


@pytest.mark.long
def test_a_flow_with_a_small_rate_is_close_to_the_gradient_flow():
    start, target = {"v": jnp.array([1.5]), "u": jnp.array([0.2])}, 2.0

    def cost(w):
        return (1 - w["u"][0] * w["v"][0]) ** 2 / 2

    def both(w):
        flow = rod_flow(cost, w, 1e-4, target, intervals=4)
        return flow, gradient_flow(cost, w, times=np.linspace(0, target, 5))

    flow, plain = jax.jit(both)(start)
    np.testing.assert_allclose(flow.params["u"], plain.params["u"], atol=1e-3)
    np.testing.assert_allclose(flow.cost, plain.cost, atol=1e-3)
    np.testing.assert_allclose(flow.mean_cost, flow.cost, atol=1e-6)
    assert "completed" in repr(flow)


@pytest.mark.long
def test_a_flow_can_start_where_descent_does_not_alternate():
    """The curvature at the minimum is 2, so that the amplitude decays exponentially."""
    start, rate = jnp.zeros(2), 0.1
    flow = rod_flow(lambda w: w @ w, start, rate, 1.0, intervals=2)
    np.testing.assert_allclose(flow.params, 0, atol=1e-6)
    assert flow.status == FlowStatus.COMPLETED
    np.testing.assert_allclose(flow.curvature, 2, rtol=1e-3)
    np.testing.assert_allclose(jnp.linalg.norm(flow.direction, axis=1), 1, rtol=1e-5)
    log_ratio = np.log(flow.amplitude / flow.amplitude[0])
    np.testing.assert_allclose(log_ratio, (rate - 1 / rate) * flow.time, rtol=1e-4)
