"""The seed's problem: a network of neurons that learns to read handwritten digits.

    minimise C = 1/n sum_i |network(image_i) - onehot(label_i)|^2

The network starts from random numbers, so its first guesses are right one time in ten:

>>> problem = digits("mnist5k")
>>> problem.network.parameter_count, problem.samples, round(problem.baseline, 3)
(13002, 4000, 0.9)
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from gdjax.arguments import check_whole, is_whole
from gdjax.data.sets import ImageSet, load
from gdjax.errors import InputError
from gdjax.problems.costs import COSTS, check_labels, quadratic
from gdjax.problems.distorted import Distortion, distorted
from gdjax.problems.networks import Network
from gdjax.problems.problem import Problem
from gdjax.problems.supervised import supervised


def digits(
    name: str | ImageSet = "mnist5k",
    *,
    widths: Sequence[int] = (16, 16),
    activation: str = "sigmoid",
    initializer: str = "fan_in",
    cost: str | Callable[[Array, Array], Array] = "quadratic",
    samples: int | None = None,
    distortion: Distortion | Mapping[str, Any] | None = None,
    data_dir: str | None = None,
) -> Problem:
    """Network, cost, data and test accuracy of an image classification, as one Problem.

    Pixels stay uint8 in memory and are divided by 255 in the step. With sigmoid neurons the cost
    has a `temperature` that can be swept; the starting point has an `init_scale`.

    Args:
        name: a data set that `gdjax.data.load` knows, or one that is loaded already.
        widths: hidden neurons a layer.
        activation: of the hidden neurons; the output's too, unless the cost takes logits.
        initializer: how weights start (see `Network`).
        cost: "quadratic", "cross_entropy" (then the outputs are logits), or a function
            `(outputs, labels) -> one number a sample`.
        samples: only the first so many training images; None takes all.
        distortion: learn from shifted and turned copies of the training images instead of the
            images themselves: a `Distortion`, or its fields by name. Test images stay as they are.
        data_dir: folder of prepared data sets, as for `load`.

    Returns:
        A Problem whose data are `(images [samples, pixels], labels [samples])` and whose metric
        `test_accuracy` is the share of test images whose largest output is at their label.

    Raises:
        InputError: an unknown cost, more samples than there are, unknown network settings, a
            distortion that cannot be, labels that no output stands for.
        DataError: the data set cannot be had.
    """
    if not callable(cost) and (not isinstance(cost, str) or cost not in COSTS):
        raise InputError(
            f"digits: cost = {cost!r:.80} is unknown; choose one of {', '.join(COSTS)}, or give a "
            f"function of (outputs, labels)"
        )
    if not isinstance(name, str | ImageSet):
        raise InputError(
            f"digits: name = {name!r:.80}, expected the name of an image set, such as 'mnist5k', "
            f"or what gdjax.data.load returns"
        )
    if not isinstance(widths, tuple | list) or not all(is_whole(width, 1) for width in widths):
        raise InputError(
            f"digits: widths = {widths!r:.80}, expected the neurons of each hidden layer, whole "
            f"numbers >= 1, such as (16, 16)"
        )
    if isinstance(distortion, Mapping) and distortion.keys() <= set(Distortion.__match_args__):
        distortion = Distortion(**distortion)
    if distortion is not None and not isinstance(distortion, Distortion):
        raise InputError(
            f"digits: distortion = {distortion!r:.80}, expected a Distortion or its fields: "
            f"{', '.join(field.name for field in dataclasses.fields(Distortion))}"
        )
    per_sample = COSTS[cost] if isinstance(cost, str) else cost
    cost = next((name for name, known in COSTS.items() if known is per_sample), cost)
    dataset = load(name, data_dir=data_dir) if isinstance(name, str) else name
    available = len(dataset.train_labels)
    if samples is not None:
        remedy = f", the training images of {dataset.name}"
        check_whole("digits: samples", samples, 1, available, remedy=remedy)
    for split, given in (("train", dataset.train_labels), ("test", dataset.test_labels)):
        check_labels(given, dataset.classes, f"digits: {split}_labels of {dataset.name}")
    images, labels = dataset.train_images[:samples], dataset.train_labels[:samples]
    if distortion is not None:
        images, labels = distorted(images, distortion), np.tile(labels, distortion.copies)
    images = flat(images)
    network = Network(
        (images.shape[1], *widths, dataset.classes),
        activation=activation,
        output_activation="identity" if cost == "cross_entropy" else None,
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
        "cost": cost,
        "samples": samples,
        **({} if distortion is None else {"distortion": dataclasses.asdict(distortion)}),
    }
    return dataclasses.replace(
        problem,
        metrics={"test_accuracy": problem.metrics["test_accuracy"]},
        baseline=_baseline(per_sample, labels, dataset.classes, cost),
        network=network,
        provenance=provenance if isinstance(cost, str) else None,
    )


def flat(images: np.ndarray) -> np.ndarray:
    """Images as rows of pixels."""
    return images.reshape(len(images), -1)


def _baseline(per_sample, labels, classes, cost):
    """Cost of always answering the class frequencies p: 1 - sum p^2, or their entropy in nats."""
    p = np.bincount(labels, minlength=classes) / len(labels)
    if per_sample is quadratic:
        return float(1 - np.sum(p**2))
    if cost == "cross_entropy":
        return float(-np.sum(p[p > 0] * np.log(p[p > 0])))
    return None
