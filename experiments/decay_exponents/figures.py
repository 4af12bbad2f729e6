"""Figure of the best exponent of a decay against the number of steps."""

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure

from gdjax.plots.style import CYCLE, style

MARKERS = ("o-", "s--", "^:")


def against_steps(
    steps: Num[np.ndarray, " horizons"],
    capacities: Float[np.ndarray, " capacities"],
    noises: Float[np.ndarray, " noises"],
    best: Float[np.ndarray, "capacities noises horizons"],
) -> Figure:
    """Draw the best exponent of each quadratic, and its limit for many steps."""
    with style():
        figure = Figure(figsize=(8, 4.8))
        axes = figure.subplots()
        for capacity, rows, color in zip(capacities, best, CYCLE, strict=False):
            for noise, row, marker in zip(noises, rows, MARKERS, strict=False):
                axes.plot(
                    steps, row, marker, color=color, label=f"β = {capacity:g}, noise {noise:g}"
                )
            axes.axhline(
                2 * capacity - 1, color=color, linestyle=":", label=f"limit {2 * capacity - 1:g}"
            )
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set(xlabel="number of steps N", ylabel="best exponent p")
        axes.set_title("Best decay $(1 - t/N)^p$ of the learning rate")
        axes.legend(fontsize="small", ncols=2, loc="lower right")
    return figure
