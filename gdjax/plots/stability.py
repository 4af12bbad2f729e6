"""Costs and failures by learning rate, and changes of activations by width."""

from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter, PercentFormatter

from gdjax.plots.axes import note_if_empty
from gdjax.plots.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    ORANGE,
    VERMILLION,
    Figure,
    label_log_axis,
    style,
)
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
        costs.set(yscale="log", ylabel="final cost", xlabel="learning rate")
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


def coordinate_check(result: Any, *, title: str = "") -> Figure:
    """Draw the change of activations against the width, one panel per layer.

    Lines are medians over seeds and bands are quartiles, in which a diverged run counts as +inf.

    Args:
        result: Dataset of `coordinate_check`.
        title: figure title.
    """
    change = result.change.transpose("seed", "layer", "step", "width").fillna(np.inf).values
    low, middle, high = (np.where(np.isfinite(q[0]), q[0], np.nan) for q in quantiles(change[None]))
    slope = result.slope.transpose("layer", "step").values
    width = result.width.values
    with style():
        figure = Figure(figsize=(1 + 4 * len(slope), 4.8))
        panels = figure.subplots(1, len(slope), sharey=True, squeeze=False)[0]
        for layer, axes in enumerate(panels):
            for i, step in enumerate(result.step.values):
                color = CYCLE[i % len(CYCLE)]
                name = f"{step} step{'s' if step > 1 else ''}"
                if np.isfinite(slope[layer, i]):
                    name += f", slope {slope[layer, i]:.2f}"
                axes.plot(width, middle[layer, i], "o-", color=color, label=name)
                band = low[layer, i], high[layer, i]
                axes.fill_between(width, *band, color=color, alpha=0.2, linewidth=0)
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(width, [str(n) for n in width])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel="width", title=str(result.layer.values[layer]))
            axes.legend()
        panels[0].set_ylabel("change of the activations, rms")
        if title:
            figure.suptitle(title)
    return figure
