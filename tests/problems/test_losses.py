"""Losses of single samples, compared with hand-computed values and SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from gdjax.problems.losses import LOSSES, accuracy, cross_entropy, quadratic, targets_for

RNG = np.random.default_rng(0)
OUTPUTS = jnp.asarray(RNG.normal(size=(8, 10)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, 10, 8))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_the_quadratic_loss_equals_that_of_numpy(dtype):
    expected = np.sum((np.asarray(OUTPUTS) - np.eye(10)[np.asarray(LABELS)]) ** 2, axis=1)
    np.testing.assert_allclose(quadratic(OUTPUTS, LABELS.astype(dtype)), expected, rtol=1e-5)
    vectors = quadratic(jnp.array([[0.1, 0.9]]), jnp.array([[0.1, 0.4]]))  # targets of any kind
    np.testing.assert_allclose(vectors, 0.25, rtol=1e-5)


def test_cross_entropy_equals_that_of_scipy_and_is_invariant_under_shifts():
    rows = np.arange(len(LABELS))
    expected = -log_softmax(np.asarray(OUTPUTS, np.float64), axis=1)[rows, np.asarray(LABELS)]
    np.testing.assert_allclose(cross_entropy(OUTPUTS, LABELS), expected, rtol=1e-5)
    np.testing.assert_allclose(cross_entropy(OUTPUTS + 100, LABELS), expected, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_labels_are_equivalent_to_one_hot_vectors(loss):
    vectors = jnp.eye(10)[LABELS]
    np.testing.assert_array_equal(loss(OUTPUTS, LABELS), loss(OUTPUTS, vectors))
    np.testing.assert_array_equal(targets_for(OUTPUTS, LABELS), vectors)


@pytest.mark.parametrize(
    ("outputs", "labels", "share"),
    [
        ([[0.1, 0.9], [0.8, 0.3]], [1, 0], 1.0),
        ([[0.1, 0.9], [0.8, 0.3]], [0, 0], 0.5),
        ([[0.1, 0.9], [0.8, 0.3]], [0, 1], 0.0),
        ([[0.5, 0.5], [0.5, 0.5]], [0, 1], 0.5),  # of equal outputs, the first one counts
        ([[-3.0, -2.0], [-9.0, -8.0], [0.0, -1.0]], [1, 1, 1], 2 / 3),
    ],
)
def test_accuracy_is_the_share_of_samples_whose_label_has_the_largest_output(
    outputs, labels, share
):
    result = accuracy(jnp.array(outputs), jnp.array(labels, jnp.uint8))
    assert float(result) == pytest.approx(share)
