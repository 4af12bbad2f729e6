"""Costs, distances and eigenvalues along gradient flow and central flow."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gdjax.plots.axes import log_scale, styled_axes
from gdjax.plots.style import BLACK, BLUE, CYCLE, VERMILLION, Figure, style

TIME = "time, learning rate · steps"


def flow_cost(flow: Any, *, title: str = "") -> Axes:
    """Draw the cost along a gradient flow."""
    cost = np.asarray(flow.cost)
    finite = cost[np.isfinite(cost)]
    costs = f": cost {finite[0]:.3g} to {finite[-1]:.3g}" if finite.size else ""
    with styled_axes(None, (8, 4.5)) as axes:
        _plot_cost(axes, np.asarray(flow.time), cost, BLUE, "gradient flow")
        axes.set(xlabel=TIME, title=title or f"Gradient flow{costs}")
    return axes


def flow_distances(result: Any, *, title: str = "") -> Axes:
    """Draw the distance of descents from the gradient flow, per learning rate."""
    distance = np.asarray(result.distance)
    shown = np.where(np.isfinite(distance) & (distance > 0), distance, np.nan)
    with styled_axes(None, (8, 4.5)) as axes:
        for number, (rate, values) in enumerate(zip(result.learning_rate, shown, strict=True)):
            color = CYCLE[number % len(CYCLE)]
            axes.plot(np.asarray(result.time), values, color=color, label=f"{float(rate):g}")
        log_scale(axes, shown)
        axes.legend(title="learning rate")
        axes.set(xlabel=TIME, ylabel="distance from the gradient flow")
        axes.set_title(title or "Distance from the gradient flow")
    return axes


def central_flow(flow: Any, *, title: str = "") -> Figure:
    """Draw costs and the largest Hessian eigenvalues along a central flow."""
    time = np.asarray(flow.time)
    with style():
        figure = Figure(figsize=(8, 7))
        top, bottom = figure.subplots(2, 1, sharex=True)
        _plot_cost(top, time, np.asarray(flow.mean_cost), VERMILLION, "mean over the oscillations")
        _plot_cost(top, time, np.asarray(flow.cost), BLUE, "at the center")
        top.legend()
        top.set_title(title or "Central flow")
        for number, values in enumerate(np.asarray(flow.eigenvalues).T):
            color = BLACK if number == 0 else CYCLE[number % len(CYCLE)]
            bottom.plot(time, values, color=color, label=f"{number + 1}")
        bottom.legend(title="rank")
        bottom.set(ylabel="eigenvalue of the Hessian", xlabel=TIME)
    return figure


def _plot_cost(axes, time, cost, color, label):
    finite = np.isfinite(cost)
    axes.plot(time[finite], cost[finite], color=color, label=label)
    axes.set_ylabel("cost")
    log_scale(axes, cost, ratio=10)
