"""Best exponents of power decays, against an exact recursion and known minima."""

import numpy as np
import pytest

from experiments.decay_exponents import __main__ as decay_exponents


def test_the_best_exponent_is_that_of_known_costs():
    exponents, peaks = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0]), np.geomspace(0.1, 10, 7)
    x, y = np.log(exponents / 1.8)[:, None], np.log(peaks)[None]
    costs = 3 + x**2 + (y - 0.3 * x - 0.1) ** 2
    assert decay_exponents.best_exponent(exponents, peaks, costs) == pytest.approx(1.8, rel=1e-3)
    best = decay_exponents.tuned(peaks, costs)
    np.testing.assert_allclose(best[:, 1], 3 + x[:, 0] ** 2, rtol=1e-6)
    np.testing.assert_allclose(np.log(best[:, 0]), 0.3 * x[:, 0] + 0.1, atol=1e-6)
    costs[:, -3:] = np.inf  # diverged; the lowest remaining cost is used
    assert np.isfinite(decay_exponents.tuned(peaks, costs)).all()
    assert decay_exponents.vertex(np.arange(3.0), np.array([1.0, 2.0, 3.0])) == (0.0, 1.0)


@pytest.mark.parametrize("capacity", [1.5, 2.0])
def test_expected_costs_on_a_quadratic_are_close_to_those_of_the_exact_recursion(capacity):
    """E w_i^2 <- (1 - r_t lambda_i)^2 E w_i^2 + r_t^2 noise lambda_i, at small rates."""
    config = decay_exponents.Config(modes=100, exponents=(0.5, 2.0))
    steps, peaks = 1000, np.array([0.01, 0.05])
    costs = decay_exponents.power_decay_costs(config, capacity, 1.0, steps, peaks)
    i = np.arange(1.0, 101)
    values = i**-capacity
    squares = np.broadcast_to(i ** -(capacity + 1) / values, (2, 2, 100))
    for t in range(steps):
        rate = peaks[:, None] * (1 - t / steps) ** np.array([0.5, 2.0])[:, None, None]
        squares = (1 - rate * values) ** 2 * squares + rate**2 * values
    np.testing.assert_allclose(costs, squares @ values / 2, rtol=0.03)


@pytest.mark.parametrize("capacity", [1.5, 2.0])
def test_the_best_exponent_on_a_quadratic_approaches_2_beta_minus_1(capacity):
    """It rises slowly from below, since the theory holds for many steps."""
    config = decay_exponents.Config(modes=2000)
    best = []
    for steps in (10**3, 10**5, 10**7):
        peaks = decay_exponents.scaled_peaks(config, capacity, steps)
        costs = decay_exponents.power_decay_costs(config, capacity, 1.0, steps, peaks)
        best.append(decay_exponents.best_exponent(np.array(config.exponents), peaks, costs))
    away = 2 * capacity - 1 - np.array(best)
    assert away[0] > 1.5 * away[1] > 2.25 * away[2] > 0
    assert away[2] < 0.2 * (2 * capacity - 1)
