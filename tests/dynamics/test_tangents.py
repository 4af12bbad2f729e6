"""Lyapunov exponents of descents that are known maps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.dynamics import lyapunov_exponent, with_tangent

KEY = jax.random.key(3)
METRICS = {"lyapunov": lyapunov_exponent}


def exponent(cost, start, make_optimizer, rate, num_steps):
    """Return the finite-time exponent of one descent, in float64."""
    problem = gd.Problem(init=lambda key: jnp.asarray(start), cost=cost)
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=[rate]),
        num_steps,
        make_optimizer=with_tangent(make_optimizer, key=KEY),
        metrics=METRICS,
        record_every=num_steps,
        divergence_threshold=1e30,
    )
    assert np.isnan(runs.lyapunov[0, 0])
    return float(runs.lyapunov[0, -1])


def heavy_ball(momentum):
    return lambda learning_rate: optax.sgd(learning_rate, momentum=momentum)


SLOW_AVERAGE = partial(optax.adam, b1=0.0, b2=0.99, eps_root=1.0)


def logistic(r):
    return lambda x: (1 - r) * x**2 / 2 + r * x**3 / 3


def factors(w):
    return (1 - w[0] * w[1]) ** 2 / 2


@pytest.mark.parametrize(
    ("cost", "start", "make_optimizer", "rate", "known", "error"),
    [
        (logistic(4.0), 0.3, optax.sgd, 1.0, np.log(2), 1e-3),
        (logistic(3.2), 0.3, optax.sgd, 1.0, -0.916291, 2e-3),
        # the Hénon map (Sprott): without the optimizer's state in the tangent, it would be .332
        (lambda x: 0.35 * x**2 - x + 1.4 * x**3 / 3, 0.1, heavy_ball(-0.3), 1.0, 0.41922, 5e-3),
        (lambda x: x**2 / 2, 0.1, heavy_ball(0.9), 0.1, -0.0526803, 5e-4),  # ln(0.9) / 2
        (lambda x: x**2 / 2, 0.1, heavy_ball(0.5), 0.05, -0.122079, 5e-4),
        # The parameters of this Adam contract by 0.1 a step, its average of squares only by b2.
        (lambda x: x**2 / 2, 0.5, SLOW_AVERAGE, 0.9, np.log(0.99), 5e-4),
        (factors, [0.5, 0.5], optax.sgd, 1.1, -0.111572, 1e-3),  # across, ln|3 - 2 rate| / 2
        (factors, [0.5, 0.5], optax.sgd, 1.2, -0.192831, 1e-3),  # along
    ],
)
def test_the_exponent_of_a_known_map(float64, cost, start, make_optimizer, rate, known, error):
    assert exponent(cost, start, make_optimizer, rate, 20_000) == pytest.approx(known, abs=error)


def test_the_growth_along_a_chaotic_descent_is_its_derivative(float64):
    """For x = y = sqrt(2) sin(angle) a step at rate 2 triples the angle."""
    angle, count = 0.4, 10
    x = np.sqrt(2) * np.sin(angle)
    optimizer = with_tangent(optax.sgd, key=KEY)(2.0)
    run = gd.descend(factors, optimizer, jnp.array([x, x]), count, key=KEY, metrics=METRICS)
    derivative = 3**count * np.cos(3**count * angle) / np.cos(angle)
    assert derivative == pytest.approx(28711.9437)
    w = optimizer.init(jnp.zeros(2)).tangent[0]  # only its part along x = y grows
    growth = np.exp(count * run.metrics["lyapunov"][-1])
    assert growth == pytest.approx(abs(derivative * float(jnp.sum(w))) / np.sqrt(2))


@pytest.mark.parametrize("make_optimizer", [optax.adam, heavy_ball(0.9)])
def test_a_tangent_changes_no_run(make_optimizer):
    problem = gd.Problem(
        init=lambda key: jax.random.normal(key, (3,)),
        cost=lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2),
        data=jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)), jnp.float32),
    )
    grid = gd.axes(learning_rate=[0.03, 0.1], seed=range(2))
    watched = with_tangent(make_optimizer, key=KEY)
    with_it = gd.sweep(problem, grid, 20, batch_size=4, make_optimizer=watched, metrics=METRICS)
    without = gd.sweep(problem, grid, 20, batch_size=4, make_optimizer=make_optimizer)
    np.testing.assert_allclose(with_it.cost, without.cost, rtol=1e-5)
    assert np.isfinite(with_it.lyapunov[..., 1:]).all()


def test_the_exponent_of_mini_batches_is_that_of_their_matrices(float64):
    """The tangent moves by the matrices of the batches that the run draws."""
    rows = np.random.default_rng(1).normal(size=(12, 2))
    cost = lambda w, x: jnp.mean((x @ w) ** 2) / 2  # noqa: E731
    problem = gd.Problem(init=lambda key: jnp.ones(2), cost=cost, data=jnp.asarray(rows))
    optimizer = with_tangent(optax.sgd, key=KEY)(0.3)
    run = gd.descend(problem, optimizer, jnp.ones(2), 9, key=KEY, batch_size=3, metrics=METRICS)
    tangent = np.asarray(optimizer.init(jnp.ones(2)).tangent[0])
    order = gd.descent.batches.Order((KEY,), 12, 3).rows(0, 9)[0]
    for batch in order:
        tangent = tangent - 0.3 * rows[batch].T @ rows[batch] @ tangent / 3
    known = np.log(np.linalg.norm(tangent)) / 9
    assert run.metrics["lyapunov"][-1] == pytest.approx(known, abs=1e-12)
