"""Failures and final costs of descents against the learning rate."""

from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from gdjax.plots.axes import note_if_empty
from gdjax.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, Figure, label_log_axis, style
from gdjax.plots.sweeps import quantiles


def learning_rates(result: Any, *, title: str = "") -> Figure:
    """Draw final costs against the learning rate, and the failures if there are any.

    Args:
        result: result of `find_learning_rate`.
        title: figure title.

    Raises:
        ValueError: if the search ended before any descent.
    """
    if not result.runs:
        raise ValueError(
            f"result = a search without descents ({result.status.name}), which has no figure; "
            f"print(result) shows the reason"
        )
    rates, recommended = result.learning_rates, result.learning_rate
    cost = result.runs[-1].cost.isel(step=-1).values
    failures = np.any(result.diverged + result.stalled > 0)
    heights = [1.2, 2] if failures else [1]
    with style():
        figure = Figure(figsize=(9, 6.6 if failures else 4.6))
        panels = figure.subplots(
            len(heights), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        if failures:
            _draw_shares(panels[0], result)
        costs = panels[-1]
        shown = np.where(np.isfinite(cost) & (cost > 0), cost, np.nan)
        repeated = np.repeat(rates, shown.shape[1])
        costs.plot(repeated, shown.ravel(), "o", color=BLUE, alpha=0.5, label="each start")
        costs.plot(rates, quantiles(shown, (0.5,))[0], color=BLUE, label="median")
        note_if_empty(costs, shown)
        costs.set_yscale("log")
        costs.set_ylabel("final cost")
        costs.set_xlabel("learning rate")
        label_log_axis(costs.yaxis)
        for axes in panels:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            if np.isfinite(result.critical_rate):
                axes.axvline(result.critical_rate, color=GREY, linestyle=":")
            if np.isfinite(recommended):
                good = result.low / 1.1, result.high * 1.1
                axes.axvspan(*good, color=BLUE, alpha=0.15, linewidth=0)
        if np.isfinite(recommended):
            median = quantiles(cost, (0.5,))[0][np.argmin(np.abs(rates - recommended))]
            star = {"color": ORANGE, "markeredgecolor": BLACK, "markersize": 19, "zorder": 4}
            label = f"recommended: {recommended:.3g}"
            costs.plot(recommended, median, "*", label=label, **star)
            costs.fill_between([], [], color=BLUE, alpha=0.15, linewidth=0, label="good rates")
        if np.isfinite(result.critical_rate):
            label = f"at rates above {result.critical_rate:.3g}, the first step raises the cost"
            costs.plot([], [], ":", color=GREY, label=label)
        costs.legend(loc="best")
        panels[0].set_title(title or "Outcomes by learning rate")
    return figure


def _draw_shares(axes, result):
    """Draw the shares of failed starts as bars of equal width on a logarithmic axis."""
    rates, stalled = result.learning_rates, result.stalled
    width = 0.35 * np.min(np.diff(np.log(rates)), initial=1.0)
    left, right = rates * np.exp(-width), rates * np.exp(width)
    for base, share, color, label in (
        (0 * stalled, stalled, BLACK, "stalled"),
        (stalled, result.diverged, VERMILLION, "diverged"),
    ):
        axes.bar(left, share, right - left, base, align="edge", color=color, label=label)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share of failed starts")
    axes.legend(loc="upper left")
