"""Page that trains a network to classify digits, offline in the browser.

    draw a digit -> 784 -> 16 -> 16 -> 10,   w <- w - rate grad C(w)

The page contains the images and a plain JavaScript implementation of the descent
(`resources/lesson`). For equal seeds, the page and gdjax have the same initial parameters, orders
of batches and, up to rounding, costs.
"""

import itertools
import json
from typing import Any

import numpy as np

from gdjax import __version__
from gdjax.errors import InputError
from gdjax.pages.page import Page, build, deflated, read
from gdjax.pages.quantization import quantize
from gdjax.problems.networks import Layer
from gdjax.problems.test_functions import FUNCTIONS

MAX_TRAIN_IMAGES = 5000
TEST_IMAGES = 1000  # maximum number of test images in the page
ACTIVATIONS = ("sigmoid", "tanh", "relu")
COSTS = ("quadratic", "cross_entropy")
CURVES = ("quartic", "sine_bowl", "two_sines")


def lesson(problem: Any, networks: tuple[Layer, ...] | None = None) -> Page:
    """Return a page on which to draw digits and train a network to classify them.

    The page trains networks of the problem's widths on the problem's images. It opens from a file
    and works offline.

    Args:
        problem: a problem of `problems.digits` with at most 5,000 square uint8 training images.
        networks: trained parameters of the problem's network, with a leading axis of networks. In
            the last step of the course, all of them classify one image. Their weights are quantized
            to bytes. None omits this step.

    Returns:
        The page, written to a file by `page.save("lesson.html")`.

    Raises:
        InputError: if the problem is not a classification of square uint8 images by a network with
            hidden layers, if it has too many images, or if `networks` are given, but have other
            shapes than its network, or its activation or cost is not available in the page.

    Examples:
        >>> import gdjax as gd
        >>> problem = gd.problems.digits("mnist5k")
        >>> gd.lesson(problem).save("lesson.html")  # doctest: +SKIP
    """
    _check(problem)
    many = None if networks is None else _many(problem, networks)
    images, labels = (np.asarray(array) for array in problem.data)
    test_images, test_labels = (np.asarray(a) for a in problem.metrics["test_accuracy"].data)
    texts = json.loads(read("lesson/texts.json"))
    return build(
        texts["title"],
        "lesson/page.html",
        {
            "version": __version__,
            "texts": texts,
            "set": str((problem.provenance or {}).get("name", "digits")),
            "widths": list(problem.network.widths),
            "train": _image_set(images, labels),
            "test": _image_set(test_images[:TEST_IMAGES], test_labels[:TEST_IMAGES]),
            "networks": many,
            "curves": {
                name: {
                    "domain": FUNCTIONS[name].domain[0],
                    "minima": [[point.x, point.value] for point in FUNCTIONS[name].minima],
                }
                for name in CURVES
            },
        },
        styles=("base.css", "lesson/page.css"),
        scripts=("lesson/lesson.js",),
        worker="lesson/worker.js",
    )


def _image_set(images, labels):
    return {"images": deflated(images), "labels": deflated(labels), "size": images.shape[1]}


def _many(problem, networks):
    try:
        layers = [(np.asarray(weights), np.asarray(bias)) for weights, bias in networks]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"lesson: networks = {networks!r:.80}, expected the layers (weights, bias) of several "
            f"networks, with a leading axis of networks"
        ) from error
    fans = itertools.pairwise(problem.network.widths)
    count = len(layers[0][0])
    wanted = [((count, n_out, n_in), (count, n_out)) for n_in, n_out in fans]
    shapes = [(weights.shape, bias.shape) for weights, bias in layers]
    if shapes != wanted:
        raise InputError(
            f"lesson: networks has shapes {shapes}, expected {wanted}: the parameters of the "
            f"problem's network with a leading axis of networks"
        )
    provenance = problem.provenance or {}
    model = {name: provenance.get(name) for name in ("activation", "cost")}
    if model["activation"] not in ACTIVATIONS or model["cost"] not in COSTS:
        raise InputError(
            f"lesson: the networks belong to a problem with {model}, expected an activation among "
            f"{', '.join(ACTIVATIONS)} and a cost among {', '.join(COSTS)}"
        )
    code, scale, bias = quantize(layers)
    return {
        "count": count,
        "bytes": deflated(code.view(np.uint8)),
        "scales": scale.astype(np.float32),
        "biases": bias.astype(np.float32),
        "model": model,
    }


def _check(problem):
    network = getattr(problem, "network", None)
    if (
        network is None
        or len(network.widths) < 3
        or network.input_scale != 255
        or int(np.sqrt(network.widths[0])) ** 2 != network.widths[0]
        or "test_accuracy" not in problem.metrics
    ):
        raise InputError(
            "lesson: problem is not a network with hidden layers that classifies square uint8 "
            'images; pass problems.digits("mnist5k"), or other widths'
        )
    if problem.samples > MAX_TRAIN_IMAGES:
        raise InputError(
            f"lesson: problem has {problem.samples:,} training images, expected at most "
            f"{MAX_TRAIN_IMAGES:,}, since the page contains them; pass problems.digits(..., "
            f"samples={MAX_TRAIN_IMAGES})"
        )
