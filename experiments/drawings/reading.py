"""Pictures of how well networks read: what an ingredient gives, what better ones do.

All take the Dataset of `experiments/accuracy.py`, or arrays of it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots import images as pixels
from gdjax.plots import landscapes
from gdjax.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, style

WIDEST = 0.05  # gain that is drawn
COLOURS = (ORANGE, BLUE)  # of the recipes


def ladder(
    accuracy: Mapping[str, Float[np.ndarray, " seeds"]],
    gains: Mapping[str, tuple[float, float]],
    level: float,
) -> Figure:
    """Every start from rung to rung, and what each ingredient and each other try gave.

    Args:
        accuracy: on held-out images, by rung.
        gains: mean and half width of its interval, by name; rungs first.
        level: of the intervals.
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
        left.set_xlabel("held-out images read right")
        left.set_title(f"{values.shape[1]} starts, step by step")
        for row, (name, (mean, half)) in enumerate(gains.items()):
            colour = BLUE if name in accuracy else ORANGE
            if not abs(mean) <= WIDEST:  # a number says it, a bar would hide the rest
                right.text(0.03, row, f"{100 * mean:.0f} ± {100 * half:.0f}", color=colour)
                continue
            right.errorbar(100 * mean, row, xerr=100 * half, fmt="o", color=colour, capsize=4)
        right.axvline(0, color=GREY, linewidth=1)
        right.axhline(len(names) - 1.5, color=GREY, linestyle=":", linewidth=1)
        right.set_yticks(range(len(gains)), list(gains))
        right.invert_yaxis()
        right.set_xlabel(f"gain in percentage points, with {level:.0%} intervals")
        right.set_title("Added in turn; below, only tried")
    return figure


def first_layers(
    weights: Mapping[str, Float[np.ndarray, "neurons pixels"]],
    accuracy: Mapping[str, float],
) -> Figure:
    """What the neurons of the first layer look for, one network above the other.

    Args:
        weights: by recipe.
        accuracy: of the networks, by recipe.
    """
    rows = np.concatenate(list(weights.values()))
    images = pixels.shaped(rows)
    titles = " above, ".join(f"{name} ({accuracy[name]:.1%} right)" for name in weights)
    return pixels.signed(
        images if images is not None else rows[:, None],
        names=[f"{name}, {i}" for name, own in weights.items() for i in range(len(own))],
        title=f"First layers from one start: {titles} below",
        label="weight of a pixel: red where light excites the neuron, blue where it inhibits",
    )


def differences(
    wrong: Mapping[str, Float[np.ndarray, "seeds classes"]],
    slopes: Mapping[str, Float[np.ndarray, "layers bins"]],
    layers: tuple[str, ...],
    *,
    left: float,
) -> Figure:
    """Errors by digit, and how steep sigmoids are where the test images put them.

    Args:
        wrong: share of the test images of each class that is read wrong, by recipe.
        slopes: share of neurons and images in each bin of slopes from 0 to 1, by recipe.
        layers: names.
        left: errors of the second recipe over those of the first.
    """
    with style():
        figure = Figure(figsize=(11, 8))
        grid = figure.subplots(2, len(layers))
        top = grid[0, 0].get_gridspec()
        for axes in grid[0]:
            axes.remove()
        bars = figure.add_subplot(top[0, :])
        for number, ((name, share), colour) in enumerate(zip(wrong.items(), COLOURS, strict=True)):
            bars.bar(
                np.arange(share.shape[1]) + 0.4 * number - 0.2,
                share.mean(axis=0),
                0.38,
                yerr=share.std(axis=0, ddof=1),
                color=colour,
                label=name,
                error_kw={"ecolor": GREY},
            )
        bars.set_xticks(range(share.shape[1]))
        bars.yaxis.set_major_formatter(PercentFormatter(1))
        bars.set_xlabel("digit")
        bars.set_ylabel("read wrong, test images")
        first, second = wrong
        bars.set_title(f"The recipe {second} leaves {left:.0%} of the errors of {first}")
        bars.legend()
        for layer, axes in enumerate(grid[1]):
            for (name, shares), colour in zip(slopes.items(), COLOURS, strict=True):
                middle = (np.arange(shares.shape[1]) + 0.5) / shares.shape[1]
                axes.step(middle, shares[layer], where="mid", color=colour, label=name)
            axes.set_yscale("log")
            axes.set_title(layers[layer])
            axes.set_xlabel("slope, of 1 at most")
        grid[1, 0].set_ylabel("share of neurons and images")
    return figure


def ways(ground: Any, paths: Mapping[str, Any], accuracy: Mapping[str, float]) -> Figure:
    """Two ways from one start, on the plane through the start and both ends.

    Args:
        ground: the cost on the plane, as `gdjax.landscape.plane` makes it.
        paths: by recipe, what `gdjax.landscape.descent_on_slice` finds.
        accuracy: of the networks at the ends, by recipe.
    """
    norm = landscapes.scale([ground])
    with style():
        figure = Figure(figsize=(12, 6))
        axes, side = figure.subplots(1, 2, width_ratios=(1.5, 1))
        image = landscapes.ground(axes, ground, norm)
        landscapes.bar(figure, image, norm, ax=axes, location="left", aspect=35, pad=0.02)
        for (name, path), colour in zip(paths.items(), COLOURS, strict=True):
            a, b = path.path_a.values, path.path_b.values
            axes.plot(a, b, color="white", linewidth=4, zorder=3)
            axes.plot(a, b, ".-", color=colour, linewidth=1.6, zorder=4)
            axes.plot(a[-1], b[-1], "*", color=colour, markeredgecolor="white", ms=22, zorder=5)
            axes.annotate(
                f"{name}: {accuracy[name]:.1%} right", (a[-1], b[-1]), xytext=(0, 14), zorder=6,
                textcoords="offset points", ha="center", fontsize=12,
                bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0},
            )  # fmt: skip
            share = path.snapshot_step.values / path.snapshot_step.values[-1]
            side.plot(share, path.path_cost.values, color=colour, label=f"{name}, its own")
            side.plot(
                share, path.path_cost_in_slice.values, color=colour, linestyle=(0, (4, 1.5)),
                label=f"{name}, of its place in the plane",
            )  # fmt: skip
        axes.plot(a[0], b[0], "o", color="white", markeredgecolor=BLACK, ms=12, zorder=5)
        axes.set_title("Two ways from one start")
        side.set_yscale("log")
        landscapes.plain(side)
        side.set_xlabel("share of the steps")
        side.set_ylabel("training cost")
        side.set_title(
            "At most "
            + " and ".join(f"{float(path.path_off.max()):.0f}" for path in paths.values())
            + " off the plane"
        )
        side.legend()
    return figure
