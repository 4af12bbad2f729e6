"""Sharpness under mini-batch descent: forces and predictions in closed form, and a small run."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.stochastic_edge.__main__ import predicted
from experiments.stochastic_edge.oscillation import edge_forces, stability_limit

BENDS, TARGETS = np.array([3.0, 5.0, 10.0]), np.array([0.5, -1.0, 2.0])


def valley(w, batch):
    """Return the mean of (h + w_1) w_0^2 / 2 + y w_0 - 0.7 w_1 over samples (h, y).

    The sharpness at w_0 = 0 is mean(h) + w_1.
    """
    bend, target = batch
    return jnp.mean((bend + w[1]) * w[0] ** 2 / 2 + target * w[0]) - 0.7 * w[1]


def test_forces_along_the_sharpest_direction_equal_their_closed_form():
    problem = gd.Problem(init=lambda key: jnp.zeros(3), cost=valley, data=(BENDS, TARGETS))
    forces = edge_forces(problem, lambda w: w, jnp.array([0.0, 2.0, 1.0]))
    expected = {
        "sharpness": 8.0,
        "second": 0.0,
        "direction": np.array([1.0, 0.0, 0.0]),
        "alpha": 0.7,
        "beta": 1.0,
        "gradient_variance": np.var(TARGETS),
        "curvature_variance": np.var(BENDS),
        "target_variance": 1.0,
    }
    assert forces.keys() == expected.keys()
    for name, value in expected.items():
        result = abs(forces[name]) if name == "direction" else forces[name]
        np.testing.assert_allclose(result, value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_stability_limit_of_complementary_halves_equals_its_closed_form():
    """With curvatures S (1 +- r), two steps multiply by (1 - eta S)^2 - (eta S r)^2."""
    bends, spread = jnp.array([7.0, 13.0]), 0.3
    forces = {"direction": jnp.ones(1), "sharpness": jnp.array(10.0)}
    rows = np.tile([[0], [1]], (200, 1))

    def gradient(w, row):
        return jnp.mean(bends[row]) * w

    limit = stability_limit(gradient, jnp.zeros(1), forces, jnp.array(rows))
    np.testing.assert_allclose(limit, 1 / (1 - spread**2), atol=3e-3)


@pytest.mark.parametrize(("additive", "spread"), [(0.3, 0.0), (0.2, 0.3)])
def test_independent_noise_balances_at_the_predicted_sharpness(additive, spread):
    """A valley is simulated whose sharpness S obeys dS/dt = alpha - x^2 / 2."""
    rate, alpha, random = 0.1, 0.02, np.random.default_rng(0)
    x, S, mean = np.full(200, 0.1), np.full(200, 19.0), []
    for step in range(4000):
        bend = S + spread / rate * random.choice([-1, 1], 200)
        x, S = (
            x - rate * (bend * x + additive * random.normal(size=200)),
            S + rate * (alpha - x**2 / 2),
        )
        if step >= 2000:
            mean.append(S.mean())
    share = spread**2 + rate**2 * additive**2 / (2 * alpha)
    expected = predicted(xr.DataArray(share)).item()
    np.testing.assert_allclose(rate / 2 * np.mean(mean), expected, atol=0.01)
