"""Figure of cost and accuracy of descents against epochs and against time."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import CYCLE, style
from gdjax.plots.sweeps import quantiles


class Curve(NamedTuple):
    """Runs of one batch size at one learning rate.

    Args:
        name: label of the batch size.
        rate: learning rate.
        spent: number of epochs, or of seconds, from the start to each record; the first is 0.
        cost: training cost of each run at each record.
        accuracy: test accuracy of each run at each record, in [0, 1].
        end: index of the record at which curves are compared; lines after it are thin.
    """

    name: str
    rate: float
    spent: Float[np.ndarray, " records"]
    cost: Float[np.ndarray, "seeds records"]
    accuracy: Float[np.ndarray, "seeds records"]
    end: int


def epochs_and_time(by_epochs: Sequence[Curve], by_time: Sequence[Curve]) -> Figure:
    """Draw median cost and accuracy over seeds, against epochs and against time.

    Args:
        by_epochs: runs at the best rates for equal numbers of epochs, with `spent` in epochs.
        by_time: runs at the best rates for equal training time, with `spent` in seconds.
    """
    with style():
        figure = Figure(figsize=(12, 8.5))
        grid = figure.subplots(2, 2, sharex="col", sharey="row")
        for (top, bottom), curves, label, title in (
            (grid[:, 0], by_epochs, "epochs", "Equal epochs"),
            (grid[:, 1], by_time, "computation time per run, s", "Equal time"),
        ):
            for number, curve in enumerate(curves):
                color = CYCLE[number % len(CYCLE)]
                name = f"{curve.name}  (rate {curve.rate:.2g})"
                for axes, values in ((top, curve.cost), (bottom, curve.accuracy)):
                    half = _median(values)
                    # Lines start at the first epoch, since a logarithmic axis has no 0.
                    before, after = slice(1, curve.end + 1), slice(curve.end, None)
                    axes.plot(curve.spent[before], half[before], color=color, label=name)
                    axes.plot(curve.spent[after], half[after], color=color, linewidth=1)
                    axes.plot(curve.spent[curve.end], half[curve.end], "o", color=color)
            top.set(title=title, xscale="log", yscale="log")
            bottom.set_xlabel(label)
            bottom.xaxis.set_major_formatter("{x:g}")
            bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
            top.legend(title="images per step", loc="lower left", title_fontsize=12)
        grid[0, 0].set_ylabel("training cost")
        grid[1, 0].set_ylabel("test accuracy")
        figure.suptitle(
            f"Lowest cost (dots): {_cheapest(by_epochs)} images per step for equal epochs, "
            f"{_cheapest(by_time)} for equal time"
        )
    return figure


def _cheapest(curves):
    """Return the batch size with the lowest median cost at its record `end`."""
    ends = [_median(curve.cost)[curve.end] for curve in curves]
    return curves[int(np.argmin(ends))].name


def _median(values):
    """Return the median over seeds at each record."""
    return quantiles(values[None], (0.5,))[0, 0]
