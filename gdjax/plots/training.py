"""Pictures of a network that learns to tell images apart: before, along the way, after.

All of them at once are `pictures`.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Integer, Num
from matplotlib.colors import PowerNorm
from matplotlib.ticker import PercentFormatter

from gdjax.plots import images as pixels
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, SKY, VERMILLION, Figure, style

WRONG = 24  # examples shown


def pictures(
    *,
    epoch: Float[np.ndarray, " records"],
    cost: Float[np.ndarray, " records"],
    accuracy: Float[np.ndarray, " records"],
    baseline: float | None,
    inputs: Num[np.ndarray, "samples pixels"],
    labels: Integer[np.ndarray, " samples"],
    before: Float[np.ndarray, "samples classes"],
    after: Float[np.ndarray, "samples classes"],
    weights: Float[np.ndarray, "neurons pixels"],
    test_cost: Float[np.ndarray, " records"] | None = None,
) -> dict[str, Figure]:
    """All pictures of one training, by name; those of images only where inputs are square images.

    Args:
        epoch: of each record.
        cost: over the training set.
        accuracy: share of test images that are right.
        baseline: cost of the best answer that ignores the image.
        inputs: test images, a row of pixels each.
        labels: what they show.
        before: outputs of the network for them, before training.
        after: the same, after it.
        weights: of the first layer, after training.
        test_cost: over the test set.
    """
    guesses, answers = (np.argmax(outputs, axis=1) for outputs in (before, after))
    classes = after.shape[1]
    found = {
        "learning": learning(epoch, cost, accuracy, baseline=baseline, test_cost=test_cost),
        "confusion": confusion(
            {"before": counts(labels, guesses, classes), "after": counts(labels, answers, classes)}
        ),
    }
    shown, seen = pixels.shaped(inputs), pixels.shaped(weights)
    if shown is not None and seen is not None:
        found["wrong"] = wrong(shown, labels, after)
        gray = seen if seen.ndim == 3 else seen.mean(axis=-1)
        found["weights"] = pixels.signed(
            gray,
            title=f"What the {len(gray)} neurons of the first layer look for",
            label="weight of a pixel"
            + ("" if seen.ndim == 3 else ", mean over its colours")
            + ": red where light excites the neuron, blue where it inhibits",
        )
    return found


def counts(
    labels: Integer[np.ndarray, " samples"], answers: Int[np.ndarray, " samples"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Confusion matrix: samples of class [row] that were taken for class [column].

    Examples:
        >>> counts(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    pairs = classes * labels.astype(int) + answers
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def learning(
    epoch: Float[np.ndarray, " records"],
    cost: Float[np.ndarray, " records"],
    accuracy: Float[np.ndarray, " records"],
    *,
    baseline: float | None = None,
    test_cost: Float[np.ndarray, " records"] | None = None,
) -> Figure:
    """Cost and test accuracy by epoch, one above the other.

    Args:
        epoch: of each record.
        cost: over the training set; +inf from divergence on.
        accuracy: share of test images that are right.
        baseline: cost of the best answer that ignores the image.
        test_cost: over the test set.
    """
    with style():
        figure = Figure(figsize=(8, 7))
        top, bottom = figure.subplots(2, 1, sharex=True)
        for values, color, label in (
            (cost, BLUE, "training images"),
            (test_cost, VERMILLION, "test images, never trained on"),
        ):
            if values is not None:
                shown = np.isfinite(values)
                top.plot(epoch[shown], values[shown], color=color, label=label)
        if baseline is not None:
            top.axhline(
                baseline, color=GREY, linestyle=":", label="best answer that ignores the image"
            )
        if np.any(cost[np.isfinite(cost)] > 0):
            top.set_yscale("log")
            # Plain numbers on the logarithmic axis, few enough to be read.
            top.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            top.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _leading(value) else "")
        top.set_ylabel("cost, mean over images")
        top.legend()
        known = np.flatnonzero(np.isfinite(accuracy))
        bottom.plot(epoch[known], accuracy[known], color=GREEN)
        bottom.set_ylim(0, 1)
        bottom.grid(axis="y")
        bottom.yaxis.set_major_formatter(PercentFormatter(1))
        bottom.set_ylabel("test images right")
        bottom.set_xlabel("epoch, passes over the training images")
        ends = cost[np.flatnonzero(np.isfinite(cost))[[0, -1]]] if np.isfinite(cost).any() else []
        top.set_title("Cost: " + " to ".join(f"{value:.3g}" for value in ends) if len(ends) else "")
        if len(known):
            first, last = accuracy[known[[0, -1]]]
            bottom.set_title(f"{first:.1%} right before, {last:.1%} after")
    return figure


def records(
    step: Int[np.ndarray, " records"],
    cost: Float[np.ndarray, " records"],
    *,
    batch_cost: Float[np.ndarray, " records"] | None = None,
    baseline: float | None = None,
    metrics: Mapping[str, Float[np.ndarray, " records"]] | None = None,
    title: str = "",
) -> Figure:
    """What one descent recorded: its cost, and below it each metric.

    Args:
        step: of each record.
        cost: over the training set; +inf from divergence on.
        batch_cost: mean of what the steps themselves saw; NaN where that is what is recorded.
        baseline: cost of the best answer that ignores the input.
        metrics: by name; NaN where not measured.
        title: of the picture.
    """
    metrics = metrics or {}
    with style():
        figure = Figure(figsize=(8, 3.2 + 2.4 * len(metrics)))
        top, *below = figure.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False)[:, 0]
        if batch_cost is not None and np.isfinite(batch_cost).any():
            top.plot(step, batch_cost, color=SKY, linewidth=1, label="of the mini-batches")
        shown = np.isfinite(cost)
        top.plot(step[shown], cost[shown], color=BLUE, label="over all training samples")
        if baseline is not None:
            label = "best answer that ignores the input"
            top.axhline(baseline, color=GREY, linestyle=":", label=label)
        if len(top.lines) > 1:
            top.legend()
        if np.all(cost[shown] > 0) and shown.any() and np.ptp(np.log10(cost[shown])) > 1:
            top.set_yscale("log")
        top.set_ylabel("cost")
        top.set_title(title)
        for axes, (name, values) in zip(below, metrics.items(), strict=True):
            known = np.isfinite(values)
            axes.plot(step[known], values[known], color=GREEN)
            axes.set_ylabel(name.replace("_", " "))
            axes.grid(axis="y")
        (below[-1] if below else top).set_xlabel("step")
    return figure


def _leading(value):
    """Whether a number begins with 2 or 5."""
    return round(value / 10 ** math.floor(math.log10(value))) in (2, 5)


def confusion(matrices: Mapping[str, Int[np.ndarray, "classes classes"]]) -> Figure:
    """What is taken for what, a matrix of counts a stage.

    Args:
        matrices: for each stage, samples of class [row] taken for class [column].
    """
    with style():
        figure = Figure(figsize=(6.4 * len(matrices), 6.6))
        for axes, (stage, matrix) in zip(
            np.ravel(figure.subplots(1, len(matrices), squeeze=False)),
            matrices.items(),
            strict=True,
        ):
            classes = len(matrix)
            share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            # The square root, so that few errors can be told from none.
            axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
            if classes <= 20:
                for row, column in np.argwhere(matrix > 0):
                    axes.text(
                        column,
                        row,
                        f"{matrix[row, column]}",
                        ha="center",
                        va="center",
                        color="white" if share[row, column] > 0.3 else BLACK,
                    )
                axes.set_xticks(np.arange(classes))
                axes.set_yticks(np.arange(classes))
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            right = np.trace(matrix) / max(matrix.sum(), 1)
            axes.set_title(f"{stage}: {right:.1%} right")
            axes.set_xlabel("the network says")
            axes.set_ylabel("the image shows")
    return figure


def wrong(
    images: Num[np.ndarray, "samples rows columns *colours"],
    labels: Integer[np.ndarray, " samples"],
    outputs: Float[np.ndarray, "samples classes"],
) -> Figure:
    """Images that are read wrongly, those first about which the network is surest.

    Args:
        images: dark background, as in MNIST.
        labels: what they show.
        outputs: of the network for them; its answer is the largest.
    """
    answers = np.argmax(outputs, axis=1)
    rows = np.arange(len(labels))
    sure = outputs[rows, answers] - outputs[rows, labels]
    order = np.argsort(-sure, kind="stable")
    order = order[answers[order] != labels[order]]
    shown = order[:WRONG]
    columns = 8
    lines = max(1, math.ceil(len(shown) / columns))
    with style():
        figure = Figure(figsize=(10, 1.4 * lines + 0.6))
        grid = np.ravel(figure.subplots(lines, columns, squeeze=False))
        for axes in grid:
            axes.set_axis_off()
        for axes, i in zip(grid, shown, strict=False):
            axes.imshow(images[i], cmap="gray_r")
            axes.set_title(f"{labels[i]} read as {answers[i]}", fontsize=12, pad=2, loc="center")
        figure.suptitle(
            f"{len(order)} of {len(labels)} test images are read wrongly"
            + (f"; the {len(shown)} surest errors" if len(order) > len(shown) else ""),
            x=0.02,
            ha="left",
        )
    return figure
