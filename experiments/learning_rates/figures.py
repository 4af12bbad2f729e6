"""Figure of the learning rates at which training succeeds from each start."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.ticker import LogLocator

from gdjax.plots.style import BLACK, BLUE, VERMILLION, Figure, label_log_axis, style


class Trained(NamedTuple):
    """Learning rates at which training a network succeeds, for each starting point.

    Args:
        rates: learning rates, ascending.
        trained: whether training succeeds at each rate from each starting point.
        best: learning rate with the lowest median cost.
    """

    rates: Float[np.ndarray, " rates"]
    trained: Bool[np.ndarray, "rates seeds"]
    best: float


def trained_sets(networks: Mapping[str, Trained]) -> Figure:
    """Draw the learning rates at which training succeeds, with one panel per network.

    Args:
        networks: learning rates and outcomes, by network name.
    """
    with style():
        figure = Figure(figsize=(6.5 * len(networks), 5.0))
        panels = figure.subplots(1, len(networks), squeeze=False)[0]
        for axes, (name, one) in zip(panels, networks.items(), strict=True):
            seeds = np.arange(one.trained.shape[1])
            x, y = np.meshgrid(one.rates, seeds, indexing="ij")
            for side, marker, color, label in (
                (one.trained, "o", BLUE, "trains"),
                (~one.trained, "x", VERMILLION, "does not train"),
            ):
                axes.plot(x[side], y[side], marker, color=color, label=label, markersize=4)
            alternate = np.sum(np.sum(one.trained[1:] > one.trained[:-1], axis=0) > 0)
            axes.set_title(f"{name}: alternating outcomes for {alternate} of {len(seeds)} starts")
            if one.rates[0] <= one.best <= one.rates[-1]:
                axes.axvline(one.best, color=BLACK, linestyle=":", linewidth=1.5)
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            label_log_axis(axes.xaxis)
            axes.set(xlabel="learning rate", yticks=seeds)
        panels[0].set_ylabel("starting point")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
