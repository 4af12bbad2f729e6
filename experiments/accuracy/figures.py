"""Figures of training variants: accuracies, first layers, errors and trajectories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots import images as pixels
from gdjax.plots import landscapes
from gdjax.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, label_log_axis, style

MAX_GAIN = 0.05  # largest |gain| that is drawn with an error bar
COLORS = (ORANGE, BLUE)  # colors of the recipes


def ladder(
    accuracy: Mapping[str, Float[np.ndarray, " seeds"]],
    gains: Mapping[str, tuple[float, float]],
    level: float,
) -> Figure:
    """Draw the accuracy from every start with each training variant, and the gains.

    Args:
        accuracy: accuracy on held-out images, by training variant.
        gains: mean gain and half width of its interval, by training variant; the variants in
            `accuracy` come first.
        level: confidence level of the intervals.
    """
    names, values = list(accuracy), np.stack(list(accuracy.values()))
    with style():
        figure = Figure(figsize=(13, 2.4 + 0.34 * len(gains)))
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        for seed in range(values.shape[1]):
            left.plot(values[:, seed], np.arange(len(names)), color=GREY, linewidth=0.6, zorder=1)
        rows = np.repeat(np.arange(len(names)), values.shape[1])
        left.scatter(values.ravel(), rows, s=14, color=BLUE, zorder=2)
        left.scatter(values.mean(axis=1), np.arange(len(names)), s=90, color=VERMILLION, marker="|")
        left.set_yticks(range(len(names)), [("+ " if i else "") + n for i, n in enumerate(names)])
        left.invert_yaxis()
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        left.set_xlabel("accuracy on held-out images")
        left.set_title(f"{values.shape[1]} starts, cumulative changes")
        for row, (name, (mean, half)) in enumerate(gains.items()):
            color = BLUE if name in accuracy else ORANGE
            if not abs(mean) <= MAX_GAIN:  # larger gains would compress the scale
                right.text(0.03, row, f"{100 * mean:.0f} ± {100 * half:.0f}", color=color)
                continue
            right.errorbar(100 * mean, row, xerr=100 * half, fmt="o", color=color, capsize=4)
        right.axvline(0, color=GREY, linewidth=1)
        right.axhline(len(names) - 1.5, color=GREY, linestyle=":", linewidth=1)
        right.set_yticks(range(len(gains)), list(gains))
        right.invert_yaxis()
        right.set_xlabel(f"gain in percentage points, with {level:.0%} intervals")
        right.set_title("Cumulative changes (above), single changes (below)")
    return figure


def first_layers(
    weights: Mapping[str, Float[np.ndarray, "neurons pixels"]], accuracy: Mapping[str, float]
) -> Figure:
    """Draw the first-layer weights of two networks, one above the other.

    Args:
        weights: weights by recipe.
        accuracy: accuracy of each network, by recipe.
    """
    rows = np.concatenate(list(weights.values()))
    images = pixels.square_images(rows)
    titles = " above, ".join(f"{name} (accuracy {accuracy[name]:.1%})" for name in weights)
    return pixels.signed(
        images if images is not None else rows[:, None],
        names=[f"{name}, {i}" for name, own in weights.items() for i in range(len(own))],
        title=f"First layers from one start: {titles} below",
        label="weight of a pixel: red if positive, blue if negative",
    )


def differences(
    wrong: Mapping[str, Float[np.ndarray, "seeds classes"]],
    slopes: Mapping[str, Float[np.ndarray, "layers bins"]],
    layers: tuple[str, ...],
    *,
    left: float,
) -> Figure:
    """Draw errors by digit, and histograms of the slopes of the sigmoids.

    Args:
        wrong: share of the test images of each class that is misclassified, by recipe.
        slopes: share of pairs of neuron and test image in each bin of slopes from 0 to 1, by
            recipe.
        layers: names of the layers.
        left: number of errors of the second recipe divided by that of the first.
    """
    with style():
        figure = Figure(figsize=(11, 8))
        grid = figure.subplots(2, len(layers))
        top = grid[0, 0].get_gridspec()
        for axes in grid[0]:
            axes.remove()
        bars = figure.add_subplot(top[0, :])
        for number, ((name, share), color) in enumerate(zip(wrong.items(), COLORS, strict=True)):
            bars.bar(
                np.arange(share.shape[1]) + 0.4 * number - 0.2,
                share.mean(axis=0),
                0.38,
                yerr=share.std(axis=0, ddof=1),
                color=color,
                label=name,
                error_kw={"ecolor": GREY},
            )
        bars.set_xticks(range(share.shape[1]))
        bars.yaxis.set_major_formatter(PercentFormatter(1))
        bars.set(xlabel="digit", ylabel="misclassified test images")
        first, second = wrong
        bars.set_title(f"Number of errors: {second} has {left:.0%} of those of {first}")
        bars.legend()
        for layer, axes in enumerate(grid[1]):
            for (name, shares), color in zip(slopes.items(), COLORS, strict=True):
                middle = (np.arange(shares.shape[1]) + 0.5) / shares.shape[1]
                axes.step(middle, shares[layer], where="mid", color=color, label=name)
            axes.set(yscale="log", title=layers[layer], xlabel="slope, at most 1")
        grid[1, 0].set_ylabel("share of neurons and images")
    return figure


def trajectories(ground: Any, paths: Mapping[str, Any], accuracy: Mapping[str, float]) -> Figure:
    """Draw two descents from one start, on the plane through it and both end points.

    Args:
        ground: cost on the plane, from `gdjax.landscape.plane`.
        paths: trajectories by recipe, from `gdjax.landscape.descent_on_slice`.
        accuracy: accuracy of the network at each end point, by recipe.
    """
    norm = landscapes.cost_scale([ground])
    with style():
        figure = Figure(figsize=(12, 6))
        axes, side = figure.subplots(1, 2, width_ratios=(1.5, 1))
        landscapes.plane(ground, norm=norm, ax=axes)
        landscapes.cost_colorbar(norm, ax=axes, location="left", aspect=35, pad=0.02)
        for (name, path), color in zip(paths.items(), COLORS, strict=True):
            a, b = path.path_a.values, path.path_b.values
            axes.plot(a, b, color="white", linewidth=4, zorder=3)
            axes.plot(a, b, ".-", color=color, linewidth=1.6, zorder=4)
            axes.plot(a[-1], b[-1], "*", color=color, markeredgecolor="white", ms=22, zorder=5)
            axes.annotate(
                f"{name}: test accuracy {accuracy[name]:.1%}", (a[-1], b[-1]), xytext=(0, 14),
                zorder=6, textcoords="offset points", ha="center", fontsize=12,
                bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0},
            )  # fmt: skip
            share = path.snapshot_step.values / path.snapshot_step.values[-1]
            side.plot(share, path.path_cost.values, color=color, label=name)
            side.plot(
                share, path.path_cost_in_slice.values, color=color, linestyle=(0, (4, 1.5)),
                label=f"{name}, its projection",
            )  # fmt: skip
        axes.plot(a[0], b[0], "o", color="white", markeredgecolor=BLACK, ms=12, zorder=5)
        axes.set_title("Two descents from one start")
        side.set_yscale("log")
        label_log_axis(side.yaxis)
        side.set(xlabel="share of the steps", ylabel="training cost")
        side.set_title(
            "Distance from the plane:\nat most "
            + " and ".join(f"{float(path.path_off.max()):.0f}" for path in paths.values())
        )
        side.legend()
    return figure
