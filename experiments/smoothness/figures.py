"""Figure of a network whose sigmoids become step functions at low temperature.

The temperature decreases from left to right. The scales of temperatures and of gradient norms are
logarithmic down to a small value and linear below it, so that temperature 0 and gradient 0 can be
shown.
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREEN, GREY, ORANGE, VERMILLION, style
from gdjax.plots.sweeps import quantiles


def cooling(dataset: xr.Dataset, accuracy: xr.DataArray) -> Figure:
    """Draw the cost along one weight, gradient norms and accuracies, by temperature.

    Args:
        dataset: results of the experiment.
        accuracy: test accuracy from unscaled starting weights, at the best of many learning rates.
    """
    temperature, trained = dataset.looked_at.values, dataset.temperature.values
    image, chance = dataset.image_gradient_norm, dataset.attrs["chance"]
    still = (image == 0).mean("image").values
    scaled = dataset.scaled_test_accuracy.isel(step=-1).values
    with style():
        figure = Figure(figsize=(11, 9))
        panels = figure.subplot_mosaic([["stairs", "learnt"], ["gradient", "still"]])
        _stairs(panels["stairs"], dataset.cost_along)
        axes = panels["gradient"]
        _band(axes, temperature, dataset.gradient_norm.values, BLUE, "whole training set")
        _band(axes, temperature, image.median("image").values, ORANGE, "median over single images")
        axes.set_yscale("symlog", linthresh=1e-3, linscale=0.5)
        axes.set_ylim(0, None)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set(ylabel="norm of the gradient", title="Gradient before training")
        axes.legend(loc="upper left")
        axes = panels["still"]
        _band(axes, temperature, still, VERMILLION, f"median of {still.shape[1]} seeds")
        axes.fill_between([], [], color=VERMILLION, alpha=0.2, label="range over seeds")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))
        axes.set_ylim(0, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(ylabel="images with gradient 0", title="Images whose gradient is exactly 0")
        axes = panels["learnt"]
        _band(axes, trained, accuracy.values, BLUE, "unscaled starting weights")
        _band(axes, trained, scaled, GREEN, "starting weights scaled by T", dashed=True)
        axes.axhline(chance, color=GREY, linestyle=":")
        axes.text(0.02, chance + 0.01, "guessing", transform=axes.get_yaxis_transform())
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(ylabel="test accuracy", title="After training")
        axes.legend(loc="center right", bbox_to_anchor=(0.9, 0.5))
        for name in ("gradient", "still"):
            _falling(panels[name], temperature)
        _falling(panels["learnt"], trained)
    return figure


def _stairs(axes, lines):
    """Draw the cost along one weight, at each temperature."""
    shift = lines.added.values
    for number, (temperature, cost) in enumerate(
        zip(lines.drawn.values, lines.values, strict=True)
    ):
        cold = temperature == 0
        color = BLACK if cold else CYCLE[number % len(CYCLE)]
        axes.plot(shift, cost, color=color, linewidth=1.5 if cold else 2.2)
        axes.text(shift[-1], cost[-1], f"  T = {temperature:g}", color=color, va="center")
    axes.set_xlim(shift[0], shift[-1] + 0.3 * np.ptp(shift))
    axes.set_xticks(np.linspace(shift[0], shift[-1], 5))
    axes.set(xlabel="shift of one weight of the last layer", ylabel="cost")
    axes.set_title("Cost along one weight at temperature T")


def _band(axes, x, values, color, label, *, dashed=False):
    """Draw the median over seeds as a line, and the range over seeds as a band."""
    axes.fill_between(x, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2)
    axes.plot(
        x,
        quantiles(values, (0.5,))[0],
        "--o" if dashed else "-o",
        color=color,
        markersize=5,
        label=label,
    )


def _falling(axes, temperature):
    """Set up a horizontal axis of temperatures that decrease to the right down to 0."""
    smallest = np.min(temperature[temperature > 0])
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    axes.set_xlim(1.2 * np.max(temperature), -0.1 * smallest)
    low, high = np.log10(smallest), np.log10(np.max(temperature))
    ticks = 10.0 ** np.arange(np.ceil(low - 1e-6), high + 1e-6, 1 if high - low < 4.5 else 2)
    axes.set_xticks([0, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("temperature of the sigmoids")
