"""Bar charts of shares of the matrix-product rate and of relative speeds."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from gdjax.plots.style import BLUE, GREEN, style


def ratios(shares: Mapping[str, float], times: Mapping[str, float]) -> Figure:
    """Draw shares of the matrix-product rate, and speed relative to other libraries.

    Args:
        shares: share of the rate of a 2000 x 2000 product, by measurement.
        times: seconds of the other library divided by those of gdjax, by measurement and library.
    """
    with style():
        figure = Figure(figsize=(13, 4.5))
        left, right = figure.subplots(1, 2)
        for axes, values, color in ((left, shares, BLUE), (right, times, GREEN)):
            place = np.arange(len(values))
            axes.barh(place, list(values.values()), color=color)
            axes.set_yticks(place, [_label(name) for name in values])
            axes.invert_yaxis()
        left.set_xlabel("share of the matrix-product rate")
        left.xaxis.set_major_formatter(PercentFormatter(1.0))
        left.set(xlim=(0, 1), title="Speed relative to a matrix product")
        right.set(xlabel="time of the other program / time of gdjax", xscale="log")
        right.xaxis.set_major_formatter(ScalarFormatter())
        right.axvline(1, color="black", linewidth=1)
        right.set_title("Speed relative to other programs")
        for place, value in enumerate(times.values()):
            right.annotate(
                f" {value:.1f}", (value, place), va="center", annotation_clip=False, fontsize=11
            )
    return figure


def _label(name):
    name = name.removesuffix("_share").replace("_times_", ": against ").replace("_", " ")
    return name.replace("against one after another", "against one run at a time")
