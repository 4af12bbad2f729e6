"""Costs, distances and eigenvalues along gradient flow and central flow."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from gdjax.plots.style import (
    BLACK,
    BLUE,
    CYCLE,
    VERMILLION,
    Figure,
    label_log_axis,
    style,
    styled_axes,
)

TIME = "time, learning rate · steps"


def flow_cost(
    time: Float[np.ndarray, " times"],
    cost: Float[np.ndarray, " times"],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the cost along a gradient flow.

    Args:
        time: time since the start.
        cost: cost at each time; not finite where the flow was not computed.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 4.5)) as axes:
        _plot_cost(axes, time, cost, BLUE, "gradient flow")
        axes.set_xlabel(TIME)
        axes.set_title(title)
    return axes


def flow_distances(
    time: Float[np.ndarray, " times"],
    learning_rate: Float[np.ndarray, " rates"],
    distance: Float[np.ndarray, "rates times"],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the distance of descents from the gradient flow, per learning rate.

    Args:
        time: time since the start.
        learning_rate: learning rate of each descent.
        distance: distance between the parameters of descent and flow at equal times.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 4.5)) as axes:
        for number, (rate, values) in enumerate(zip(learning_rate, distance, strict=True)):
            shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            axes.plot(time, shown, color=CYCLE[number % len(CYCLE)], label=f"{rate:g}")
        if np.any(np.isfinite(distance) & (distance > 0)):
            axes.set_yscale("log")
            label_log_axis(axes.yaxis)
        axes.legend(title="learning rate")
        axes.set_xlabel(TIME)
        axes.set_ylabel("distance from the gradient flow")
        axes.set_title(title)
    return axes


def central_flow(
    time: Float[np.ndarray, " times"],
    cost: Float[np.ndarray, " times"],
    mean_cost: Float[np.ndarray, " times"],
    eigenvalues: Float[np.ndarray, "times k"],
    *,
    title: str = "",
) -> Figure:
    """Draw costs and the largest Hessian eigenvalues along a central flow.

    Args:
        time: time since the start.
        cost: cost at the center.
        mean_cost: predicted mean of the cost of gradient descent.
        eigenvalues: largest eigenvalues of the Hessian at the center, in descending order.
        title: figure title.
    """
    with style():
        figure = Figure(figsize=(8, 7))
        top, bottom = figure.subplots(2, 1, sharex=True)
        _plot_cost(top, time, mean_cost, VERMILLION, "mean over the oscillations")
        _plot_cost(top, time, cost, BLUE, "at the center")
        top.legend()
        top.set_title(title)
        for number, values in enumerate(eigenvalues.T):
            color = BLACK if number == 0 else CYCLE[number % len(CYCLE)]
            bottom.plot(time, values, color=color, label=f"{number + 1}")
        bottom.legend(title="rank")
        bottom.set_ylabel("eigenvalue of the Hessian")
        bottom.set_xlabel(TIME)
    return figure


def _plot_cost(axes, time, cost, color, label):
    finite = np.isfinite(cost)
    axes.plot(time[finite], cost[finite], color=color, label=label)
    axes.set_ylabel("cost")
    if finite.any() and np.all(cost[finite] > 0) and np.ptp(np.log10(cost[finite])) > 1:
        axes.set_yscale("log")
        label_log_axis(axes.yaxis)
