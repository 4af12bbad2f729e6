"""Digits as small images, for experiments with thousands of small networks.

>>> small = shrunk("mnist5k", learned=1000)
>>> small.train_images.shape, small.test_images.shape
((1000, 10, 10), (4000, 10, 10))
"""

import numpy as np

from gdjax.data import ImageSet, load

SIDE = 10


def pooled(images: np.ndarray) -> np.ndarray:
    """Return the central 20x20 pixels of digits, averaged to 10x10, [images, 100].

    Pixels are scaled to [0, 1]. Most pixels outside the central square are zero.
    """
    middle = images[:, 4:24, 4:24].reshape(-1, SIDE, 2, SIDE, 2)
    return (middle.mean(axis=(2, 4)) / 255).reshape(-1, SIDE * SIDE).astype(np.float32)


def strided(image_set: ImageSet, stride: int) -> ImageSet:
    """Return a data set with only every `stride`-th pixel, along rows and columns."""
    return image_set._replace(
        train_images=image_set.train_images[:, ::stride, ::stride],
        test_images=image_set.test_images[:, ::stride, ::stride],
    )


def shrunk(name: str, learned: int) -> ImageSet:
    """Return a data set of 28x28 digits reduced to 10x10 pixels by `pooled`.

    The first `learned` images are the training set, and all others the test set.
    """
    image_set = load(name)
    images = np.concatenate([image_set.train_images, image_set.test_images])
    labels = np.concatenate([image_set.train_labels, image_set.test_labels])
    small = np.round(255 * pooled(images)).astype(np.uint8).reshape(-1, SIDE, SIDE)
    parts = (small[:learned], labels[:learned], small[learned:], labels[learned:])
    return ImageSet(f"{name}, 10x10", *parts, image_set.classes, image_set.hash)
