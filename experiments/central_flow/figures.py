"""Figures of the central flow, compared with descent and the gradient flow."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared.dots import dots_per_start
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION, style


def flows(run: xr.Dataset, average: np.ndarray, title: str) -> Figure:
    """Draw costs on the left, and rate times largest eigenvalues on the right.

    Args:
        run: costs of one descent and its flows, and `product`, [steps, eigenvalues].
        average: cost of the descent, smoothed over the steps.
        title: title of the left panel.
    """
    step = run.step.values
    with style():
        figure = Figure(figsize=(14, 5))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        left.plot(step, run.cost, color=GREY, linewidth=0.5, alpha=0.8, label="descent")
        left.plot(step, average, color=BLACK, label="descent, smoothed")
        left.plot(step, run["mean"], "--", color=ORANGE, label="central flow, mean cost")
        left.plot(step, run.center, ":", color=BLUE, label="central flow, center")
        left.plot(step, run.plain, color=VERMILLION, linewidth=1.2, label="gradient flow")
        left.set(yscale="log", xlabel="step of descent", ylabel="cost", title=title)
        left.legend()
        for number, values in enumerate(run["product"].values.T):
            right.plot(step, values, color=CYCLE[number], label=f"eigenvalue {number + 1}")
        right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
        right.set_ylim(bottom=0)
        right.set(xlabel="step of descent", ylabel="learning rate · eigenvalue")
        right.set_title("Central flow: largest eigenvalues")
        right.legend(loc="lower right")
    return figure


def deviations(rows) -> Figure:
    """Draw the deviation of both flows for each start, with a row for each case."""
    labels = {"plain": ("gradient flow", VERMILLION), "mean": ("central flow", BLUE)}
    figure, axes = dots_per_start(rows, labels)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.axvline(0.02, color=GREY, linestyle=":")
    axes.set_xlabel("deviation from the smoothed cost of descent, median over time")
    return figure
