"""Page that trains a network to classify digits, offline in the browser.

    draw a digit -> 784 -> 16 -> 16 -> 10,   w <- w - rate grad C(w)

The page contains the images, a trained network, and a plain JavaScript implementation of the
descent (`resources/lesson`). For equal seeds, the page and gdjax have the same initial parameters,
orders of batches and, up to rounding, costs.
"""

import dataclasses
import json
from typing import Any

import numpy as np

from gdjax import __version__
from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import Whole
from gdjax.pages.explorer import plane_data
from gdjax.pages.page import Page, build, deflated, read
from gdjax.problems.networks import Layer
from gdjax.problems.test_functions import FUNCTIONS

LANGUAGES = ("en", "zh")
MAX_TRAIN_IMAGES = 5000
TEST_IMAGES = 1000  # maximum number of test images in the page
LEARNING_RATE, BATCH_SIZE, STEPS = 3.0, 32, 1250  # the defaults of the page (address.js)
MODEL = {"activation": "sigmoid", "cost": "quadratic"}
COMPARED_STEPS, COMPARED = 125, ((1.0, 3.0, 10.0), 3)  # rates, and number of starts
CURVES = ("quartic", "sine_bowl", "two_sines")
PLANE_POINTS, PLANE_MARGIN = 31, 0.25  # of a side; the margin is a share of the descent's extent
GRAY_STEP = 17  # between gray values of the page: 16 levels take 60 % of the space of 256
MAX_CODE = 15  # largest quantized weight; almost all answers are those of the exact weights


