"""Classification of handwritten digits with a fully connected network.

    minimize C = 1/n sum_i |network(image_i) - onehot(label_i)|^2

A constant prediction of the class frequencies has the cost 0.9, the baseline of ten balanced
classes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from gdjax.base.arguments import check_choice, check_whole
from gdjax.data.sets import ImageSet, load
from gdjax.problems.augmentation import Distortion, as_distortion, distorted
from gdjax.problems.losses import LOSSES, check_labels, cross_entropy, quadratic
from gdjax.problems.networks import Network, check_widths
from gdjax.problems.problem import Problem
from gdjax.problems.supervised import supervised


def digits(
    name: str | ImageSet = "mnist5k",
    *,
    widths: Sequence[int] = (16, 16),
    activation: str = "sigmoid",
    initializer: str = "fan_in",
    loss: str | Callable[[Array, Array], Array] = "quadratic",
    samples: int | None = None,
    distortion: Distortion | Mapping[str, Any] | None = None,
    data_dir: str | None = None,
) -> Problem:
    """Return the problem of classifying images with a fully connected network.

    Pixels stay uint8 in memory and are divided by 255 in each evaluation. The settings that can be
    swept are `init_scale` of the starting point and, with sigmoid neurons, `temperature`.

    Args:
        name: name of a data set that `gdjax.data.load` accepts, or a loaded `ImageSet`.
        widths: number of neurons in each hidden layer.
        activation: activation of the hidden neurons, and of the outputs unless they are logits.
        initializer: distribution of the initial weights (see `Network`).
        loss: "quadratic", "cross_entropy" (then the outputs are logits), or a function
            `(outputs, labels)` that returns one number per sample. The cost is its mean.
        samples: number of training images, from the start of the set; None for all.
        distortion: a `Distortion`, or a mapping of its fields. The network is then trained on
            shifted and rotated copies instead of the training images. Test images are not changed.
        data_dir: folder of prepared data sets; by default `TFDS_DATA_DIR` or
            `~/tensorflow_datasets`.

    Returns:
        A Problem whose data are `(images [samples, pixels], labels [samples])` and whose metric
        `test_accuracy` is the fraction of test images whose label is the index of the largest
        output.

    Examples:
        >>> problem = digits("mnist5k")
        >>> problem.network.parameter_count, problem.samples, round(problem.baseline, 3)
        (13002, 4000, 0.9)
    """
    if not callable(loss):
        check_choice("digits: loss", loss, LOSSES)
    check_widths("digits: widths", widths)
    if distortion is not None:
        distortion = as_distortion("digits", distortion)
    per_sample = LOSSES[loss] if isinstance(loss, str) else loss
    loss = next((name for name, known in LOSSES.items() if known is per_sample), loss)
    dataset = name if isinstance(name, ImageSet) else load(name, data_dir=data_dir)
    available = len(dataset.train_labels)
    if samples is not None:
        remedy = f", the training images of {dataset.name}"
        check_whole("digits: samples", samples, 1, available, remedy=remedy)
    for split, split_labels in (("train", dataset.train_labels), ("test", dataset.test_labels)):
        check_labels(split_labels, dataset.classes, f"digits: {split}_labels of {dataset.name}")
    images, labels = dataset.train_images[:samples], dataset.train_labels[:samples]
    if distortion is not None:
        images, labels = distorted(images, distortion), np.tile(labels, distortion.copies)
    images = flat(images)
    network = Network(
        (images.shape[1], *widths, dataset.classes),
        activation=activation,
        output_activation="identity" if loss == "cross_entropy" else None,
        initializer=initializer,
        input_scale=255,
    )

    def without_temperature(params, inputs):
        return network.apply(params, inputs)

    problem = supervised(
        network.init,
        network.apply if "sigmoid" in network.activations else without_temperature,
        per_sample,
        (images, labels),
        test=(flat(dataset.test_images), dataset.test_labels),
    )
    provenance = {
        "problem": "digits",
        "name": dataset.name,
        "hash": dataset.hash,
        "widths": list(network.widths[1:-1]),
        "activation": activation,
        "initializer": initializer,
        "cost": loss,  # the name of this key in existing stores
        "samples": samples,
        **({} if distortion is None else {"distortion": dataclasses.asdict(distortion)}),
    }
    return dataclasses.replace(
        problem,
        metrics={"test_accuracy": problem.metrics["test_accuracy"]},
        baseline=_baseline(per_sample, labels, dataset.classes),
        network=network,
        provenance=provenance if isinstance(loss, str) else None,
    )


def flat(images: np.ndarray) -> np.ndarray:
    """Return images as rows of pixels."""
    return images.reshape(len(images), -1)


def _baseline(loss, labels, classes):
    """Return the cost of predicting the class frequencies p: 1 - sum p^2, or entropy."""
    p = np.bincount(labels, minlength=classes) / len(labels)
    if loss is quadratic:
        return float(1 - np.sum(p**2))
    if loss is cross_entropy:
        return float(-np.sum(p[p > 0] * np.log(p[p > 0])))
    return None
