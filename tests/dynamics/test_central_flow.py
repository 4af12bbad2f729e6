"""Central flow, compared with closed forms, gradient flow and descent."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.dynamics.central_flow import _slopes, central_flow
from gdjax.dynamics.gradient_flow import FlowStatus, gradient_flow
from gdjax.dynamics.semidefinite_complementarity import matrix
from gdjax.problems.problem import as_problem

RUNS = 16


def slope(w, force):
    """Return the cost of a valley of curvature 1 + y, with slope -force along y."""
    return (1 + w[-1]) * jnp.sum(w[:-1] ** 2) / 2 - force * w[-1]


@pytest.mark.parametrize(
    ("x64", "error"), [pytest.param(False, 1e-3, marks=pytest.mark.long), (True, 1e-6)]
)
def test_the_central_flow_in_a_narrowing_valley_equals_its_closed_form(x64, error):
    """y = 0.2 + f t until 1 + y = 2 / eta; then Sigma = 2 f.

    At the edge the mean cost exceeds the cost by 2 f / eta. The path is a straight line, so the
    only discretization error is at its end.
    """
    with jax.enable_x64(x64):
        forces, rates = jnp.linspace(0.1, 2.0, RUNS), jnp.linspace(0.5, 1.0, RUNS)

        def one(force, rate):
            start = jnp.array([0.0, 0.2])
            cost = as_problem(lambda w: slope(w, force))
            return central_flow(cost, start, rate, 4 / force, eigenvectors=1, intervals=40)

        result = jax.jit(jax.vmap(one))(forces, rates)
        assert result.params.dtype == jnp.zeros(()).dtype
        result, f, eta = jax.tree.map(np.asarray, (result, forces[:, None], rates[:, None]))
    y = np.minimum(0.2 + f * result.time, 2 / eta - 1)
    np.testing.assert_allclose(result.params[..., 1], y, atol=error * 4)
    np.testing.assert_allclose(result.eigenvalues[..., 0], 1 + y, atol=error * 4)
    settled = y[:, :-2] >= 2 / eta - 1
    X = result.covariance[:, 2:, 0, 0]
    np.testing.assert_allclose(X[settled], (2 * f + 0 * y[:, 2:])[settled], rtol=error * 20)
    mean = -f * y + (2 * f / eta) * (y >= 2 / eta - 1)
    np.testing.assert_allclose(
        result.mean_cost[:, 2:][settled], mean[:, 2:][settled], rtol=error * 20
    )
    assert np.all(settled[:, -1])
    assert np.all(result.status == FlowStatus.COMPLETED)
    assert np.max(result.residual) < 30 * error


@pytest.mark.long
def test_central_flow_equals_the_gradient_flow_below_the_edge(float64):
    starts = jax.random.normal(jax.random.key(0), (RUNS, 2))

    def cost(w):
        return (2 - w[0] * w[1]) ** 2 / 2

    def both(w):
        central = central_flow(cost, w, 1e-3, 2.0, eigenvectors=1, intervals=8)
        plain = gradient_flow(cost, w, times=np.linspace(0, 2, 9))
        return central, plain

    central, plain = jax.jit(jax.vmap(both))(starts)
    np.testing.assert_allclose(central.params, plain.params, atol=1e-8)
    np.testing.assert_allclose(central.cost, plain.cost, atol=1e-8)
    np.testing.assert_array_equal(central.mean_cost, central.cost)
    assert np.max(central.covariance) == 0


def test_the_gradient_of_the_projected_hessian_is_a_third_derivative(float64):
    rng = np.random.default_rng(0)
    w, U = jnp.array(rng.normal(size=5)), jnp.array(rng.normal(size=(5, 3)))
    A = jnp.array(rng.normal(size=(7, 5)))
    problem = as_problem(lambda w: jnp.sum(jnp.tanh(A @ w) ** 2))
    result = jax.jit(lambda w, U: _slopes(directional_derivatives(problem, lambda a: a), w, U))(
        w, U
    )
    third = jax.jit(jax.jacfwd(jax.hessian(problem.cost)))(w)
    known = np.einsum("ijl,ia,jb->lab", third, U, U)
    for of_coordinate, row in zip(known, result.T, strict=True):
        np.testing.assert_allclose(matrix(row), of_coordinate, rtol=1e-9, atol=1e-9)


def network(samples=128, widths=(8, 16, 16, 1)):
    """Return a published example of the central flow: a swish network on random data."""
    key_x, key_y = jax.random.split(jax.random.key(0))
    data = jax.random.normal(key_x, (samples, 8)), jax.random.normal(key_y, (samples, 1))

    def init(key):
        pairs = itertools.pairwise(widths)
        return [
            (jax.random.normal(k, (m, n)) / np.sqrt(n), jnp.zeros(m))
            for k, (n, m) in zip(jax.random.split(key, 3), pairs, strict=True)
        ]

    def cost(params, batch):
        a = batch[0]
        for W, b in params[:-1]:
            a = jax.nn.swish(a @ W.T + b[None])
        W, b = params[-1]
        return jnp.mean((a @ W.T + b[None] - batch[1]) ** 2)

    return gd.Problem(init, cost, data)


@pytest.mark.long
def test_central_flow_predicts_the_smoothed_descent_of_a_network():
    """Descents of 1,000 steps reach the edge of stability."""
    from scipy.ndimage import gaussian_filter1d

    problem, rate, steps = network(), 0.1, 1000
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(1), 3)[:2])

    def descent(w, data):
        def step(w, _):
            value, g = jax.value_and_grad(problem.cost)(w, data)
            return jax.tree.map(lambda a, b: a - rate * b, w, g), value

        return jax.lax.scan(step, w, length=steps + 1)[1]

    costs = np.asarray(jax.jit(jax.vmap(descent, (0, None)))(starts, problem.data))
    flows = jax.jit(
        jax.vmap(
            lambda w, problem: central_flow(
                problem, w, rate, rate * steps, eigenvectors=5, intervals=steps // 2
            ),
            (0, None),
        )
    )(starts, problem)
    known = gaussian_filter1d(costs, 50, axis=1, mode="nearest")[:, ::2]
    reported = gaussian_filter1d(np.asarray(flows.mean_cost), 25, axis=1, mode="nearest")
    off = np.abs(reported / known - 1)[:, 50:451]
    assert np.median(off) < 0.02
    assert np.max(off) < 0.06
    assert np.all(flows.status == FlowStatus.COMPLETED)
    product = rate * np.asarray(flows.eigenvalues[..., 0])
    for one in product:
        there = int(np.argmax(one > 2 - 1e-3))
        assert there > 0
        np.testing.assert_allclose(one[there + 5 :], 2, atol=1e-3)