def lesson(problem: Any, networks: int = 48) -> Page:
    """Return a page on which to draw digits and train a network to classify them.

    The page contains a network that this function trains from seed 0, the plane of its descent, and
    curves of mini-batches and whole sets; it trains further networks itself. It opens from a file
    and works offline. Its gray values are multiples of 17, which keeps the file small.

    Args:
        problem: a problem of `problems.digits` with at most 5,000 square uint8 training images,
            sigmoid activations and the quadratic cost.
        networks: number of networks, trained from the seeds 0, 1, ..., that classify one image in
            the last step of the course. Their weights are quantized to 31 values. 0 omits this
            step.

    Returns:
        The page, written to a file by `gd.pages.lesson(problem).save("lesson.html")`.
    """
    _check(problem)
    check_limits("lesson: networks", networks, Whole)
    problem = rounded(problem)
    images, labels = (np.asarray(array) for array in problem.data)
    test_images, test_labels = (np.asarray(a) for a in problem.metrics["test_accuracy"].data)
    texts = {language: read(f"lesson/texts/{language}.json") for language in LANGUAGES}
    return build(
        json.loads(texts["en"])["title"],
        "lesson/page.html",
        {
            "version": __version__,
            "texts": {language: deflated(text) for language, text in texts.items()},
            "set": str(problem.provenance.get("name", "digits")),
            "widths": list(problem.network.widths),
            "train": _image_set(images, labels),
            "test": _image_set(test_images[:TEST_IMAGES], test_labels[:TEST_IMAGES]),
            "trained": _descent(problem),
            "compared": [_compared(problem, batch_size) for batch_size in (BATCH_SIZE, None)],
            "networks": _many(train_networks(problem, networks)) if networks else None,
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


def rounded(problem: Any) -> Any:
    """Return the problem with gray values of 16 levels, which are those of the page."""

    def levels(data):
        images, labels = data
        codes = (np.asarray(images, np.int32) + GRAY_STEP // 2) // GRAY_STEP
        return (codes * GRAY_STEP).astype(np.uint8), labels

    accuracy = problem.metrics["test_accuracy"]
    metrics = {"test_accuracy": dataclasses.replace(accuracy, data=levels(accuracy.data))}
    return dataclasses.replace(
        problem, data=levels(problem.data), metrics={**problem.metrics, **metrics}
    )


def train_networks(problem: Any, count: int) -> tuple[Layer, ...]:
    """Return parameters trained from seeds 0, 1, ..., stacked along a leading axis."""
    runs = _sweep(problem, STEPS, BATCH_SIZE, STEPS, [LEARNING_RATE], count)
    return tuple(
        Layer(runs[f"params.{i}.weights"].values[0], runs[f"params.{i}.bias"].values[0])
        for i in range(len(problem.network.widths) - 1)
    )


def quantize(networks: tuple[Layer, ...]) -> tuple[np.ndarray, ...]:
    """Return weights as small codes, the scale of each neuron, and biases, of stacked networks.

    w_ij ≈ scale_i code_ij,   scale_i = max_j |w_ij| / 15
    """
    scales = [np.abs(weights).max(-1) / MAX_CODE for weights, _ in networks]
    codes = [
        np.round(weights / np.where(scale == 0, 1, scale)[..., None]).astype(np.int8)
        for (weights, _), scale in zip(networks, scales, strict=True)
    ]
    flat = [code.reshape(len(code), -1) for code in codes]
    return tuple(np.concatenate(parts, 1) for parts in (flat, scales, [b for _, b in networks]))


def _sweep(problem, steps, batch_size, record_every, rates, starts):
    import optax

    from gdjax import sweeps
    from gdjax.base import interrupts

    grid = sweeps.axes(learning_rate=rates, seed=range(starts))
    options = {"batch_size": batch_size, "record_every": record_every}
    with interrupts.interruptible():
        return sweeps.sweep(problem, grid, steps, make_optimizer=optax.sgd, **options)


def _descent(problem):
    """Return the network trained from seed 0, and the plane in which its descent moves most."""
    import optax

    from gdjax import descent
    from gdjax.base import keys

    streams, every = keys.run_keys(0, seed=0), STEPS // 50
    run = descent.descend(
        problem, optax.sgd(LEARNING_RATE), problem.init(streams.init), STEPS,
        key=streams, batch_size=BATCH_SIZE, record_every=every, snapshot_every=every,
    )  # fmt: skip
    return {
        "step": STEPS,
        "params": np.concatenate([np.ravel(a) for layer in run.params for a in layer]).astype("f4"),
        "plane": _plane(problem, run),
    }


def _plane(problem, run):
    """Return the cost on the plane of a descent, whose directions are those of 8-bit codes.

    Descents of the page start on the plane, so the directions have to be those of the surface.
    """
    import jax
    from jax.flatten_util import ravel_pytree

    from gdjax import landscape
    from gdjax.landscape.components import principal_components

    unravel = ravel_pytree(run.params)[1]
    exact = principal_components(run.snapshots, center=run.params).directions
    flat = np.stack([ravel_pytree(jax.tree.map(lambda d, i=i: d[i], exact))[0] for i in (0, 1)])
    scales = np.abs(flat).max(1) / 127
    codes = np.round(flat / scales[:, None]).astype(np.int8)
    directions = {
        f"direction {i}": unravel((scale * code).astype(np.float32))
        for i, (scale, code) in enumerate(zip(scales, codes, strict=True), 1)
    }
    path = landscape.descent_on_slice(
        problem, run.params, directions, run.snapshots, step=run.snapshot_step
    )
    sides = []
    for axis in "ab":
        ends = path[f"path_{axis}"].values.min(), path[f"path_{axis}"].values.max()
        margin = PLANE_MARGIN * (ends[1] - ends[0])
        sides.append(np.linspace(ends[0] - margin, ends[1] + margin, PLANE_POINTS))
    surface = landscape.plane(problem, run.params, directions, *sides)
    shared = {"codes": deflated(codes.view(np.uint8)), "scales": scales.astype(np.float64)}
    return plane_data("", surface.merge(path)) | {"directions": shared}


def _compared(problem, batch_size):
    """Return means over starts of cost and accuracy, by rate and step."""
    every = 5 if batch_size else 1
    runs = _sweep(problem, COMPARED_STEPS, batch_size, every, *COMPARED).mean("seed")
    return {
        "batch": batch_size or 0,
        "rates": np.asarray(COMPARED[0]),
        "step": np.asarray(runs.step.values),
        "cost": runs.cost.values.astype(np.float32),
        "accuracy": runs.test_accuracy.values.astype(np.float32),
    }


def _image_set(images, labels):
    return {"images": deflated(images), "labels": deflated(labels), "size": images.shape[1]}


def _many(networks):
    codes, scales, biases = quantize(networks)
    return {
        "count": len(codes),
        "bytes": deflated(codes.view(np.uint8)),
        "scales": scales.astype(np.float32),
        "biases": biases.astype(np.float32),
        "model": MODEL,
    }


def _check(problem):
    network = getattr(problem, "network", None)
    if (
        network is None
        or len(network.widths) < 3
        or network.input_scale != 255
        or int(np.sqrt(network.widths[0])) ** 2 != network.widths[0]
        or "test_accuracy" not in problem.metrics
        or not MODEL.items() <= (problem.provenance or {}).items()
    ):
        raise InputError(
            "lesson: problem is not a network with hidden layers that classifies square uint8 "
            "images, with sigmoid activations and the quadratic cost; pass "
            'problems.digits("mnist5k"), or other widths'
        )
    if problem.samples > MAX_TRAIN_IMAGES:
        raise InputError(
            f"lesson: problem has {problem.samples:,} training images, expected at most "
            f"{MAX_TRAIN_IMAGES:,}, since the page contains them; pass problems.digits(..., "
            f"samples={MAX_TRAIN_IMAGES})"
        )
