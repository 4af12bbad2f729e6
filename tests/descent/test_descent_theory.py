"""Descent on quadratics, regressions and two factors, compared with theory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd

KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("float64")


def descend(cost, optimizer, start, steps, data=None, **options):
    problem = gd.Problem(init=lambda key: start, cost=cost, data=data)
    return gd.descend(problem, optimizer, jnp.asarray(start), steps, key=KEY, **options)


def path(cost, optimizer, start, steps, data=None):
    return descend(cost, optimizer, start, steps, data, snapshot_every=1).snapshots


def bowl(hessian):
    h = jnp.asarray(hessian)
    return lambda w: w @ h @ w / 2


def rotated(eigenvalues, seed=0):
    n = len(eigenvalues)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return q @ np.diag(eigenvalues) @ q.T, q


# -- quadratic costs


@pytest.mark.parametrize("learning_rate", [0.02, 0.15, 0.199, 0.21])
def test_on_a_quadratic_cost_the_path_is_given_by_matrix_powers(learning_rate):
    hessian, _ = rotated([1.0, 3.0, 10.0])
    start = np.array([1.0, -2.0, 0.5])
    result = path(bowl(hessian), optax.sgd(learning_rate), start, 30)
    contraction = np.eye(3) - learning_rate * hessian
    known = [np.linalg.matrix_power(contraction, t) @ start for t in range(31)]
    np.testing.assert_allclose(result, known, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("share", "known"), [(0.999, 1.0e-7), (1.0, 50.0), (1.001, 2.4e10)])
def test_the_stability_limit_is_two_divided_by_the_largest_eigenvalue(share, known):
    run = descend(
        bowl(np.diag([1.0, 10.0, 100.0])),
        optax.sgd(share * 2 / 100),
        np.ones(3),
        5000,
        record_every=5000,
    )
    assert run.recorded_steps.tolist() == [0, 5000]
    assert run.cost[-1] == pytest.approx(known, rel=0.05)


def test_the_best_fixed_step_has_the_known_convergence_rate():
    """The learning rate is 2 / (1 + 10), and the contraction is (10 - 1) / (10 + 1)."""
    hessian, q = rotated([1.0, 4.0, 10.0])
    # With equal components along the extreme eigenvectors, this rate is exact.
    start = q @ np.array([1.0, 0.0, 1.0])
    best = 2 / (1 + 10)
    length = np.linalg.norm(path(bowl(hessian), optax.sgd(best), start, 40), axis=1)
    np.testing.assert_allclose(length[1:] / length[:-1], 9 / 11, rtol=1e-9)
    for learning_rate in (0.95 * best, 1.05 * best):
        end = path(bowl(hessian), optax.sgd(learning_rate), start, 40)[-1]
        assert np.linalg.norm(end) > length[-1]


MOMENTA = {
    "heavy ball": (False, lambda beta: 2 + 2 * beta),
    "Nesterov": (True, lambda beta: (2 + 2 * beta) / (1 + 2 * beta)),
}


@pytest.mark.parametrize("beta", [0.3, 0.9])
@pytest.mark.parametrize("kind", MOMENTA)
@pytest.mark.parametrize(("share", "grows"), [(0.98, False), (1.02, True)])
def test_momentum_changes_the_stability_limit(kind, beta, share, grows):
    nesterov, limit = MOMENTA[kind]
    curvature = 4.0
    optimizer = optax.sgd(share * limit(beta) / curvature, momentum=beta, nesterov=nesterov)
    run = descend(lambda w: curvature * w**2 / 2, optimizer, 1.0, 2000, record_every=1000)
    assert bool(run.cost[-1] > 1e6 * run.cost[0]) is grows
    assert bool(run.cost[-1] < 1e-6 * run.cost[0]) is not grows


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_satisfies_its_recurrence(nesterov):
    """v <- beta v + g; the step is along v (heavy ball) or g + beta v (Nesterov)."""
    rate, beta = 0.1, 0.9
    result = path(lambda w: 2 * w**2, optax.sgd(rate, momentum=beta, nesterov=nesterov), 1.0, 25)
    w, v = 1.0, 0.0
    for t in range(26):
        assert result[t] == pytest.approx(w, rel=1e-10, abs=1e-14)
        g = 4 * w
        v = beta * v + g
        w -= rate * (g + beta * v if nesterov else v)


def test_a_descent_with_a_schedule_is_a_product_of_contractions():
    rates = optax.piecewise_constant_schedule(0.1, {3: 0.5, 6: 0.1})
    result = path(lambda w: w**2, optax.sgd(rates), 1.0, 10)
    factors = 1 - 2 * np.array([0.1] * 3 + [0.05] * 3 + [0.005] * 4)
    np.testing.assert_allclose(result, [1, *np.cumprod(factors)], rtol=1e-6)


# -- linear regression


def regression(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def test_from_zero_a_regression_converges_to_the_least_norm_solution():
    """Gradients lie in the row space of X, so the orthogonal component is constant."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 8)), rng.normal(size=5)
    inverse = np.linalg.pinv(x)
    rate = optax.sgd(1 / np.linalg.eigvalsh(2 * x.T @ x / 5)[-1])
    outside = (np.eye(8) - inverse @ x) @ rng.normal(size=8)
    for start in (np.zeros(8), outside):
        run = descend(regression, rate, start, 4000, (x, y), record_every=4000)
        np.testing.assert_allclose(run.params, inverse @ y + start, atol=1e-9)


