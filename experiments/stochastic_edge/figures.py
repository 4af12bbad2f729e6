"""Figure of the sharpness for several ways of drawing mini-batches."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import CYCLE, GREY, style


class Panel(NamedTuple):
    """Sharpness against one setting, in units of 2 / rate.

    Args:
        title: title of the panel.
        label: label of the horizontal axis.
        setting: names of the values of the setting, which are drawn equally spaced.
        measured: sharpness from several starts, by the name of its line; NaN if a run diverged.
        predicted: prediction for each start, by the name of the line that it predicts.
    """

    title: str
    label: str
    setting: Sequence[str]
    measured: Mapping[str, Float[np.ndarray, "settings starts"]]
    predicted: Mapping[str, Float[np.ndarray, "settings starts"]] = {}


def samplings(panels: Sequence[Panel]) -> Figure:
    """Draw starts as dots, medians as lines, and medians of predictions as crosses.

    Args:
        panels: panels, drawn two per row.
    """
    with style():
        rows = -(-len(panels) // 2)
        figure = Figure(figsize=(13, 4.6 * rows))
        grid = figure.subplots(rows, 2, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            place = np.arange(len(panel.setting))
            for (name, values), color in zip(panel.measured.items(), CYCLE, strict=False):
                axes.plot(place, _middle(values), color=color, label=name)
                axes.plot(place, values, ".", color=color, alpha=0.4)
                if name in panel.predicted:
                    middle = _middle(panel.predicted[name])
                    axes.plot(place, middle, "x", color=color, markersize=9, label="predicted")
            axes.axhline(1, color=GREY, linestyle="--")
            axes.set_xticks(place, panel.setting)
            axes.set(xlabel=panel.label, title=panel.title)
            axes.legend()
        for row in grid:
            row[0].set_ylabel("sharpness, in units of 2 / rate")
    return figure


def _middle(values):
    """Return the median over starts; NaN if no start has a value."""
    middle = np.full(len(values), np.nan)
    measured = np.isfinite(values).any(axis=1)
    middle[measured] = np.nanmedian(values[measured], axis=1)
    return middle
