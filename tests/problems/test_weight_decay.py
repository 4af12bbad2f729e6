"""Weight decay without biases, and digit networks on the span of the images."""

import jax
import numpy as np
import pytest

import gdjax as gd
from gdjax.problems.networks import Network
from gdjax.problems.weight_decay import decayed, few_digits

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def few():
    return few_digits(samples=30, widths=(4,), decay=0.01)


@pytest.fixture(scope="module")
def images():
    data = gd.data.load("mnist5k")
    return data.train_images[:30].reshape(30, -1) / 255.0


def test_decay_adds_squared_weights_without_biases():
    network = Network((2, 3, 1))
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    y = np.full((5, 1), 0.3, np.float32)
    params = jax.tree.map(lambda a: np.asarray(a) + np.float32(0.5), jax.jit(network.init)(KEY))
    costs = (jax.jit(decayed(network, (x, y), decay).cost) for decay in (0.0, 0.1))
    apart = [float(cost(params, (x, y))) for cost in costs]
    outputs = np.asarray(jax.jit(network.apply)(params, x))
    assert apart[0] == pytest.approx(np.mean(np.sum((outputs - y) ** 2, axis=1)), rel=1e-5)
    squares = sum(float(np.sum(np.asarray(layer.weights) ** 2)) for layer in params)
    assert apart[1] - apart[0] == pytest.approx(0.1 * squares, rel=1e-4)


@pytest.mark.long
def test_starts_equal_those_of_the_full_network(few, images):
    """W x = (W B)(B^T x) for every x in the span of B."""
    complete = Network((784, 4, 10))
    wanted = jax.jit(complete.apply)(jax.jit(complete.init)(KEY), images.astype(np.float32))
    result = jax.jit(few.network.apply)(jax.jit(few.init)(KEY), few.data[0])
    np.testing.assert_allclose(result, wanted, atol=1e-5)
    assert few.network.widths == (30, 4, 10)
    assert few.metrics["test_accuracy"].data[0].shape == (1000, 30)
    np.testing.assert_allclose(few.data[0] @ few.data[0].T, images @ images.T, atol=1e-4)


def test_outside_the_span_the_gradient_is_that_of_the_decay(few, images):
    """Minima of the full network have no component outside the span, so none is lost."""
    complete = Network((784, 4, 10))
    batch = (images.astype(np.float32), few.data[1])
    problem = decayed(complete, batch, 0.01)
    params = jax.jit(complete.init)(KEY)
    slope = np.asarray(jax.jit(jax.grad(problem.cost))(params, batch)[0].weights)
    span = np.linalg.svd(images, full_matrices=False)[2]
    outside = np.eye(784) - span.T @ span
    wanted = 2 * 0.01 * np.asarray(params[0].weights) @ outside
    np.testing.assert_allclose(slope @ outside, wanted, atol=1e-6)
    assert np.abs(wanted).max() > 1e-4


def test_an_offset_selects_other_images():
    problem = few_digits(samples=20, first=50, widths=(2,))
    data = gd.data.load("mnist5k")
    images = data.train_images[50:70].reshape(20, -1) / 255.0
    np.testing.assert_array_equal(problem.data[1], data.train_labels[50:70])
    np.testing.assert_allclose(problem.data[0] @ problem.data[0].T, images @ images.T, atol=1e-4)