# -- two factors


def factors(w, s=1.0):
    return (s - w[0] * w[1]) ** 2 / 2


def test_the_error_relative_to_the_gradient_flow_is_of_first_order():
    """Along the flow from a = b, ab = u(t) = s e^{2st} / (e^{2st} - 1 + s/u0)."""
    s, u0, time = 2.0, 0.01, 4.0
    rates = np.array([0.04, 0.02, 0.01, 0.005])
    errors = []
    for rate in rates:
        steps = round(time / rate)
        a, b = path(lambda w: factors(w, s), optax.sgd(rate), np.full(2, np.sqrt(u0)), steps).T
        growth = np.exp(2 * s * rate * np.arange(steps + 1))
        errors.append(np.max(np.abs(a * b - s * growth / (growth - 1 + s / u0))))
    order = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert order == pytest.approx(1, abs=0.1)
    assert errors[-2] / errors[-1] == pytest.approx(2, rel=0.05)


def test_a_step_changes_the_invariant_of_the_gradient_flow_at_second_order():
    """A step multiplies a^2 - b^2 by 1 - rate^2 (s - ab)^2; the flow conserves it."""
    lost = []
    for rate in (0.02, 0.01):
        w = path(factors, optax.sgd(rate), np.array([0.5, 1.5]), round(2 / rate))
        balance = w[:, 0] ** 2 - w[:, 1] ** 2
        factor = 1 - rate**2 * (1 - w[:, 0] * w[:, 1]) ** 2
        np.testing.assert_allclose(balance[1:], balance[:-1] * factor[:-1], rtol=1e-12)
        lost.append(abs(balance[-1] / balance[0] - 1))
    assert lost[0] / lost[1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(("rate", "stays"), [(0.95, True), (1.05, False)])
def test_the_flattest_minimum_is_stable_only_at_rates_below_one(rate, stays):
    """At the flattest minimum, (1, 1), each step scales an offset by |1 - 2 rate|."""
    w = path(factors, optax.sgd(rate), np.full(2, 1 + 1e-9), 40)
    offset = np.abs(w[:, 0] - 1)
    np.testing.assert_allclose(offset[1:] / offset[:-1], abs(1 - 2 * rate), rtol=1e-4)
    assert bool(offset[-1] < offset[0]) is stays
