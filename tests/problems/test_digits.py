"""Known values of the digit classification problem, before and after training."""

import dataclasses
import inspect
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.data import load
from gdjax.descent.outcome import Outcome
from gdjax.problems.keywords import declared

KEY = jax.random.key(0)
BESIDE = Path(__file__).parents[3] / "shared" / "tensorflow_datasets"
FOLDER = Path(os.environ.get("TFDS_DATA_DIR", BESIDE))
digits = inspect.unwrap(gd.problems.digits)


@pytest.fixture(scope="module")
def mnist5k():
    return load("mnist5k")


@pytest.fixture(scope="module")
def small(mnist5k):
    return digits(mnist5k)


@pytest.fixture(scope="module")
def mnist():
    if not (FOLDER / "mnist").is_dir():
        pytest.skip(f"no mnist in {FOLDER}")
    return digits("mnist", data_dir=str(FOLDER))


def zeros(problem):
    return jax.tree.map(jnp.zeros_like, problem.init(KEY))


def test_pixels_are_bytes_that_the_cost_divides_by_255(small):
    images, labels = small.data
    assert images.dtype == np.uint8
    assert images.shape == (4000, 784)
    assert images.max() == 255
    params = small.init(KEY)
    plain = dataclasses.replace(small.network, input_scale=1)
    bright = plain.apply(params, jnp.asarray(images[:9] / 255, jnp.float32))
    np.testing.assert_allclose(small.predict(params, jnp.asarray(images[:9])), bright, rtol=1e-5)
    expected = np.mean(np.sum((np.asarray(bright) - np.eye(10)[labels[:9]]) ** 2, axis=1))
    assert small.cost(params, (images[:9], labels[:9])) == pytest.approx(expected, rel=1e-5)


def test_the_baseline_is_the_cost_of_the_best_constant_output(small, mnist5k):
    """The mean of |a - onehot|^2 is smallest at the class frequencies: 1 - sum p^2."""
    targets = np.eye(10)[np.asarray(mnist5k.train_labels)]
    frequencies = targets.mean(axis=0)
    costs = [
        np.mean(np.sum((frequencies + shift - targets) ** 2, axis=1)) for shift in (0, 0.01, -0.01)
    ]
    assert small.baseline == pytest.approx(costs[0], rel=1e-12)
    assert costs[0] < min(costs[1:])
    few = digits(mnist5k, samples=37)
    p = np.bincount(mnist5k.train_labels[:37], minlength=10) / 37
    assert few.baseline == pytest.approx(1 - np.sum(p**2), rel=1e-12)
    assert few.samples == 37


def test_a_temperature_divides_parameters_and_only_sigmoids_have_one(mnist5k):
    few = {"samples": 50}
    smooth, tanh = (digits(mnist5k, activation=name, **few) for name in ("sigmoid", "tanh"))
    params = smooth.init(KEY)
    cold = jax.tree.map(lambda a: a / 0.25, params)
    value = smooth.cost(params, smooth.data, temperature=0.25)
    np.testing.assert_allclose(value, smooth.cost(cold, smooth.data), rtol=1e-5)
    for problem, names in ((smooth, {"temperature"}), (tanh, set())):
        assert set(declared(problem.cost)) == names


@pytest.mark.parametrize("loss", ["cross_entropy", gd.problems.cross_entropy])
def test_cross_entropy_takes_logits_and_its_baseline_is_an_entropy(mnist5k, loss):
    problem = digits(mnist5k, loss=loss)
    assert problem.network.widths == (784, 16, 16, 10)
    assert problem.network.activations == ("sigmoid", "sigmoid", "identity")
    assert problem.cost(zeros(problem), problem.data) == pytest.approx(np.log(10), rel=1e-6)
    p = np.bincount(mnist5k.train_labels, minlength=10) / len(mnist5k.train_labels)
    assert problem.baseline == pytest.approx(-np.sum(p * np.log(p)), rel=1e-9)
    assert problem.provenance["cost"] == "cross_entropy"


def test_the_loss_can_be_a_function(mnist5k):
    def absolute(outputs, labels):
        return jnp.sum(jnp.abs(outputs - jax.nn.one_hot(labels, 10)), axis=-1)

    problem = digits(mnist5k, loss=absolute, samples=20)
    # Each of ten outputs differs from its target by 1/2.
    assert problem.cost(zeros(problem), problem.data) == 5
    assert problem.baseline is None
    assert problem.provenance is None


def test_at_a_huge_learning_rate_the_network_stalls_without_divergence(mnist5k):
    problem = digits(mnist5k, samples=500)
    run = gd.descend(problem, optax.sgd(100.0), problem.init(KEY), 100, key=KEY, record_every=50)
    assert run.outcome == Outcome.STALLED
    assert run.cost[-1] == 1.0  # every output is 0
    assert run.metrics["test_accuracy"][-1] == pytest.approx(0.1, abs=0.001)


def test_the_problem_of_full_mnist_has_its_known_properties(mnist):
    images, labels = mnist.data
    assert images.shape == (60_000, 784)
    assert mnist.baseline == pytest.approx(0.8997, abs=5e-5)
    assert np.sum(~np.any(images, axis=0)) == 67
    test_labels = np.asarray(mnist.metrics["test_accuracy"].data[1])
    assert np.mean(test_labels == 1) == pytest.approx(0.1135, abs=1e-9)
    gradient = jax.jit(jax.grad(mnist.cost))(mnist.init(KEY), (images, labels))
    assert sum(int(jnp.sum(a == 0)) for a in jax.tree.leaves(gradient)) == 16 * 67 == 1072


@pytest.mark.long
def test_the_accuracy_after_ten_epochs_is_near_94_7_percent(mnist):
    """The accuracy is 94.66 +- 0.09 % at batch size 32 and learning rate 1."""
    steps = gd.descent.steps_for(10, mnist.samples, 32)
    stream = gd.run_keys(0, 0, 0)
    start = mnist.init(stream.init)
    run = gd.descend(
        mnist, optax.sgd(1.0), start, steps, key=stream.order, batch_size=32, record_every=steps
    )
    assert run.metrics["test_accuracy"][-1] == pytest.approx(0.9466, abs=0.003)
