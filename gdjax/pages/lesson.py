"""The lesson: one network on its way from random numbers to reading digits, as a page.

    draw a digit -> 784 -> 16 -> 16 -> 10 light up, at every stage of the descent
    a_l = s(W_l a_{l-1} + b_l),   C = |a_L - onehot|^2,   the slopes of C by backpropagation

The page computes these itself, in float64 from the parameters that were kept along the way.
"""

from typing import Any

import jax
import numpy as np

from gdjax import __version__
from gdjax.errors import InputError
from gdjax.pages.page import Page, build
from gdjax.problems.functions import FUNCTIONS

STAGES = 25  # of the descent, at most
EXAMPLES = 100  # test digits that the page brings
CURVES = ("quartic", "sine_bowl", "two_sines")
SCRIPTS = (
    "base.js",
    "chart.js",
    "functions.js",
    "network.js",
    "pad.js",
    "diagram.js",
    "ball.js",
    "matter.js",
    "lesson.js",
)


def lesson(problem: Any, run: Any) -> Page:
    """One page on which a network can be seen to learn, and asked to read what one draws.

    Args:
        problem: of `problems.digits`: square images, sigmoid neurons, the quadratic cost.
        run: a descent of it with snapshots, the start among them.

    Returns:
        The page: `page.save("lesson.html")`.

    Raises:
        InputError: another problem, or a descent of which no snapshots were kept.

    Examples:
        >>> import jax, optax
        >>> import gdjax as gd
        >>> problem = gd.problems.digits("mnist5k", samples=100)
        >>> key = jax.random.key(0)
        >>> run = gd.descend(problem, optax.sgd(3.0), problem.init(key), 20, key=key,
        ...                  record_every=5, snapshot_every=5)
        >>> gd.lesson(problem, run).save("lesson.html")  # doctest: +SKIP
    """
    _check(problem, run)
    kept = _stages(run.snapshot_step)
    leaves = [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(run.snapshots)]
    params = np.concatenate([leaf[kept].reshape(len(kept), -1) for leaf in leaves], axis=1)
    images, labels = (np.asarray(a) for a in problem.measures["test_accuracy"].data)
    return build(
        "How a network learns to read",
        "lesson.html",
        {
            "version": __version__,
            "set": str((problem.provenance or {}).get("name", "digits")),
            "widths": list(problem.network.widths),
            "step": np.asarray(run.snapshot_step)[kept],
            "params": params,
            "images": images[:EXAMPLES].astype(np.uint8),
            "labels": labels[:EXAMPLES].astype(np.uint8),
            "records": {
                "step": np.asarray(run.step),
                "cost": np.asarray(run.cost, np.float32),
                "accuracy": np.asarray(run.measures["test_accuracy"], np.float32),
            },
            "baseline": problem.baseline,
            "samples": problem.samples,
            "tested": len(labels),
            "curves": {
                name: {
                    "domain": FUNCTIONS[name].domain[0],
                    "minima": [[point.x, point.value] for point in FUNCTIONS[name].minima],
                }
                for name in CURVES
            },
        },
        styles=("base.css", "lesson.css"),
        scripts=SCRIPTS,
    )


def _stages(step):
    """Which snapshots are shown: their steps grow by equal ratios, as what is learned does."""
    last = len(step) - 1
    wanted = np.geomspace(1, last + 1, STAGES) - 1
    return np.unique(np.round(wanted).astype(int))


def _check(problem, run):
    network = getattr(problem, "network", None)
    if (
        network is None
        or len(network.widths) < 3
        or set(network.activations) != {"sigmoid"}
        or (problem.provenance or {}).get("cost") != "quadratic"
        or network.input_scale != 255
        or int(np.sqrt(network.widths[0])) ** 2 != network.widths[0]
        or "test_accuracy" not in problem.measures
    ):
        raise InputError(
            "lesson: problem is not of sigmoid neurons that read square images of bytes with the "
            'quadratic cost; give problems.digits("mnist5k"), or other widths'
        )
    if run.snapshots is None or not len(run.snapshot_step):
        raise InputError(
            "lesson: run = a descent of which nothing was kept on the way; give "
            "descend(..., snapshot_every=25)"
        )
    if "test_accuracy" not in run.measures:
        raise InputError("lesson: run = a descent that did not record test_accuracy; record it")
