"""Figures of accuracies over seeds, and of guessed and trained networks."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, style
from gdjax.statistics import Interval

COMMON_PARTS = {"neither": "nothing", "one_order": "the order", "one_start": "the start"}


class Trained(NamedTuple):
    """Accuracies of many networks trained for the same number of epochs.

    Args:
        accuracy: accuracy of each network on all images.
        halves: accuracy of each network on each half of the images.
        statistics: statistics of the accuracies with intervals, by name.
    """

    accuracy: Float[np.ndarray, " networks"]
    halves: tuple[Float[np.ndarray, " networks"], Float[np.ndarray, " networks"]]
    statistics: Mapping[str, Interval]


def accuracy_over_seeds(trained: Mapping[str, Trained]) -> Figure:
    """Draw test accuracies on all images and on halves, and their differences.

    Args:
        trained: accuracies by length of training; each length has one row of panels.
    """
    with style():
        figure = Figure(figsize=(13, 0.6 + 4.2 * len(trained)))
        rows = figure.subplots(len(trained), 3, squeeze=False)
        for (name, one), (spread, against, pairs) in zip(trained.items(), rows, strict=True):
            _spread(spread, 100 * one.accuracy, one.statistics)
            spread.set_title(name)
            _halves(against, *(100 * half for half in one.halves), one.statistics)
            _pairs(pairs, one.statistics)
        shares = ", ".join(
            f"{one.statistics['luck_of_images'].value:.0%}" for one in trained.values()
        )
        figure.suptitle(
            f"Chance in single images accounts for {shares} of the variance "
            f"of the accuracies of {len(one.accuracy):,} networks"
        )
    return figure


def _spread(axes, percent, statistics):
    luck = np.sqrt(statistics["luck_of_images"].value) * statistics["deviation"].value * 100
    axes.hist(percent, bins=40, density=True, color=BLUE, alpha=0.5, label="networks")
    x = np.linspace(percent.min(), percent.max(), 200)
    for width, color, label in (
        (percent.std(), BLUE, rf"normal, $\sigma$ = {percent.std():.2f}"),
        (luck, VERMILLION, rf"expected from chance alone, $\sigma$ = {luck:.2f}"),
    ):
        axes.plot(x, stats.norm.pdf(x, percent.mean(), width), color=color, label=label)
    axes.set(xlabel="test accuracy, %", ylabel="density of networks")
    axes.set_ylim(top=1.45 * axes.get_ylim()[1])
    axes.legend(loc="upper left")


def _halves(axes, first, second, statistics):
    axes.plot(first, second, ".", color=GREY, markersize=2, rasterized=True)
    best = np.argsort(first)[-max(len(first) // 100, 1) :]
    label = "best 1 % on this half"
    axes.plot(first[best], second[best], "o", color=VERMILLION, markersize=3, label=label)
    axes.axhline(second.mean(), color=BLUE, linewidth=1, label="mean on the other half")
    r = statistics["correlation_of_halves"]
    axes.set_title(f"correlation {r.value:.2f} ({r.low:.2f} to {r.high:.2f})")
    axes.set(xlabel="accuracy on one half, %", ylabel="accuracy on the other half, %")
    low, high = axes.get_ylim()
    axes.set_ylim(top=high + 0.25 * (high - low))  # space for the legend
    axes.legend(loc="upper left")


def _pairs(axes, statistics):
    positions = np.arange(len(COMMON_PARTS))
    values = [statistics[f"apart_of_{name}"] for name in COMMON_PARTS]
    height = 100 * np.array([one.value for one in values])
    error = 100 * np.array([[v.value - v.low for v in values], [v.high - v.value for v in values]])
    axes.bar(positions, height, 0.6, color=[GREY, GREEN, BLUE], yerr=error, capsize=4)
    axes.set_xticks(positions, list(COMMON_PARTS.values()))
    axes.set_xlabel("common part of two networks")
    axes.set_ylabel("images that only one of two networks\nclassifies correctly, %")
