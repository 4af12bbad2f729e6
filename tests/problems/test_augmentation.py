"""Augmentation of images, compared with interpolation in SciPy and known results."""

import numpy as np
from scipy import ndimage

from gdjax.data import ImageSet
from gdjax.problems import Distortion, digits
from gdjax.problems.augmentation import distorted, warped

RANDOM = np.random.default_rng(0)


def test_warped_images_equal_those_of_scipy():
    images = RANDOM.integers(0, 256, (12, 9, 7), np.uint8)
    shift, turn = RANDOM.uniform(-4, 4, (12, 2)), RANDOM.uniform(-3, 3, 12)
    result = np.asarray(warped(images, shift, turn))
    middle = np.array([4.0, 3.0])
    for image, s, angle, user_defined in zip(images, shift, turn, result, strict=True):
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, sin], [-sin, cos]])
        expected = ndimage.affine_transform(
            image.astype(float),
            rotation,
            offset=middle + s - rotation @ middle,
            order=1,
            mode="grid-constant",
        )
        np.testing.assert_allclose(user_defined, expected, atol=0.502)  # rounded to integers


def test_shifts_by_whole_pixels_move_all_color_channels():
    images = RANDOM.integers(0, 256, (1, 5, 6, 3), np.uint8)
    moved = np.asarray(warped(images, np.array([[1.0, -2.0]]), np.zeros(1)))
    np.testing.assert_array_equal(moved[:, :-1, 2:], images[:, 1:, :-2])
    assert not moved[:, -1].any()
    assert not moved[:, :, :2].any()


def test_copies_are_bounded_distinct_and_reproducible():
    images = np.zeros((3, 11, 11), np.uint8)
    images[:, 5, 5] = 200
    copies = distorted(images, Distortion(copies=40, shift=2.0, max_rotation=0.0))
    assert copies.shape == (120, 11, 11)
    rows, columns = np.nonzero(copies.sum(axis=0))
    # These are exactly the pixels that a shift by up to two pixels can reach.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 7, 3, 7)
    np.testing.assert_allclose(copies.sum(axis=(1, 2)), 200, atol=2)
    assert len(np.unique(copies.reshape(120, -1), axis=0)) == 120
    again = distorted(images, Distortion(copies=40, shift=2.0, max_rotation=0.0))
    np.testing.assert_array_equal(copies, again)
    other = distorted(images, Distortion(copies=40, shift=2.0, max_rotation=0.0, seed=1))
    assert not np.array_equal(copies, other)
    plain = distorted(images, Distortion(copies=2, shift=0.0, max_rotation=0.0))
    np.testing.assert_array_equal(plain, np.concatenate([images, images]))


def test_digits_are_trained_on_copies_and_tested_on_the_original_images():
    images = RANDOM.integers(0, 256, (4, 5, 5), np.uint8)
    labels = np.array([0, 1, 2, 1], np.uint8)
    known = ImageSet("tiny", images, labels, images, labels, 3, "0")
    problem = digits(known, widths=(2,), samples=3, distortion=Distortion(copies=2))
    learned, displayed = problem.data
    assert learned.shape == (6, 25)
    np.testing.assert_array_equal(displayed, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(problem.metrics["test_accuracy"].data[0], images.reshape(4, 25))
    fields = problem.provenance["distortion"]
    assert fields == {"copies": 2, "shift": 0.5, "max_rotation": 0.1, "seed": 0}
    same = digits(known, widths=(2,), samples=3, distortion=fields)
    np.testing.assert_array_equal(same.data[0], learned)
    # Without augmentation, the record equals that of earlier versions.
    assert "distortion" not in digits(known, widths=(2,)).provenance
