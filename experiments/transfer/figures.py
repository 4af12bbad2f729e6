"""Figures of final costs by learning rate and width, and of coordinate checks."""

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.figure import Figure

from gdjax import statistics
from gdjax.plots.style import BLACK, CYCLE, SEQUENTIAL, label_log_axis, style

TITLES = {"standard": "standard", "ntp": "neural tangent", "mup": "maximal update"}
OPTIMIZERS = {"descent": "plain descent", "adam": "Adam"}


def costs(dataset: xr.Dataset) -> Figure:
    """Draw the final cost against the learning rate, with one curve per width.

    The lowest cost of each curve is marked. Bands are the 95 % intervals of the medians.
    """
    names, optimizers = dataset.attrs["parametrizations"], dataset.attrs["optimizers"]
    widths = dataset.width.values
    colors = colormaps[SEQUENTIAL](np.linspace(0.9, 0.0, len(widths)))
    with style():
        figure = Figure(figsize=(14, 4.4 * len(optimizers)))
        panels = figure.subplots(len(optimizers), len(names), sharey="row", squeeze=False)
        for row, optimizer in zip(panels, optimizers, strict=True):
            rates = dataset[f"{optimizer}.learning_rate"].values
            values = dataset[f"{optimizer}.cost"].transpose("parametrization", "width", ..., "seed")
            bands = statistics.medians(values.values)
            for axes, name, *band in zip(row, names, *bands, strict=True):
                for width, color, middle, low, high in zip(widths, colors, *band, strict=True):
                    axes.plot(rates, middle, color=color, label=f"{width}")
                    axes.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
                    best = np.argmin(middle)
                    axes.plot(
                        rates[best], middle[best], "o", color=color, markeredgecolor=BLACK, zorder=4
                    )
                axes.set_xscale("log", base=2)
                axes.set(yscale="log", xlabel="learning rate at the base width")
                axes.set_title(f"{TITLES[name]}, {OPTIMIZERS[optimizer]}")
            finite = bands[0][np.isfinite(bands[0])]
            row[0].set_ylim(0.8 * finite.min(), min(1.2 * finite.max(), 12 * finite.min()))
            row[0].set_ylabel("final cost")
            label_log_axis(row[0].yaxis)
        panels[0, -1].legend(title="width", title_fontsize=12)
    return figure


def changes(dataset: xr.Dataset) -> Figure:
    """Draw the change of each layer's preactivations in the first step against the width."""
    names, optimizers = dataset.attrs["parametrizations"], dataset.attrs["optimizers"]
    widths = dataset.checked_width.values
    with style():
        figure = Figure(figsize=(14, 4.2 * len(optimizers)))
        panels = figure.subplots(len(optimizers), len(names), sharey="row", squeeze=False)
        for row, optimizer in zip(panels, optimizers, strict=True):
            part = dataset[f"{optimizer}.change"].isel(step=0)
            part = part.transpose("parametrization", "layer", "checked_width", "seed")
            slopes = dataset[f"{optimizer}.slope"].isel(step=0).transpose("parametrization", ...)
            for axes, name, layers, layer_changes in zip(
                row, names, part.values, slopes.values, strict=True
            ):
                bands = statistics.medians(layers)
                for number, (slope, color, middle, low, high) in enumerate(
                    zip(layer_changes, CYCLE, *bands, strict=False), start=1
                ):
                    label = "outputs" if number == len(layers) else f"layer {number}"
                    axes.plot(widths, middle, "o-", color=color, label=f"{label}: {slope:.2f}")
                    axes.fill_between(widths, low, high, color=color, alpha=0.2, linewidth=0)
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
                axes.set_xticks(widths, [f"{n}" for n in widths])
                axes.set(xlabel="width", title=f"{TITLES[name]}, {OPTIMIZERS[optimizer]}")
                axes.legend(title="slope", title_fontsize=12)
            row[0].set_ylabel("rms change in one step")
            label_log_axis(row[0].yaxis)
    return figure
