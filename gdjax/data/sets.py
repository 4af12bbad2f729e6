"""Handwritten digits and other small image sets as uint8 arrays in memory.

The bundled set is available offline. It has 5,000 MNIST digits in a file of the package:

>>> digits = load("mnist5k")
>>> digits.train_images.shape, digits.test_images.shape, digits.classes
((4000, 28, 28), (1000, 28, 28), 10)

Any image classification data set that TFDS has prepared as array_record in its data folder can also
be loaded. `mnist`, `fashion_mnist` and `kmnist` are prepared if they are missing.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gdjax.base.arguments import check_text, check_type
from gdjax.base.errors import DataError
from gdjax.data.bundled import BUNDLED, mnist5k
from gdjax.data.cache import content_hash, load_decoded
from gdjax.data.preparation import SOURCES, data_folder, prepared, prepared_sets
from gdjax.data.tfds import describe


class ImageSet(NamedTuple):
    """An image classification data set, split into training and test data.

    Images are uint8 [n, height, width] or [n, height, width, channels]. Labels are integers from 0
    to `classes` - 1, uint8 or (for more than 256 classes) int32 [n]. `hash` identifies the content:
    the first 16 hex digits of the SHA-256 of shapes and bytes of the four arrays.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    hash: str

    def __repr__(self) -> str:
        train, test = (
            "x".join(map(str, images.shape)) for images in (self.train_images, self.test_images)
        )
        return f"ImageSet({self.name!r}, train {train}, test {test}, {self.classes} classes)"


class Available(NamedTuple):
    """A known image set: its location, and whether it loads without a network.

    `train` and `test` are numbers of images, or None if they are unknown without a download.
    """

    name: str
    where: str
    prepared: bool
    train: int | None = None
    test: int | None = None


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> ImageSet:
    """Load an image set by name; download and prepare it first if it is missing.

    Args:
        name: `mnist5k`, `mnist`, `fashion_mnist`, `kmnist`, or any image classification data set
            that TFDS has prepared as array_record in the data folder (`name` or `name/config`).
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Returns:
        The set, with rows in a fixed order that mixes the classes.

    Raises:
        DataError: if the name is unknown, if there is no network, disk space or write permission,
            or if files are damaged.

    Examples:
        The classes of `mnist5k` are balanced:

        >>> np.bincount(load("mnist5k").test_labels).tolist()
        [100, 100, 100, 100, 100, 100, 100, 100, 100, 100]
    """
    check_text("name", name)
    if name == BUNDLED:
        arrays = mnist5k()
        return ImageSet(name, *arrays, 10, content_hash(arrays))
    folder = prepared(name, data_dir)
    arrays, classes, digest = load_decoded(folder)
    return ImageSet(name, *arrays, classes, digest)


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Path:
    """Prepare a set from a download or from its original files (about 20 s).

    Args:
        name: `mnist`, `fashion_mnist` or `kmnist`. A set that is already prepared is not changed.
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        manual_dir: folder with the original `.gz` files; None to download them.

    Returns:
        The folder of the prepared set.
    """
    check_text("name", name)
    return describe(prepared(name, data_dir, manual_dir)).folder


def available(data_dir: str | os.PathLike | None = None) -> list[Available]:
    """Return all sets that `load` accepts: bundled, downloadable and prepared sets.

    Args:
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Examples:
        >>> [entry.name for entry in available()][:4]
        ['mnist5k', 'mnist', 'fashion_mnist', 'kmnist']
    """
    check_type("data_dir", data_dir, str | os.PathLike | None, "the path of a folder, or None")
    folder = data_folder(data_dir)
    sets = {BUNDLED: Available(BUNDLED, "comes with gdjax", True, 4000, 1000)}
    sets |= {name: Available(name, f"to be prepared in {folder}", False) for name in SOURCES}
    for name, place in prepared_sets(folder).items():
        with contextlib.suppress(DataError):  # `load` reports sets that are damaged or not images
            counts = describe(place).counts
            train, test = sum(counts["train"]), sum(counts["test"])
            sets[name] = Available(name, str(place), True, train, test)
    return list(sets.values())
