"""Figures of the boundary between settings with which training succeeds and fails."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from gdjax.plots.style import BLACK, BLUE, VERMILLION

from .conditions import CONDITIONS

# The palest blue and the palest orange are also distinguishable for color-blind readers, so that
# the boundary between slow runs is visible.
TRAINS = ListedColormap(colormaps["Blues"](np.linspace(0.3, 1.0, 256)), "trains")
DIVERGES = ListedColormap(colormaps["YlOrBr"](np.linspace(0.15, 0.9, 256)), "diverges")


LABELS = {
    "input_rate": "learning rate, first layer",
    "output_rate": "learning rate, second layer",
    "learning_rate": "learning rate",
    "offset": "offset of the first layer's starting weights",
}


def colored(shown: xr.Dataset) -> Float[np.ndarray, "rows columns 4"]:
    """Return the colors of a map, by the rank of each run's speed.

    Ranks are computed separately for runs that succeed and runs that fail. With ranks, the full
    range of colors is used for any distribution of speeds; equal speeds have equal colors.
    """
    trains, speed = shown.trains.values, shown.speed.values
    colors = np.zeros((*trains.shape, 4))
    for side, colormap in ((trains, TRAINS), (~trains, DIVERGES)):
        if side.any():
            _, ranks, count = np.unique(speed[side], return_inverse=True, return_counts=True)
            rank = (np.cumsum(count) - count / 2) / count.sum()
            colors[side] = colormap(1 - rank[ranks])
    return colors


def maps(dataset: xr.Dataset, number: int, titles: Sequence[str], *, title: str) -> Figure:
    """Draw one map of the first seed for each condition, with common color scales.

    The window of the next map, if there is one, is framed.
    """
    first, conditions = dataset.isel(seed=0), dataset.condition.values
    columns = min(3, len(conditions))
    rows = -(-len(conditions) // columns)
    figure = Figure(figsize=(5.5 * columns, 5.3 * rows + 0.9))
    grid = figure.add_gridspec(rows + 1, 6, height_ratios=[1] * rows + [0.03])
    share = 6 // columns
    for index, (condition, name) in enumerate(zip(conditions, titles, strict=True)):
        row, column = divmod(index, columns)
        axes = figure.add_subplot(grid[row, share * column : share * (column + 1)])
        one = first.isel(condition=index, map=number)
        axes.imshow(colored(one), origin="lower", extent=_extent(one), aspect="auto")
        across, up = CONDITIONS[condition].axes
        for axis, side, setting in ((axes.xaxis, "across", across), (axes.yaxis, "up", up)):
            ticks = _ticks(*one[side].values[[0, -1]])
            axis.set_ticks(np.log10(ticks), [f"{tick:.6g}" for tick in ticks])
            axis.set_label_text(LABELS[setting])
        axes.set_title(name)
        if number + 1 < first.sizes["map"]:
            _frame(axes, first.isel(condition=index, map=number + 1))
    for place, colormap, label, ends in (
        (slice(0, 3), TRAINS, "trains", ("slowly", "fast")),
        (slice(3, 6), DIVERGES, "does not train", ("fails late", "fails at once")),
    ):
        below, colors = figure.add_subplot(grid[rows, place]), ScalarMappable(cmap=colormap)
        bar = figure.colorbar(colors, cax=below, orientation="horizontal")
        bar.set_ticks([0.0, 1.0], labels=ends)
        bar.set_label(label, labelpad=-12)
    shares = first.trains.isel(map=number).mean(("row", "column")).values
    figure.suptitle(f"Trainable settings, {title}: {min(shares):.0%} to {max(shares):.0%} of a map")
    return figure


def _extent(one):
    return tuple(np.log10([*one.across.values[[0, -1]], *one.up.values[[0, -1]]]))


def _ticks(low, high):
    """Return the powers of ten in a range, or evenly spaced ticks if there are few."""
    decades = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    ticks = 10.0**decades if len(decades) > 2 else MaxNLocator(4).tick_values(low, high)
    return ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]


def _frame(axes, inner):
    left, right, bottom, top = _extent(inner)
    for color, width in (("white", 4), (BLACK, 2)):
        look: dict = {"fill": False, "ec": color, "lw": width}
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **look))


def boundary_rates(dataset: xr.Dataset, threshold: float) -> Figure:
    """Draw the learning rates at which boundedness changes, against roughness.

    Above the roughness `threshold`, the cost is not convex.
    """
    roughness, learning_rate = dataset.roughness.values, dataset.learning_rate.values
    bounded = dataset.bounded.values
    changes, flat = bounded[:, 1:] != bounded[:, :-1], roughness <= threshold
    case, cell = np.nonzero(changes)
    figure = Figure(figsize=(8, 7))
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    middle = (learning_rate[:-1] + learning_rate[1:]) / 2
    top.plot(roughness[case], middle[cell], "_", color=BLUE, markersize=14, markeredgewidth=1)
    top.set_ylabel("learning rates at which\nboundedness changes")
    counts = [int(changes[side].sum(axis=1).max(initial=0)) for side in (flat, ~flat)]
    top.set_title(
        f"Boundary rates: at most {counts[0]} if the cost is convex, up to {counts[1]:,} if not"
    )
    bottom.plot(roughness, changes.sum(axis=1), "o-", color=BLUE)
    bottom.set(yscale="log", ylabel="number of boundary rates")
    bottom.set_xlabel(r"roughness $\epsilon / \lambda^2$ of $x^2 + \epsilon\,\cos(2\pi x/\lambda)$")
    for axes in (top, bottom):
        axes.axvline(threshold, color=VERMILLION, linestyle="--", linewidth=1.5)
    look: dict = {"transform": top.get_xaxis_transform(), "color": VERMILLION, "va": "top"}
    top.text(threshold, 0.97, " not convex →", **look)
    top.text(threshold, 0.97, "← convex ", ha="right", **look)
    return figure
