"""Figures of sharpness and test accuracy of networks trained by the same recipe."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, style
from gdjax.statistics import Interval

from .summary import KINDS, MEASURES, PUBLISHED, by_recipe, fisher

COLORS = (BLUE, GREEN, VERMILLION, GREY)  # colors of the kinds of correlations


def accuracy_against_sharpness(
    dataset: xr.Dataset, estimates: Mapping[str, Mapping[str, Interval]]
) -> Figure:
    """Draw test accuracy against each measure of sharpness, one row of panels per recipe.

    Args:
        dataset: networks by recipe, start and order.
        estimates: rank correlations of each recipe, by name.
    """
    with style():
        figure = Figure(figsize=(13, 4.0 * len(estimates)))
        rows = figure.subplots(len(estimates), len(MEASURES), squeeze=False)
        for (recipe, correlations), row in zip(estimates.items(), rows, strict=True):
            part = by_recipe(dataset)[recipe]
            accuracy = 100 * part.right.values.mean(axis=-1)
            for (name, label), axes in zip(MEASURES.items(), row, strict=True):
                sharpness = part[name].values
                axes.plot(sharpness.ravel(), accuracy.ravel(), ".", color=GREY, markersize=2,
                          rasterized=True, label="network")  # fmt: skip
                axes.plot(sharpness.mean(axis=1), accuracy.mean(axis=1), "o", color=BLUE,
                          markersize=3, label="mean over the orders of a start")  # fmt: skip

                axes.set_xlabel(label)
                axes.set_title(
                    f"{recipe}\nrank correlation {_text(correlations[f'{name}_and_accuracy'])}\n"
                    f"given cost {_text(correlations[f'{name}_and_accuracy_given_cost'])}",
                    fontsize="small",
                )
            row[0].set_ylabel("test accuracy, %")
        rows[0, 0].legend(fontsize="x-small")
    return figure


def rank_correlations(estimates: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw the rank correlations of sharpness and test accuracy of all recipes."""
    rows = [(recipe, name) for recipe in estimates for name in MEASURES]
    with style():
        figure = Figure(figsize=(9, 0.7 * len(rows) + 1.5))
        axes = figure.subplots()
        axes.axvline(0, color="black", linewidth=0.8)
        _, low, high = fisher(*PUBLISHED)
        axes.axvspan(low, high, color=GREY, alpha=0.2, label="published (arXiv 2605.05209)")
        for shift, (kind, label), color in zip(
            np.linspace(-0.27, 0.27, len(KINDS)), KINDS.items(), COLORS, strict=True
        ):
            every = [estimates[recipe][f"{name}_and_accuracy{kind}"] for recipe, name in rows]
            value, low, high = (np.array([one[i] for one in every]) for i in range(3))
            arms = np.maximum([value - low, high - value], 0)
            axes.errorbar(value, np.arange(len(rows)) + shift, xerr=arms, fmt="o", color=color,
                          markersize=4, capsize=2, label=label)  # fmt: skip
        axes.set_yticks(range(len(rows)), [f"{recipe}\n{MEASURES[name]}" for recipe, name in rows])
        axes.invert_yaxis()
        axes.set_xlim(-1, 1)
        axes.set_xlabel("rank correlation of sharpness and test accuracy, 95 % interval")
        axes.legend(fontsize="x-small")
    return figure


def _text(one):
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
