"""Figures of models of descent at the edge of stability, compared with descent."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, style

LABELS = {
    "gradient": ("gradient flow", VERMILLION),
    "central": ("central flow", ORANGE),
    "rod": ("rod flow", BLUE),
    "edge": ("edge flow", GREEN),
    "moved": ("descent, start moved", GREY),
}
SPACING = 0.15  # vertical distance between two models in a row


def distances(rows: Mapping[str, Mapping[str, Float[np.ndarray, " starts"]]]) -> Figure:
    """Draw the distances of models from descent: a row per case, and a dot per start.

    Args:
        rows: distances for all starts, by label of the case and by model; infinite ones are not
            drawn, but count in the medians.
    """
    with style():
        figure = Figure(figsize=(10, 1.8 + 0.8 * len(rows)))
        axes = figure.subplots()
        for height, row in enumerate(rows.values()):
            for number, (model, values) in enumerate(row.items()):
                label, color = LABELS[model]
                finite = values[np.isfinite(values)]
                at = height + SPACING * (number - (len(row) - 1) / 2)
                dots = axes.plot(finite, np.full(finite.size, at), "o", color=color, alpha=0.5)
                dots[0].set_label(label if height == 0 else None)
                axes.plot([np.median(values)], [at], "|", color=BLACK, markersize=13)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("distance of centers / distance from the start, median over time")
        axes.set_title("One dot per start; bars are medians")
        figure.legend(loc="outside right upper")
    return figure


def example(
    step: np.ndarray,
    *,
    distance: Mapping[str, Float[np.ndarray, " steps"]],
    amplitude: Mapping[str, Float[np.ndarray, " steps"]],
    descent_amplitude: Float[np.ndarray, " steps"],
    product: Mapping[str, Float[np.ndarray, " steps"]],
    title: str,
) -> Figure:
    """Draw distances, amplitudes and curvatures of the models along one descent.

    Args:
        step: steps of descent.
        distance: relative distance from the center of descent, by model.
        amplitude: amplitude of the oscillation, by model.
        descent_amplitude: amplitude of the oscillation of descent.
        product: rate times the curvature that determines the growth of the oscillation, by model.
        title: title of the left panel.
    """
    with style():
        figure = Figure(figsize=(16, 5))
        left, middle, right = figure.subplots(1, 3)
        for model, values in distance.items():
            label, color = LABELS[model]
            left.plot(step, np.where(np.isfinite(values), values, np.nan), color=color, label=label)
        middle.plot(step, descent_amplitude, color=BLACK, linewidth=0.7, label="descent")
        for model, values in amplitude.items():
            label, color = LABELS[model]
            middle.plot(step, np.where(values > 0, values, np.nan), color=color, label=label)
            right.plot(step, product[model], color=color, label=label)
        right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
        for axes, name in (
            (left, "distance of centers / distance from the start"),
            (middle, "amplitude of the oscillation"),
            (right, "learning rate · curvature"),
        ):
            axes.set(xlabel="step of descent", ylabel=name)
            axes.legend()
        left.set_yscale("log")
        middle.set_yscale("log")
        right.set_ylim(0, 3)
        left.set_title(title)
    return figure
