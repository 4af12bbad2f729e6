"""Pooled images of digits, 10 by 10 pixels."""

import numpy as np

from experiments.shared.images import pooled, shrunk
from gdjax.data import load


def test_digits_are_pooled_to_ten_by_ten():
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 4:6, 6:8] = [[255, 0], [0, 255]]  # the second cell of the first row
    images[0, 0] = 255  # in the margin
    cells = pooled(images)
    assert cells.shape == (1, 100)
    np.testing.assert_allclose(np.flatnonzero(cells), [1])
    np.testing.assert_allclose(cells[0, 1], 0.5)


def test_the_test_set_consists_of_images_not_used_for_training():
    small, complete = shrunk("mnist5k", 4200), load("mnist5k")
    assert (len(small.train_labels), len(small.test_labels)) == (4200, 800)
    np.testing.assert_array_equal(small.test_labels, complete.test_labels[200:])
    back = pooled(complete.test_images[200:]) * 255
    np.testing.assert_allclose(small.test_images.reshape(800, 100), back, atol=0.5)
