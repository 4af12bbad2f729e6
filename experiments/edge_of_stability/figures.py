"""Figure of sharpness and cost of descents, with the limits of stability."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from gdjax.plots.style import BLACK, CYCLE, Figure, style


def edge(panels: Mapping[str, xr.Dataset]) -> Figure:
    """Draw sharpness with dashed limits, and the cost below it, one column per panel.

    Args:
        panels: `sharpness` and `cost` of one start, [rates, records], and `threshold`, by title.
    """
    with style():
        figure = Figure(figsize=(1.0 + 4.6 * len(panels), 7.6))
        grid = figure.subplots(
            2, len(panels), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 2]}
        )
        for (top, bottom), (title, panel) in zip(grid.T, panels.items(), strict=True):
            _draw_sharpness(top, panel)
            top.set_title(title)
            rates, limits = panel.learning_rate.values, panel.threshold.values
            for rate, limit, cost, color in zip(
                rates, limits, panel.cost.values, CYCLE, strict=False
            ):
                label = f"{rate:g}: {limit:.3g}"
                bottom.plot(panel.step, cost, color=color, linewidth=1.2, label=label)
            bottom.set_yscale("log")
            cost = panel.cost.values
            cost = cost[np.isfinite(cost) & (cost > 0)]
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


def _draw_sharpness(axes, panel):
    """Draw sharpness with its limits, except limits far above the sharpness."""
    sharpnesses, limits = panel.sharpness.values, panel.threshold.values
    # The range of the axis excludes short peaks, such as those at the start.
    high = np.nanmax(np.nanquantile(sharpnesses, 0.97, axis=1))
    top = 1.2 * max(high, np.max(limits[limits < 1.25 * high], initial=0))
    for sharpness, limit, color in zip(sharpnesses, limits, CYCLE, strict=False):
        axes.plot(panel.step, sharpness, color=color, linewidth=1.5)
        if limit < top:
            axes.axhline(limit, color=color, linestyle="--", linewidth=1.5)
    axes.set_ylim(0, top)
