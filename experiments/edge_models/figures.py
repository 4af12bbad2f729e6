"""Figures of models of descent at the edge of stability, compared with descent."""

import xarray as xr
from matplotlib.figure import Figure

from experiments.shared.edges import dots_per_start
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, style

LABELS = {
    "gradient": ("gradient flow", VERMILLION),
    "central": ("central flow", ORANGE),
    "rod": ("rod flow", BLUE),
    "edge": ("edge flow", GREEN),
    "moved": ("descent, start moved", GREY),
}


def distances(rows) -> Figure:
    """Draw the distances of models from descent: a row per case, and a dot per start."""
    figure, axes = dots_per_start(rows, LABELS)
    axes.set_xlabel("distance of centers / distance from the start, median over time")
    return figure


def example(run: xr.Dataset, title: str) -> Figure:
    """Draw distances, amplitudes and curvatures of the models along one descent."""
    step = run.step.values
    with style():
        figure = Figure(figsize=(16, 5))
        left, middle, right = figure.subplots(1, 3)
        middle.plot(step, run.descent_amplitude, color=BLACK, linewidth=0.7, label="descent")
        for model, (label, color) in LABELS.items():
            distance = run[f"{model}_distance"]
            left.plot(step, distance.where(abs(distance) < float("inf")), color=color, label=label)
            if model in ("central", "rod", "edge"):
                amplitude = run[f"{model}_amplitude"]
                middle.plot(step, amplitude.where(amplitude > 0), color=color, label=label)
                right.plot(step, run[f"{model}_product"], color=color, label=label)
        right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
        for axes, name in (
            (left, "distance of centers / distance from the start"),
            (middle, "amplitude of the oscillation"),
            (right, "learning rate · curvature"),
        ):
            axes.set(xlabel="step of descent", ylabel=name)
            axes.legend()
        left.set(yscale="log", title=title)
        middle.set_yscale("log")
        right.set_ylim(0, 3)
    return figure
