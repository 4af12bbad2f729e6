"""Stability thresholds, compared with published formulas and runs of optimizers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.curvature import largest_stable_learning_rate, stability_threshold
from gdjax.descent import non_euclidean_descent

# The preconditioner is constant: 1 for RMSProp, and eps for Adam, since eps far exceeds gradients.
HELD = partial(optax.rmsprop, decay=1.0, eps=0.0, initial_scale=1.0)
EPS = 1e12
WIDE = {"eps": EPS, "b2": 0.9}

OPTIMISERS = {
    "plain": (optax.sgd, 1.0),
    "heavy ball": (partial(optax.sgd, momentum=0.9), 1.0),
    "Nesterov": (partial(optax.sgd, momentum=0.9, nesterov=True), 1.0),
    "RMSProp": (HELD, 1.0),
    "RMSProp with heavy-ball momentum": (partial(HELD, momentum=0.5), 1.0),
    "Adam": (partial(optax.adam, **WIDE), EPS),
    "Adam, 0.5": (partial(optax.adam, b1=0.5, **WIDE), EPS),
    "NAdam": (partial(optax.nadam, **WIDE), EPS),
    "AdamW": (partial(optax.adamw, weight_decay=3.0, **WIDE), EPS),
}
RATE = 0.1
CURVATURES = np.array([0.01, 0.3, 1.0])  # relative to the largest curvature
STARTS = 16


def growth(optimizer, scale):
    """Return a compiled function from the largest curvature to log growth per start."""

    def of_start(start, top):
        fixed_rule = optimizer(learning_rate=RATE)
        curvature = top * scale * jnp.array(CURVATURES)

        def step(carry, _):
            w, memory = carry
            updates, memory = fixed_rule.update(curvature * w, memory, w)
            w = w + updates
            return (w, memory), jnp.max(jnp.abs(w))

        sizes = jax.lax.scan(step, (start, fixed_rule.init(start)), length=3000)[1]
        return jnp.log(jnp.max(sizes[2500:]) / jnp.max(sizes[1000:1500]))

    starts = 1e-60 * jax.random.normal(jax.random.key(0), (STARTS, 3), jnp.float64)
    return jax.jit(lambda top: jax.vmap(of_start, (0, None))(starts, top))


QUICK = ("Nesterov", "RMSProp", "Adam")


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in OPTIMISERS],
)
def test_the_threshold_equals_that_found_by_bisection_over_runs(name):
    optimizer, scale = OPTIMISERS[name]
    with jax.enable_x64(True):
        predicted = float(stability_threshold(RATE, optimizer))
        grows = growth(optimizer, scale)
        low, high = np.full(STARTS, 0.9993 * predicted), np.full(STARTS, 1.0008 * predicted)
        assert np.all(grows(low[0]) < 0)
        assert np.all(grows(high[0]) > 0)
        while np.max(high - low) > 1e-4 * predicted:
            middle = float((low[0] + high[0]) / 2)
            up = np.asarray(grows(middle)) > 0
            assert np.all(up == up[0])  # all starts grow, or all decay
            low, high = np.where(up, low, middle), np.where(up, middle, high)
    np.testing.assert_allclose((low + high) / 2, predicted, rtol=1e-4)


def test_thresholds_equal_the_published_formulas():
    eta, heavy_ball = np.array([0.01, 0.5]), partial(optax.sgd, momentum=0.9)
    np.testing.assert_allclose(stability_threshold(eta), [200, 4], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, heavy_ball), [380, 7.6], rtol=1e-6)
    nesterov = stability_threshold(eta, partial(heavy_ball, nesterov=True))
    np.testing.assert_allclose(nesterov, [380 / 2.8, 7.6 / 2.8], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, optax.rmsprop), [200, 4], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, optax.adam), [3800, 76], rtol=1e-6)
    no_average = partial(optax.adam, b1=0)
    np.testing.assert_allclose(stability_threshold(eta, no_average), [200, 4], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_largest_stable_learning_rate_inverts_the_threshold(name):
    optimizer, _ = OPTIMISERS[name]
    rates = np.geomspace(1e-3, 0.5, 7)
    result = largest_stable_learning_rate(stability_threshold(rates, optimizer), optimizer)
    np.testing.assert_allclose(result, rates, rtol=1e-5)


def test_without_curvature_only_weight_decay_limits_the_learning_rate():
    assert np.isinf(float(largest_stable_learning_rate(0.0)))
    assert float(largest_stable_learning_rate(0.0, partial(optax.adamw, weight_decay=4.0))) == 0.5


def test_thresholds_can_be_vmapped_over_rates_and_momenta():
    rates, momenta = np.linspace(0.01, 1, 16), np.linspace(0, 0.9, 16)

    def threshold(rate, momentum):
        return stability_threshold(rate, partial(optax.sgd, momentum=momentum))

    result = jax.jit(jax.vmap(threshold))(rates, momenta)
    np.testing.assert_allclose(result, (2 + 2 * momenta) / rates, rtol=1e-6)


def test_the_threshold_in_another_norm_is_that_of_the_generalized_sharpness():
    muon = partial(non_euclidean_descent, norm="spectral")
    assert float(stability_threshold(0.1, muon)) == pytest.approx(20)


def test_the_threshold_is_zero_if_weight_decay_times_rate_is_two():
    assert float(stability_threshold(0.5, partial(optax.adamw, weight_decay=4.0))) == 0.0
