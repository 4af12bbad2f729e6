"""Pictures of the boundary between learning rates that train and learning rates that diverge."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, style

# Even the palest blue and the palest orange differ for every kind of colour vision, so that the
# boundary stays visible where both sides are slow.
TRAINS = ListedColormap(colormaps["Blues"](np.linspace(0.3, 1.0, 256)), "trains")
DIVERGES = ListedColormap(colormaps["YlOrBr"](np.linspace(0.15, 0.9, 256)), "diverges")


class Map(NamedTuple):
    """One map over two learning rates.

    Args:
        input_rate: of the first layer, evenly spaced by ratio.
        output_rate: of the second layer, likewise.
        trains: whether each pair of rates trains.
        speed: small where a run trains, or diverges, fast.
    """

    input_rate: Float[np.ndarray, " columns"]
    output_rate: Float[np.ndarray, " rows"]
    trains: Bool[np.ndarray, "rows columns"]
    speed: Float[np.ndarray, "rows columns"]


def colored(shown: Map) -> Float[np.ndarray, "rows columns 4"]:
    """Colours of a map: on each side, by the rank of a run's speed among those of that side.

    Ranks use the whole range of colours whatever the distribution of speeds is; equal speeds have
    equal colours.
    """
    colors = np.zeros((*shown.trains.shape, 4))
    for side, colormap in ((shown.trains, TRAINS), (~shown.trains, DIVERGES)):
        if side.any():
            _, place, count = np.unique(shown.speed[side], return_inverse=True, return_counts=True)
            rank = (np.cumsum(count) - count / 2) / count.sum()
            colors[side] = colormap(1 - rank[place])
    return colors


def maps(shown: Sequence[Map]) -> Figure:
    """A map and its zooms; a frame in each shows where the next one is.

    Args:
        shown: the whole first, then ever smaller windows.
    """
    with style():
        columns = 2 if len(shown) % 3 else 3
        rows = -(-len(shown) // columns)
        figure = Figure(figsize=(5.5 * columns, 5.3 * rows + 0.9))
        grid = figure.add_gridspec(rows + 1, 6, height_ratios=[1] * rows + [0.03])
        wide = 6 // columns
        panels = [
            figure.add_subplot(grid[row, wide * column : wide * (column + 1)])
            for row, column in (divmod(number, columns) for number in range(len(shown)))
        ]
        whole = np.ptp(np.log10(shown[0].input_rate))
        for number, (axes, one) in enumerate(zip(panels, shown, strict=True)):
            _map(axes, one)
            zoom = whole / np.ptp(np.log10(one.input_rate))
            axes.set_title("The whole" if number == 0 else f"{zoom:,.0f} times closer")
        for axes, inner in zip(panels, shown[1:], strict=False):
            _frame(axes, inner)
        for column, (colormap, label, ends) in enumerate(
            (
                (TRAINS, "trains", ("slowly", "fast")),
                (DIVERGES, "does not train", ("grows late", "at once")),
            )
        ):
            bar = figure.colorbar(
                ScalarMappable(cmap=colormap),
                cax=figure.add_subplot(grid[rows, 3 * column : 3 * column + 3]),
                orientation="horizontal",
            )
            bar.set_ticks([0.0, 1.0], labels=ends)
            bar.set_label(label, labelpad=-12)
        shares = ", ".join(f"{np.mean(one.trains):.0%}" for one in shown)
        figure.suptitle(f"Which learning rates train: {shares} of a map")
    return figure


def _extent(one):
    return tuple(np.log10([*one.input_rate[[0, -1]], *one.output_rate[[0, -1]]]))


def _map(axes: Axes, one: Map):
    axes.imshow(colored(one), origin="lower", extent=_extent(one), aspect="auto")
    for axis, rates in ((axes.xaxis, one.input_rate), (axes.yaxis, one.output_rate)):
        ticks = _ticks(rates[0], rates[-1])
        axis.set_ticks(np.log10(ticks), [f"{tick:.6g}" for tick in ticks])
    axes.set_xlabel("learning rate, first layer")
    axes.set_ylabel("learning rate, second layer")


def _ticks(low, high):
    """Round rates in a range: powers of ten where it spans several, else evenly spaced ones."""
    decades = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    ticks = 10.0**decades if len(decades) > 2 else MaxNLocator(4).tick_values(low, high)
    return ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]


def _frame(axes, inner):
    left, right, bottom, top = _extent(inner)
    for color, width in (("white", 4), (BLACK, 2)):
        axes.add_patch(
            Rectangle((left, bottom), right - left, top - bottom, fill=False, ec=color, lw=width)
        )


def box_counting(
    counts: Sequence[tuple[Int[np.ndarray, " scales"], Int[np.ndarray, " scales"]]],
    dimensions: Sequence[tuple[float, float]],
    *,
    title: str,
) -> Figure:
    """Boxes that meet each map's boundary against their size, with fits; a smooth line beside them.

    Args:
        counts: sides of boxes in cells and their counts, for each map.
        dimensions: minus the slope of each fit, and within what it is known.
        title: of the picture.
    """
    with style():
        figure = Figure(figsize=(8, 5.5))
        axes = figure.subplots()
        for number, ((sides, count), (dimension, error)) in enumerate(
            zip(counts, dimensions, strict=True)
        ):
            color = CYCLE[number % len(CYCLE)]
            name = "the whole" if number == 0 else f"zoom {number}"
            axes.plot(
                sides, count, "o", color=color, label=f"{name}: {dimension:.2f} ± {error:.2f}"
            )
            middle = np.exp(np.mean(np.log(count)) + dimension * np.mean(np.log(sides)))
            axes.plot(sides, middle * sides**-dimension, color=color)
        sides = counts[0][0]
        below = min(np.min(count * side) for side, count in counts) / 2
        axes.plot(sides, below / sides, ":", color=GREY, label="a smooth line: 1")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("side of a box, in steps of the grid")
        axes.set_ylabel("boxes that meet the boundary")
        axes.set_xticks(sides, [f"{side:g}" for side in sides])
        axes.set_title(title)
        axes.legend(title="of one seed", title_fontsize=12)
    return figure


def boundary_rates(
    roughness: Float[np.ndarray, " cases"],
    learning_rate: Float[np.ndarray, " rates"],
    bounded: Bool[np.ndarray, "cases rates"],
    threshold: float,
) -> Figure:
    """Where boundedness changes along the learning rate, against roughness.

    Args:
        roughness: e / l^2 of x^2 + e cos(2 pi x / l).
        learning_rate: evenly spaced.
        bounded: whether descent stays bounded.
        threshold: roughness above which the cost is not convex.
    """
    changes, flat = bounded[:, 1:] != bounded[:, :-1], roughness <= threshold
    case, cell = np.nonzero(changes)
    with style():
        figure = Figure(figsize=(8, 7))
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
        middle = (learning_rate[:-1] + learning_rate[1:]) / 2
        top.plot(roughness[case], middle[cell], "_", color=BLUE, markersize=14, markeredgewidth=1)
        top.set_ylabel("learning rates where\nbounded turns to diverging")
        most = [int(changes[side].sum(axis=1).max(initial=0)) for side in (flat, ~flat)]
        top.set_title(f"Boundaries: {most[0]} while the cost is convex, up to {most[1]:,} beyond")
        bottom.plot(roughness, changes.sum(axis=1), "o-", color=BLUE)
        bottom.set_yscale("log")
        bottom.set_ylabel("how many")
        bottom.set_xlabel(
            r"roughness $\epsilon / \lambda^2$ of $x^2 + \epsilon\,\cos(2\pi x/\lambda)$"
        )
        for axes in (top, bottom):
            axes.axvline(threshold, color=VERMILLION, linestyle="--", linewidth=1.5)
        top.text(
            threshold,
            0.97,
            " not convex →",
            transform=top.get_xaxis_transform(),
            color=VERMILLION,
            va="top",
        )
        top.text(
            threshold,
            0.97,
            "← convex ",
            transform=top.get_xaxis_transform(),
            color=VERMILLION,
            va="top",
            ha="right",
        )
    return figure
