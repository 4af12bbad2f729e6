"""Figures of the central flow, compared with descent and the gradient flow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION, style


class Deviation(NamedTuple):
    """Relative errors of two flows, as medians over the steps; +inf if descent diverged."""

    label: str
    central: Float[np.ndarray, " starts"]
    plain: Float[np.ndarray, " starts"]


def flows(
    step: np.ndarray,
    *,
    cost: Float[np.ndarray, " steps"],
    average: Float[np.ndarray, " steps"],
    mean: Float[np.ndarray, " steps"],
    center: Float[np.ndarray, " steps"],
    plain: Float[np.ndarray, " steps"],
    product: Float[np.ndarray, "steps k"],
    title: str,
) -> Figure:
    """Draw costs on the left, and rate times largest eigenvalues on the right.

    Args:
        step: steps of descent.
        cost: cost along the descent.
        average: cost along the descent, smoothed over the steps.
        mean: mean cost of the oscillation, predicted by the central flow.
        center: cost at the center of the oscillation, predicted by the central flow.
        plain: cost along the gradient flow.
        product: learning rate times the largest eigenvalues along the central flow.
        title: title of the left panel.
    """
    with style():
        figure = Figure(figsize=(14, 5))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        left.plot(step, cost, color=GREY, linewidth=0.5, alpha=0.8, label="descent")
        left.plot(step, average, color=BLACK, label="descent, smoothed")
        left.plot(step, mean, "--", color=ORANGE, label="central flow, mean cost")
        left.plot(step, center, ":", color=BLUE, label="central flow, center")
        left.plot(step, plain, color=VERMILLION, linewidth=1.2, label="gradient flow")
        left.set(yscale="log", xlabel="step of descent", ylabel="cost", title=title)
        left.legend()
        for number, values in enumerate(product.T):
            right.plot(step, values, color=CYCLE[number], label=f"eigenvalue {number + 1}")
        right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
        right.set_ylim(bottom=0)
        right.set(xlabel="step of descent", ylabel="learning rate · eigenvalue")
        right.set_title("Central flow: largest eigenvalues")
        right.legend(loc="lower right")
    return figure


def deviations(rows: Sequence[Deviation]) -> Figure:
    """Draw the prediction error of each start, with a row for each case.

    Args:
        rows: deviations for each case, from top to bottom.
    """
    with style():
        figure = Figure(figsize=(9.5, 1.6 + 0.42 * len(rows)))
        axes = figure.subplots()
        for height, row in enumerate(rows):
            for values, color, shift, label in (
                (row.plain, VERMILLION, 0.12, "gradient flow"),
                (row.central, BLUE, -0.12, "central flow"),
            ):
                finite = values[np.isfinite(values)]
                if not finite.size:
                    continue
                axes.plot(
                    finite,
                    np.full(finite.size, height + shift),
                    "o",
                    color=color,
                    alpha=0.5,
                    label=label if height == 0 else None,
                )
                axes.plot(np.median(finite), height + shift, "|", color=BLACK, markersize=13)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        axes.axvline(0.02, color=GREY, linestyle=":")
        axes.set_xlabel("deviation from the smoothed cost of descent, median over time")
        axes.set_title("One dot per start; bars are medians")
        axes.legend(loc="lower right")
    return figure
