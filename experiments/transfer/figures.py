"""Figures of final costs by learning rate and width, and of coordinate checks."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes

from gdjax import statistics
from gdjax.plots.style import BLACK, CYCLE, SEQUENTIAL, Figure, label_log_axis, style

TITLES = {"standard": "standard", "ntp": "neural tangent", "mup": "maximal update"}
OPTIMIZERS = {"descent": "plain descent", "adam": "Adam"}


def panels(dataset: xr.Dataset, figure: Figure, label: str) -> Iterator[tuple[str, int, Axes]]:
    """Yield optimizer, index of the parametrization, and axes of each panel.

    Each optimizer has one row of panels with a common vertical axis.
    """
    names, optimizers = dataset.attrs["parametrizations"], dataset.attrs["optimizers"]
    grid = figure.subplots(len(optimizers), len(names), sharey="row", squeeze=False)
    for row, optimizer in zip(grid, optimizers, strict=True):
        for index, (axes, name) in enumerate(zip(row, names, strict=True)):
            axes.set_title(f"{TITLES[name]}, {OPTIMIZERS[optimizer]}")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            yield optimizer, index, axes
        row[0].set_ylabel(label)
        label_log_axis(row[0].yaxis)


def costs(dataset: xr.Dataset) -> Figure:
    """Draw the final cost against the learning rate, with one curve per width.

    The lowest cost of each curve is marked. Bands are the 95 % intervals of the medians.
    """
    widths = dataset.width.values
    colors = colormaps[SEQUENTIAL](np.linspace(0.9, 0.0, len(widths)))
    with style():
        figure = Figure(figsize=(14, 4.4 * len(dataset.attrs["optimizers"])))
        for optimizer, index, axes in panels(dataset, figure, "final cost"):
            rates = dataset[f"{optimizer}.learning_rate"].values
            values = dataset[f"{optimizer}.cost"].transpose("parametrization", "width", ..., "seed")
            bands = statistics.medians(values.values)
            for width, color, *band in zip(widths, colors, *(b[index] for b in bands), strict=True):
                middle, low, high = band
                axes.plot(rates, middle, color=color, label=f"{width}")
                axes.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
                best = np.argmin(middle)
                look: dict = {"color": color, "markeredgecolor": BLACK, "zorder": 4}
                axes.plot(rates[best], middle[best], "o", **look)
            axes.set_xlabel("learning rate at the base width")
            finite = bands[0][np.isfinite(bands[0])]
            axes.set_ylim(0.8 * finite.min(), min(1.2 * finite.max(), 12 * finite.min()))
        top = figure.axes[len(dataset.attrs["parametrizations"]) - 1]
        top.legend(title="width", title_fontsize=12)
    return figure


def changes(dataset: xr.Dataset) -> Figure:
    """Draw the change of each layer's preactivations in the first step against the width."""
    widths = dataset.checked_width.values
    with style():
        figure = Figure(figsize=(14, 4.2 * len(dataset.attrs["optimizers"])))
        for optimizer, index, axes in panels(dataset, figure, "rms change in one step"):
            first = dataset.isel(step=0, parametrization=index)
            layers = first[f"{optimizer}.change"].transpose("layer", "checked_width", "seed").values
            slopes = first[f"{optimizer}.slope"].values
            bands = zip(slopes, CYCLE, *statistics.medians(layers), strict=False)
            for number, (slope, color, middle, low, high) in enumerate(bands, start=1):
                label = "outputs" if number == len(layers) else f"layer {number}"
                axes.plot(widths, middle, "o-", color=color, label=f"{label}: {slope:.2f}")
                axes.fill_between(widths, low, high, color=color, alpha=0.2, linewidth=0)
            axes.set_xticks(widths, [f"{n}" for n in widths])
            axes.set_xlabel("width")
            axes.legend(title="slope", title_fontsize=12)
    return figure
