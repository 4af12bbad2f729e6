"""Figure of training results by initializer and scale of the starting weights."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import CYCLE, style
from gdjax.plots.sweeps import quantiles

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Starts(NamedTuple):
    """Results of one initializer at each scale.

    Args:
        scale: factors by which the initializer's starting weights are multiplied.
        accuracy_before: test accuracy of each run before training, in [0, 1].
        accuracy_after: test accuracy of each run after training, in [0, 1].
        cost_before: training cost before training.
        epochs: number of epochs until the cost is at most half that of the best constant
            prediction; +inf if it never is.
        slope: mean of 4 s (1 - s) over the hidden sigmoids before training.
    """

    scale: Float[np.ndarray, " scales"]
    accuracy_before: Float[np.ndarray, "scales seeds"]
    accuracy_after: Float[np.ndarray, "scales seeds"]
    cost_before: Float[np.ndarray, "scales seeds"]
    epochs: Float[np.ndarray, "scales seeds"]
    slope: Float[np.ndarray, "scales seeds"]


def by_scale(initializers: Mapping[str, Starts], epochs: float) -> Figure:
    """Draw accuracies, numbers of epochs, costs and slopes against the initial scale.

    Args:
        initializers: results by initializer name.
        epochs: number of epochs of the runs; infinite medians of `Starts.epochs` are drawn above
            it.
    """
    with style():
        figure = Figure(figsize=(12, 8.5))
        (after, fast), (before, slope) = figure.subplots(2, 2, sharex=True)
        never = 1.15 * epochs
        for number, (name, starts) in enumerate(initializers.items()):
            look = {
                "color": CYCLE[number % len(CYCLE)],
                "marker": MARKERS[number % len(MARKERS)],
                "label": name.replace("_", "-"),
            }
            after.plot(starts.scale, _median(starts.accuracy_after), **look)
            after.plot(
                starts.scale,
                _median(starts.accuracy_before),
                **(look | {"marker": "", "linestyle": ":", "label": None}),
            )
            epochs_needed = _median(starts.epochs)
            fast.plot(
                starts.scale, np.where(np.isfinite(epochs_needed), epochs_needed, never), **look
            )
            before.plot(starts.scale, _median(starts.cost_before), **look)
            slope.plot(starts.scale, _median(starts.slope), **look)
        after.set(title="After training", ylabel="test accuracy\n(dotted: before training)")
        after.yaxis.set_major_formatter(PercentFormatter(1.0))
        after.set_ylim(0, 1)
        fast.set_title("Epochs to half the baseline cost")
        fast.set_ylabel("epochs to half the cost of\nthe best constant prediction")
        fast.set_ylim(0, 1.25 * epochs)
        ticks = [tick for tick in fast.get_yticks() if tick <= epochs]
        fast.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
        before.set(title="Cost before training", ylabel="training cost")
        slope.set_title("Saturation before training")
        slope.set_ylabel("mean slope of hidden sigmoids\n(1: largest, 0: saturated)")
        slope.set_ylim(0, 1.05)
        for axes in (before, slope):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xlabel("scale of starting weights (1: the initializer's default)")
        slope.legend(loc="lower left")
        figure.suptitle("Effect of the initial scale (medians over seeds)")
    return figure


def _median(values):
    """Return the median over seeds, which is +inf if half of the values are infinite."""
    return quantiles(values, (0.5,))[0]
