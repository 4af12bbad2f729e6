"""Gradient noise metrics, compared with their definition, on a linear regression."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent.batches import Order
from gdjax.descent.metrics import gradient_noise

KEY = jax.random.key(0)
N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -2.0, 0.5] + RNG.normal(size=N)
W = np.array([0.3, 0.1, -1.0])


def mean_square(w, batch, *, decay=0.0):
    return jnp.mean((batch[0] @ w["a"] - batch[1]) ** 2) + decay * jnp.sum(w["a"] ** 2)


PROBLEM = gd.Problem(
    init=lambda key: {"a": jnp.zeros(3)},
    cost=mean_square,
    data=(X.astype(np.float32), Y.astype(np.float32)),
)


def slopes(w=W):
    """Return the gradients 2 (x.w - y) x of the losses of all samples."""
    return 2 * (X @ w - Y)[:, None] * X


def noise(g):
    return np.sum((g - g.mean(axis=0)) ** 2) / (len(g) - 1)


def measured(measure, w=W, problem=PROBLEM, **options):
    """Return a function of a key: the value of a measurement at w."""
    params = {"a": jnp.asarray(w, jnp.float32)}
    return jax.jit(lambda key: measure(problem, params, key=key, **options))


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_the_noise_estimate_is_unbiased_for_every_batch_size(batch_size):
    noise_of = measured(gradient_noise, batch_size=batch_size, batches=4)
    result = [float(noise_of(key).trace) for key in jax.random.split(jax.random.key(1), 150)]
    error = np.std(result) / np.sqrt(len(result))
    assert np.mean(result) == pytest.approx(noise(slopes()), abs=4 * error)
    assert error < 0.1 * noise(slopes())


def test_mini_batch_noise_without_replacement_follows_its_formula():
    """E |g_B - g|^2 = noise / B (1 - B / n) is estimated from 8,000 mini-batches."""
    g = slopes()
    for batch_size in (2, 20):
        rows = Order([KEY], N, batch_size).rows(0, 8000)[0]
        squares = np.sum((g[rows].mean(axis=1) - g.mean(axis=0)) ** 2, axis=1)
        known = noise(g) / batch_size * (1 - batch_size / N)
        assert np.mean(squares) == pytest.approx(known, rel=0.06)


@pytest.mark.parametrize("decay", [0.0, 3.0])
def test_noise_of_single_samples_and_its_scale_equal_their_definitions(decay):
    """Weight decay adds no noise, since it is equal for all samples."""
    options = {"batch_size": 1, "batches": N, "problem": PROBLEM.at(decay=decay)}
    trace, scale = map(float, measured(gradient_noise, **options)(KEY))
    assert trace == pytest.approx(noise(slopes()), rel=1e-4)
    gradient = slopes().mean(axis=0) + 2 * decay * W
    assert scale == pytest.approx(noise(slopes()) / np.sum(gradient**2), rel=1e-4)


def test_noise_metrics_are_recorded_along_a_descent():
    metrics = {
        "noise": partial(gradient_noise, batch_size=1, batches=N),
        "few": partial(gradient_noise, key=KEY, batch_size=4, batches=15),
    }
    run = gd.descend(
        PROBLEM, optax.sgd(0.1), {"a": jnp.asarray(W, jnp.float32)}, 20, key=KEY, metrics=metrics
    )
    w = W
    for t in range(21):
        assert run.arrays["noise"].values.trace[t] == pytest.approx(noise(slopes(w)), rel=1e-3)
        w = w - 0.1 * slopes(w).mean(axis=0)
    # The gradient vanishes, but the noise does not.
    scale = run.arrays["few"].values.scale
    assert scale[-1] > scale[0]


def test_the_key_determines_the_sampled_batches():
    keys = KEY, KEY, jax.random.key(9)
    a, b, c = map(measured(gradient_noise, batch_size=2, batches=5), keys)
    assert a == b != c
