"""Best learning rate for one step of a wide linear network: closed form.

f = V^T W_L ... W_1 W_0 x,   cost sum (f - y)^2 / (2 m),   K = X X^T / d
eta_inf = (m / L) y^T K y / |K y|^2      (arXiv 2511.01734)
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd

SAMPLES, INPUTS, SEEDS = 12, 20, 96


def linear_network(n, layers, X, y):
    """Return a problem that trains W_1 ... W_L; W_0 and V are random and fixed."""

    def init(key):
        key_first, key_last, *keys = jax.random.split(key, layers + 2)
        hidden = [jax.random.normal(k, (n, n)) / jnp.sqrt(n) for k in keys]
        first = jax.random.normal(key_first, (n, INPUTS)) / jnp.sqrt(INPUTS)
        return {"hidden": hidden, "first": first, "last": jax.random.normal(key_last, (n,)) / n}

    def cost(params, batch):
        a = batch[0] @ jax.lax.stop_gradient(params["first"]).T
        for W in params["hidden"]:
            a = a @ W.T
        return jnp.mean((a @ jax.lax.stop_gradient(params["last"]) - batch[1]) ** 2) / 2

    return gd.Problem(init=init, cost=cost, data=(X, y))


def best_rates(problem, layers, scale):
    """Return the rate with the lowest cost after one step, for each start.

    The cost is a polynomial of degree 2 L in the rate, so 2 L + 1 rates determine it.
    """
    nodes = np.polynomial.chebyshev.chebpts1(2 * layers + 1)
    rates = scale * 1.5 * (nodes + 1.01)
    grid = gd.axes(learning_rate=rates, seed=range(SEEDS))
    costs = gd.sweep(problem, grid, 1).cost.isel(step=-1).transpose("seed", "learning_rate")
    best = []
    for row in costs.values:
        polynomial = np.polynomial.Polynomial.fit(rates, row, 2 * layers)
        roots = polynomial.deriv().roots()
        real = roots[np.abs(roots.imag) < 1e-9].real
        real = real[(real > 0) & (real < 10 * scale)]
        best.append(real[np.argmin(polynomial(real))])
    return np.array(best)


@pytest.mark.long
@pytest.mark.parametrize("layers", [2, 3])
def test_deviations_of_the_best_rate_from_its_limit_scale_with_the_inverse_root_of_the_width(
    layers,
):
    random = np.random.default_rng(layers)
    X = random.normal(size=(SAMPLES, INPUTS))
    y = random.normal(size=SAMPLES)
    K = X @ X.T / INPUTS
    limit = SAMPLES / layers * (y @ K @ y) / np.sum((K @ y) ** 2)
    errors = {}
    with jax.enable_x64(True):
        for n in (32, 128):
            best = best_rates(linear_network(n, layers, X, y), layers, limit)
            errors[n] = best / limit - 1
    scaled = [np.sqrt(n * np.mean(error**2)) for n, error in errors.items()]
    assert 2 < min(scaled) < max(scaled) < 1.4 * min(scaled) < 4.5
    assert abs(np.median(errors[128])) < 0.15
