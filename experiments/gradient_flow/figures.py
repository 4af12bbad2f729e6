"""Figures: descents and the gradient flow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gdjax.plots.style import BLACK, CYCLE, Figure, style


class BesideFlow(NamedTuple):
    """Descents and the gradient flow at equal times (learning rate times steps).

    Args:
        title: title of the row.
        time: time since the start.
        learning_rate: learning rates of the descents, largest first.
        shown: measure of the progress of each descent, at each time.
        flow: value of this measure for the flow, at each time.
        shown_label: name of this measure.
        distance: distance of the parameters of each descent from those of the flow, at each time.
        fitted: number of the smallest learning rates, which are used to fit the order.
        order: slope of the logarithm of the largest distance against that of the learning rate.
    """

    title: str
    time: Float[np.ndarray, " times"]
    learning_rate: Float[np.ndarray, " rates"]
    shown: Float[np.ndarray, "rates times"]
    flow: Float[np.ndarray, " times"]
    shown_label: str
    distance: Float[np.ndarray, "rates times"]
    fitted: int
    order: float


def from_flow(rows: Sequence[BesideFlow]) -> Figure:
    """Draw progress, distance from the flow, and order, with one row per problem."""
    with style():
        figure = Figure(figsize=(14, 4.5 * len(rows)))
        grid = figure.subplots(len(rows), 3, squeeze=False)
        for (left, middle, right), row in zip(grid, rows, strict=True):
            colors = [CYCLE[i % (len(CYCLE) - 1)] for i in range(len(row.learning_rate))]
            for rate, shown, distance, color in zip(
                row.learning_rate, row.shown, row.distance, colors, strict=True
            ):
                left.plot(row.time, shown, color=color)
                middle.plot(row.time, _positive(distance), color=color, label=f"{rate:g}")
            left.plot(row.time, row.flow, "--", color=BLACK, label="gradient flow")
            left.set(xlabel="time, learning rate · steps", ylabel=row.shown_label, title=row.title)
            left.legend()
            middle.set_yscale("log")
            distance = row.distance[row.distance > 0]
            middle.set_ylim(top=distance.max() * (distance.max() / distance.min()) ** 0.4)  # legend
            middle.set(xlabel="time, learning rate · steps", ylabel="distance from the flow")
            middle.set_title("Distance from the flow")
            middle.legend(
                title="learning rate", ncols=3, loc="upper right", handlelength=1.2, columnspacing=1
            )
            _draw_order(right, row, colors)
    return figure


def _draw_order(axes, row, colors):
    """Draw the largest distance for each rate, and a line of slope 1."""
    largest = np.max(row.distance, axis=1)
    axes.scatter(row.learning_rate, largest, c=colors, s=60, zorder=3)
    small = np.argmin(row.learning_rate)
    ends = np.array([row.learning_rate.min() / 1.3, row.learning_rate.max() * 1.3])
    axes.plot(
        ends,
        largest[small] * ends / row.learning_rate[small],
        "--",
        color=BLACK,
        label="first order: slope 1",
    )
    axes.set(xscale="log", yscale="log", xlabel="learning rate")
    axes.set_ylabel("largest distance from the flow")
    axes.set_title(f"Fitted order {row.order:.3f} ({row.fitted} smallest rates)")
    axes.legend(loc="upper left")


def _positive(values):
    return np.where(values > 0, values, np.nan)
