"""Supervised problems: cost and metrics of a model in training and evaluation."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.problems import supervised
from gdjax.problems.keywords import declared, given_to

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 1])
cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def start(key):
    return jax.random.normal(key, (3, 2))


def by_hand(w, x, labels):
    """Return the mean of -log softmax(x w) at the labels, in float64."""
    z = np.asarray(x, float) @ np.asarray(w, float)
    z = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -z[np.arange(len(labels)), labels].mean()


@pytest.mark.long
def test_cost_prediction_and_metrics_of_a_model_equal_those_of_numpy():
    problem = supervised(
        start, lambda w, x: x @ w, cross_entropy, (X, LABELS), test=(X[:4], LABELS[:4])
    )
    w = problem.init(KEY)
    np.testing.assert_allclose(problem.cost(w, problem.data), by_hand(w, X, LABELS), rtol=1e-6)
    np.testing.assert_array_equal(problem.predict(w, X), X @ w)
    assert float(problem.loss(problem.predict(w, X), LABELS)) == float(problem.cost(w, (X, LABELS)))
    assert problem.evaluation is None  # the cost itself is the evaluation
    result = {
        name: float(m.measure(replace(problem, data=m.data), w))
        for name, m in problem.metrics.items()
    }
    right = np.mean(np.argmax(X[:4] @ np.asarray(w), axis=1) == LABELS[:4])
    assert result == {
        "test_cost": pytest.approx(by_hand(w, X[:4], LABELS[:4]), rel=1e-6),
        "test_accuracy": right,
    }
    gd.problems.check_problem(problem, w)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (lambda w, x: x @ w, X[:, :2]),  # real numbers
        (lambda w, x: x @ w[:, :1], LABELS),  # one number for two classes
        (lambda w, x: x @ w[:, 0], LABELS),
        (lambda w, x: x @ w, LABELS[:, None]),
    ],
)
def test_accuracy_is_defined_only_for_labels(outputs, targets):
    def loss(outputs, targets):
        return jnp.sum(outputs) ** 2

    problem = supervised(start, outputs, loss, (X, targets), test=(X, targets))
    assert list(problem.metrics) == ["test_cost"]


def test_accuracy_of_sequences_is_the_mean_over_positions():
    """There is a label per position: outputs are [samples, positions, classes]."""
    x, labels = np.eye(3, dtype=np.float32)[None].repeat(2, 0), np.array([[0, 1, 1], [1, 1, 0]])
    problem = supervised(start, lambda w, x: x @ w, cross_entropy, (x, labels), test=(x, labels))
    w = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    metric = problem.metrics["test_accuracy"]
    assert float(metric.measure(problem, w)) == pytest.approx(4 / 6)


def test_settings_of_the_model_are_settings_of_the_cost():
    def apply(w, x, *, sharpness=2.0):
        return sharpness * x @ w

    problem = supervised(start, apply, cross_entropy, (X, LABELS), test=(X, LABELS))
    assert declared(problem.cost) == declared(problem.predict) == {"sharpness": 2.0}
    w = problem.init(KEY)
    for sharpness in (2.0, 0.5):
        options = {} if sharpness == 2 else {"sharpness": sharpness}
        result = problem.cost(w, (X, LABELS), **options)
        np.testing.assert_allclose(result, by_hand(sharpness * w, X, LABELS), rtol=1e-6)


def model(w, x, *, train, key, model_state, rate=0.1):
    """Return outputs for centered inputs, noisy in training, and the next model state."""
    mean = jnp.expand_dims(x.mean(0) if train else model_state, 0)
    noise = jax.random.normal(key, x.shape) if train else 0.0
    return (x - mean + noise) @ w, (1 - rate) * model_state + rate * x.mean(0)


def test_training_uses_noise_and_batch_means_and_evaluation_uses_the_model_state():
    problem = supervised(
        lambda key: (start(key), jnp.ones(3)),
        model,
        cross_entropy,
        (X, LABELS),
        test=(X, LABELS),
        couples_samples=True,
    )
    assert given_to(problem.cost) == ("key", "model_state")
    assert (problem.random, problem.stateful, problem.couples_samples) == (True, True, True)
    for function in (problem.evaluation, problem.predict):
        assert given_to(function) == ("model_state",)
        assert declared(function) == {"rate": 0.1}
    w, model_state = problem.begin(KEY)
    value, after = problem.cost(w, problem.data, key=KEY, model_state=model_state)
    noise = np.asarray(jax.random.normal(KEY, X.shape))
    np.testing.assert_allclose(value, by_hand(w, X - X.mean(0) + noise, LABELS), rtol=1e-5)
    np.testing.assert_allclose(after, 0.9 + 0.1 * X.mean(0), rtol=1e-5)
    observed = problem.evaluation(w, problem.data, model_state=model_state)
    np.testing.assert_allclose(observed, by_hand(w, X - 1, LABELS), rtol=1e-5)
    np.testing.assert_allclose(
        problem.predict(w, X, model_state=model_state), (X - 1) @ w, rtol=1e-5
    )


def test_a_random_model_is_evaluated_with_fixed_keys():
    def apply(w, x, *, key):
        return (x + jax.random.normal(key, x.shape)) @ w

    problem = supervised(start, apply, cross_entropy, (X, LABELS), test=(X, LABELS))
    assert problem.evaluation is None
    assert problem.random
    w = problem.init(KEY)
    first, again = (problem.predict(w, X) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert set(problem.metrics) == {"test_cost", "test_accuracy"}


def test_inputs_may_be_a_pytree():
    data = ({"left": X, "right": 2 * X}, X[:, :2])
    problem = supervised(
        start,
        lambda w, x: (x["left"] + x["right"]) @ w,
        lambda outputs, targets: (outputs - targets) ** 2,
        data,
    )
    w = problem.init(KEY)
    expected = np.mean((3 * X @ np.asarray(w) - X[:, :2]) ** 2)
    np.testing.assert_allclose(problem.cost(w, data), expected, rtol=1e-5)
    assert problem.samples == 6
