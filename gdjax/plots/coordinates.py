"""Change of activations against the width of a network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import NullFormatter

from gdjax.plots.style import CYCLE, Figure, style


def coordinate_check(
    width: Int[np.ndarray, " widths"],
    change: Float[np.ndarray, "layers steps widths"],
    *,
    low: Float[np.ndarray, "layers steps widths"],
    high: Float[np.ndarray, "layers steps widths"],
    slope: Float[np.ndarray, "layers steps"],
    layers: Sequence[str],
    steps: Sequence[int] | Int[np.ndarray, " steps"],
    title: str = "",
) -> Figure:
    """Draw the change of activations against the width, one panel per layer.

    Args:
        width: widths of the networks.
        change: change of the activations, such as the median over starts.
        low: lower ends of the intervals of `change`.
        high: upper ends of the intervals of `change`.
        slope: slope of log change against log width, for the legend; NaN if unknown.
        layers: name of each layer.
        steps: steps after which the change was measured.
        title: figure title.
    """
    with style():
        figure = Figure(figsize=(1 + 4 * len(layers), 4.8))
        panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
        for axes, layer, *of_layer in zip(panels, layers, change, low, high, slope, strict=True):
            for step, middle, bottom, top, exponent, color in zip(
                steps, *of_layer, CYCLE * (1 + len(steps) // len(CYCLE)), strict=False
            ):
                name = f"{step} step{'s' if step > 1 else ''}"
                if np.isfinite(exponent):
                    name += f", slope {exponent:.2f}"
                axes.plot(width, middle, "o-", color=color, label=name)
                axes.fill_between(width, bottom, top, color=color, alpha=0.2, linewidth=0)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(width, [str(n) for n in width])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("width")
            axes.set_title(layer)
            axes.legend()
        panels[0].set_ylabel("change of the activations, rms")
        if title:
            figure.suptitle(title)
    return figure
