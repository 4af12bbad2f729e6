"""Costs, accuracies, confusion matrices and errors of a trained classifier.

`training_figures` returns all figures of a training run.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, Num
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from gdjax.plots import images as pixels
from gdjax.plots.axes import log_scale
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, SKY, VERMILLION, Figure, style
from gdjax.plots.sweeps import BASELINE

MAX_EXAMPLES = 24  # maximum number of misclassified images in a figure


def training_figures(dataset: Any) -> dict[str, Figure]:
    """Return all figures of a training run, by name.

    Figures of images are included only if the test images and the rows of weights are square.

    Args:
        dataset: Dataset with the variables `epoch`, `cost`, `test_accuracy` and, if known,
            `test_cost` of each record; `image` (test images, one row of pixels each), `label`
            (their classes), `before` and `after` (outputs of the network for them before and after
            training); `weight` (weights of the first layer, one row per neuron); and the attribute
            `baseline`, the cost of the best constant prediction, or None.

    Examples:
        >>> import xarray as xr
        >>> records, matrix = ("epoch", np.array([0.9, 0.5])), (("test", "i"), np.eye(2))
        >>> images = dict.fromkeys(("image", "before", "after", "weight"), matrix)
        >>> images["label"] = "test", [0, 1]
        >>> data = {"epoch": [0, 1], "cost": records, "test_accuracy": records}
        >>> sorted(training_figures(xr.Dataset(data | images, attrs={"baseline": 0.9})))
        ['confusion', 'learning']
    """
    outputs, labels = dataset.after.values, dataset.label.values
    matrices = {
        stage: confusion_matrix(labels, np.argmax(values, axis=1), values.shape[1])
        for stage, values in {"before": dataset.before.values, "after": outputs}.items()
    }
    costs = {"training images": (dataset.cost.values, {"color": BLUE})}
    if "test_cost" in dataset:
        costs["test images"] = dataset.test_cost.values, {"color": VERMILLION}
    accuracies = {"test_accuracy": dataset.test_accuracy.values}
    curves = _draw_records(dataset.epoch.values, costs, accuracies, dataset.attrs["baseline"])
    curves.axes[-1].set_xlabel("epoch, passes over the training images")
    figures = {"learning": curves, "confusion": confusion(matrices)}
    images, neurons = (pixels.square_images(dataset[name].values) for name in ("image", "weight"))
    if images is not None and neurons is not None:
        figures["wrong"] = misclassified(images, labels, outputs)
        unit = "weight of a pixel"
        if neurons.ndim == 4:
            neurons, unit = neurons.mean(axis=-1), f"{unit}, mean over its colors"
        title = f"Weights of the {len(neurons)} neurons of the first layer"
        label = f"{unit}: red where light excites the neuron, blue where it inhibits"
        figures["weights"] = pixels.signed(neurons, title=title, label=label)
    return figures


def confusion_matrix(
    labels: Integer[np.ndarray, " samples"], answers: Int[np.ndarray, " samples"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Return the number of samples of class [row] classified as [column].

    Examples:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    pairs = classes * labels.astype(int) + answers
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def records(run: Any, *, title: str = "") -> Figure:
    """Draw the recorded cost and metrics of one descent, one panel each.

    Args:
        run: result of `descend`.
        title: figure title; by default, the number of steps and the outcome.
    """
    costs = {
        "of the mini-batches": (run.batch_cost, {"color": SKY, "linewidth": 1}),
        "over all training samples": (run.cost, {"color": BLUE}),
    }
    figure = _draw_records(run.recorded_steps, costs, run.metrics, run.baseline)
    outcome = run.outcome.label
    with style():
        title = title or f"{run.num_steps:,} step{'s' * (run.num_steps != 1)}: {outcome}"
        figure.axes[0].set_title(title)
        figure.axes[-1].set_xlabel("step")
    return figure


def _draw_records(x, costs, metrics, baseline):
    """Draw costs, given with the looks of their lines by label, and each metric below them."""
    with style():
        figure = Figure(figsize=(8, 3.2 + 2.4 * len(metrics)))
        top, *below = figure.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False)[:, 0]
        for label, (values, look) in costs.items():
            shown = np.isfinite(values)
            marker = "" if shown.sum() > 1 else "o"
            if not np.isnan(values).all():
                top.plot(x[shown], values[shown], marker=marker, label=label, **look)
        if baseline is not None:
            top.axhline(baseline, color=GREY, linestyle=":", label=BASELINE)
        if len(top.lines) > 1:
            top.legend()
        every = np.concatenate([values for values, _ in costs.values()])
        log_scale(top, every, ratio=10)
        top.set_ylabel("cost")
        for axes, (name, values) in zip(below, metrics.items(), strict=True):
            shown = np.isfinite(values)
            axes.plot(x[shown], values[shown], color=GREEN)
            axes.set_ylabel(name.replace("_", " "))
            axes.grid(axis="y")
            if "accuracy" in name:
                axes.set_ylim(0, 1)
                axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def confusion(matrices: Mapping[str, Int[np.ndarray, "classes classes"]]) -> Figure:
    """Draw confusion matrices side by side.

    Args:
        matrices: for the name of each stage, numbers of samples of class [row] classified as
            [column].
    """
    with style():
        figure = Figure(figsize=(5.2 * len(matrices), 5.6))
        panels = figure.subplots(1, len(matrices), squeeze=False)[0]
        for axes, (stage, matrix) in zip(panels, matrices.items(), strict=True):
            classes = len(matrix)
            share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            # The square root makes small numbers of errors visible.
            axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
            if classes <= 20:
                for row, column in np.argwhere(matrix > 0):
                    color = "white" if share[row, column] > 0.3 else BLACK
                    count = str(matrix[row, column])
                    axes.text(column, row, count, ha="center", va="center", color=color)
                axes.set_xticks(np.arange(classes))
                axes.set_yticks(np.arange(classes))
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            right = np.trace(matrix) / max(matrix.sum(), 1)
            axes.set(title=f"{stage}: accuracy {right:.1%}", xlabel="predicted class")
            axes.set_ylabel("true class")
    return figure


def misclassified(
    images: Num[np.ndarray, "samples rows columns *colors"],
    labels: Integer[np.ndarray, " samples"],
    outputs: Float[np.ndarray, "samples classes"],
) -> Figure:
    """Draw misclassified images in descending order of the margin.

    The margin is the largest output minus the output of the true class.

    Args:
        images: images with a dark background, as in MNIST.
        labels: classes of the images.
        outputs: outputs of the network for the images; the class of the largest is predicted.

    Examples:
        >>> outputs = np.array([[1.0, 0.0], [2.0, 0.0]])
        >>> misclassified(np.zeros((2, 3, 3)), np.array([0, 1]), outputs).get_suptitle()
        '1 of 2 test images are misclassified'
    """
    answers = np.argmax(outputs, axis=1)
    rows = np.arange(len(labels))
    margin = outputs[rows, answers] - outputs[rows, labels]
    order = np.argsort(-margin, kind="stable")
    order = order[answers[order] != labels[order]]
    shown = order[:MAX_EXAMPLES]
    columns = 8
    lines = max(1, math.ceil(len(shown) / columns))
    with style():
        figure = Figure(figsize=(10, 1.4 * lines + 0.6))
        grid = np.ravel(figure.subplots(lines, columns, squeeze=False))
        for axes in grid:
            axes.set_axis_off()
        for axes, i in zip(grid, shown, strict=False):
            axes.imshow(images[i], cmap="gray_r")
            axes.set_title(f"{labels[i]} as {answers[i]}", fontsize=12, pad=2, loc="center")
        figure.suptitle(
            f"{len(order)} of {len(labels)} test images are misclassified"
            + (f"; the {len(shown)} with the largest margin" if len(order) > len(shown) else ""),
            x=0.02,
            ha="left",
        )
    return figure
