"""Figures of training variants: accuracies, first layers, errors and trajectories.

All functions draw the Dataset of the experiment.
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots import images as pixels
from gdjax.plots import landscapes
from gdjax.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, label_log_axis, style

from .summary import LEVEL, by_name, errors, gains

MAX_GAIN = 0.05  # largest |gain| that is drawn with an error bar
COLORS = (ORANGE, BLUE)  # colors of the recipes
LAYERS = ("pixels to 16", "16 to 16", "16 to 10")


def ladder(dataset: xr.Dataset) -> Figure:
    """Draw the accuracy from every start with each training variant, and the gains."""
    accuracy, gained = by_name(dataset, "ladder", "validation_accuracy"), gains(dataset)
    names, values = list(accuracy), np.stack(list(accuracy.values()))
    with style():
        figure = Figure(figsize=(13, 2.4 + 0.34 * len(gained)))
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
        for row, (name, (mean, half)) in enumerate(gained.items()):
            color = BLUE if name in accuracy else ORANGE
            if not abs(mean) <= MAX_GAIN:  # larger gains would compress the scale
                right.text(0.03, row, f"{100 * mean:.0f} ± {100 * half:.0f}", color=color)
                continue
            right.errorbar(100 * mean, row, xerr=100 * half, fmt="o", color=color, capsize=4)
        right.axvline(0, color=GREY, linewidth=1)
        right.axhline(len(names) - 1.5, color=GREY, linestyle=":", linewidth=1)
        right.set_yticks(range(len(gained)), list(gained))
        right.invert_yaxis()
        right.set_xlabel(f"gain in percentage points, with {LEVEL:.0%} intervals")
        right.set_title("Cumulative changes (above), single changes (below)")
    return figure


def _recipes(dataset):
    """Return name, results and test accuracy of the first start, by recipe."""
    for name in dataset.recipe.values.tolist():
        part = dataset.sel(recipe=name)
        yield name, part, f"{float(part.test_accuracy[0]):.1%}"


def first_layers(dataset: xr.Dataset) -> Figure:
    """Draw the first-layer weights of two networks, one above the other."""
    rows = np.concatenate(list(dataset.weight.values))
    images = pixels.square_images(rows)
    titles = (f"{name} (accuracy {accuracy})" for name, _, accuracy in _recipes(dataset))
    recipes, neurons = dataset.recipe.values.tolist(), range(dataset.sizes["neuron"])
    return pixels.signed(
        images if images is not None else rows[:, None],
        names=[f"{name}, {i}" for name in recipes for i in neurons],
        title=f"First layers from one start: {' above, '.join(titles)} below",
        label="weight of a pixel: red if positive, blue if negative",
    )


def differences(dataset: xr.Dataset) -> Figure:
    """Draw errors by digit, and histograms of the slopes of the sigmoids."""
    wrong = errors(dataset)
    share = wrong / np.bincount(dataset.label.values)
    recipes, digits = dataset.recipe.values.tolist(), np.arange(share.shape[-1])
    with style():
        figure = Figure(figsize=(11, 8))
        grid = figure.subplots(2, len(LAYERS))
        top = grid[0, 0].get_gridspec()
        for axes in grid[0]:
            axes.remove()
        bars = figure.add_subplot(top[0, :])
        for number, (name, shares, color) in enumerate(zip(recipes, share, COLORS, strict=True)):
            bars.bar(
                digits + 0.4 * number - 0.2,
                shares.mean(axis=0),
                0.38,
                yerr=shares.std(axis=0, ddof=1),
                color=color,
                label=name,
                error_kw={"ecolor": GREY},
            )
        bars.set_xticks(digits)
        bars.yaxis.set_major_formatter(PercentFormatter(1))
        bars.set(xlabel="digit", ylabel="misclassified test images")
        first, second = recipes
        left = wrong[1].sum() / wrong[0].sum()
        bars.set_title(f"Number of errors: {second} has {left:.0%} of those of {first}")
        bars.legend()
        slopes = dataset.slope.mean("seed")
        middle = (np.arange(slopes.sizes["bin"]) + 0.5) / slopes.sizes["bin"]
        for layer, axes in enumerate(grid[1]):
            for name, color in zip(recipes, COLORS, strict=True):
                values = slopes.sel(recipe=name).isel(layer=layer)
                axes.step(middle, values, where="mid", color=color, label=name)
            axes.set(yscale="log", title=LAYERS[layer], xlabel="slope, at most 1")
        grid[1, 0].set_ylabel("share of neurons and images")
    return figure


def trajectories(dataset: xr.Dataset) -> Figure:
    """Draw two descents from one start, on the plane through it and both end points."""
    ground = dataset[["plane_cost"]].rename(plane_cost="cost")
    norm = landscapes.cost_scale([ground])
    with style():
        figure = Figure(figsize=(12, 6))
        axes, side = figure.subplots(1, 2, width_ratios=(1.5, 1))
        landscapes.plane(ground, norm=norm, ax=axes)
        landscapes.cost_colorbar(norm, ax=axes, location="left", aspect=35, pad=0.02)
        away = []
        for (name, part, accuracy), color in zip(_recipes(dataset), COLORS, strict=True):
            path = part.dropna("snapshot_step", subset=["path_off"])
            away.append(f"{float(path.path_off.max()):.0f}")
            a, b = path.path_a.values, path.path_b.values
            axes.plot(a, b, color="white", linewidth=4, zorder=3)
            axes.plot(a, b, ".-", color=color, linewidth=1.6, zorder=4)
            axes.plot(a[-1], b[-1], "*", color=color, markeredgecolor="white", ms=22, zorder=5)
            axes.annotate(
                f"{name}: test accuracy {accuracy}", (a[-1], b[-1]), xytext=(0, 14),
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
        side.set_title(f"Distance from the plane:\nat most {' and '.join(away)}")
        side.legend()
    return figure
