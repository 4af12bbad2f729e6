"""Small images, and their regression with linear outputs.

>>> small = shrunk("mnist5k", learned=1000)
>>> small.train_images.shape, small.test_images.shape
((1000, 10, 10), (4000, 10, 10))
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np

import gdjax as gd
from gdjax.data import ImageSet, load
from gdjax.problems import Network

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


def image_regression(
    image_set: ImageSet, widths: Sequence[int], samples: int, *, init_scale: float
) -> gd.Problem:
    """Return the problem of classifying images by regression, with a tanh network.

    Pixels are standardized over all images, outputs are linear, and targets are one-hot vectors.
    The cost is the mean over samples of half the squared error, summed over classes.
    """
    images = image_set.train_images[:samples].reshape(samples, -1).astype(np.float32)
    images = (images - images.mean()) / images.std()
    targets = np.eye(image_set.classes, dtype=np.float32)[image_set.train_labels[:samples]]
    layers = (images.shape[1], *widths, image_set.classes)
    network = Network(layers, activation="tanh", output_activation="identity")

    def cost(params, batch):
        errors = network.apply(params, batch[0]) - batch[1]
        return jnp.mean(jnp.sum(errors**2, axis=1)) / 2

    init = partial(network.init, init_scale=init_scale)
    return gd.Problem(init=init, cost=cost, data=(images, targets), network=network)
