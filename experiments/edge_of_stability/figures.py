"""Figure of sharpness and cost of descents, with the limits of stability."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from gdjax.plots.style import BLACK, CYCLE, Figure, style


class Edge(NamedTuple):
    """Descents at several learning rates, with their sharpness.

    Args:
        title: title of the panel.
        step: step of each record.
        learning_rate: learning rates of the descents, at most 7.
        sharpness: largest eigenvalue of the Hessian at each record; NaN if it was not found.
        threshold: sharpness above which descent on a quadratic cost is unstable, for each learning
            rate.
        cost: cost at each record; infinite after divergence.
    """

    title: str
    step: Float[np.ndarray, " records"]
    learning_rate: Float[np.ndarray, " rates"]
    sharpness: Float[np.ndarray, "rates records"]
    threshold: Float[np.ndarray, " rates"]
    cost: Float[np.ndarray, "rates records"]


def edge(panels: Sequence[Edge]) -> Figure:
    """Draw sharpness with dashed limits, and the cost below it, one column per panel."""
    with style():
        figure = Figure(figsize=(1.0 + 4.6 * len(panels), 7.6))
        grid = figure.subplots(
            2, len(panels), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 2]}
        )
        for (top, bottom), panel in zip(grid.T, panels, strict=True):
            _draw_sharpness(top, panel)
            for rate, limit, cost, color in zip(
                panel.learning_rate, panel.threshold, panel.cost, CYCLE, strict=False
            ):
                label = f"{rate:g}: {limit:.3g}"
                bottom.plot(panel.step, cost, color=color, linewidth=1.2, label=label)
            bottom.set_yscale("log")
            cost = panel.cost[np.isfinite(panel.cost) & (panel.cost > 0)]
            bottom.set_ylim(top=cost.max() * (cost.max() / cost.min()) ** 0.35)  # for the legend
            bottom.yaxis.set_minor_formatter(NullFormatter())
            bottom.xaxis.set_major_locator(MaxNLocator(4))
            bottom.set_xlabel("step")
            bottom.legend(
                title="learning rate: limit",
                ncols=2,
                loc="upper right",
                handlelength=1.2,
                columnspacing=1,
            )
        grid[0, 0].set_ylabel("sharpness, largest\neigenvalue of the Hessian")
        grid[1, 0].set_ylabel("cost")
        figure.legend(
            handles=[
                Line2D([], [], color=BLACK, label="sharpness"),
                Line2D([], [], color=BLACK, linestyle="--", label="stability limit"),
            ],
            loc="outside upper center",
            ncols=2,
        )
    return figure


def _draw_sharpness(axes: Axes, panel: Edge) -> None:
    """Draw sharpness with its limits, except limits far above the sharpness."""
    # The range of the axis excludes short peaks, such as those at the start.
    high = np.nanmax(np.nanquantile(panel.sharpness, 0.97, axis=1))
    top = 1.2 * max(high, np.max(panel.threshold[panel.threshold < 1.25 * high], initial=0))
    for sharpness, limit, color in zip(panel.sharpness, panel.threshold, CYCLE, strict=False):
        axes.plot(panel.step, sharpness, color=color, linewidth=1.5)
        if limit < top:
            axes.axhline(limit, color=color, linestyle="--", linewidth=1.5)
    axes.set(ylim=(0, top), title=panel.title)
