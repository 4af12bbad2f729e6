"""Costs and outcomes by learning rate, and changes of activations by width."""

from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from gdjax.plots.axes import legend_above
from gdjax.plots.style import BLUE, CYCLE, GREY, MAX_WIDTH, Figure, style
from gdjax.plots.sweeps import quantiles, sweep


def learning_rates(result: Any, *, title: str = "") -> Figure:
    """Draw final costs and outcomes by learning rate, with the recommended rate.

    Args:
        result: result of `find_learning_rate`.
        title: figure title; by default, the recommended rate.

    Raises:
        ValueError: if the search ended before any descent.
    """
    if not result.runs:
        raise ValueError(
            f"result = a search without descents ({result.status.name}), which has no figure; "
            f"print(result) shows the reason"
        )
    recommended, critical = result.learning_rate, result.critical_rate
    label = f"recommended: {recommended:.3g}" if np.isfinite(recommended) else ""
    figure = sweep(result.runs[-1], title=title or label.capitalize())
    costs = figure.axes[0]
    with style():
        if label:
            good = result.low / 1.1, result.high * 1.1
            costs.axvspan(*good, color=BLUE, alpha=0.15, linewidth=0, label="good rates")
            costs.axvline(recommended, color=BLUE, label=label)
        if np.isfinite(critical):
            label = f"at rates above {critical:.3g}, the first step raises the cost"
            costs.axvline(critical, color=GREY, linestyle=":", label=label)
        legend_above(costs, 2)
    return figure


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
        figure = Figure(figsize=(min(1 + 4 * len(slope), MAX_WIDTH), 4.8))
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
