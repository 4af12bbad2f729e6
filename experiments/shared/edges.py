"""Figures of sharpness at the edge of stability."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, CYCLE, style


class SharpnessPanel(NamedTuple):
    """Sharpness along descents at several rates from several starts.

    Args:
        title: title of the panel.
        step: step of each record.
        learning_rate: learning rates of the descents, at most 7.
        product: quantity to draw, such as rate times sharpness; NaN if it was not found.
        limit: value of this quantity above which descent on a quadratic cost is unstable.
    """

    title: str
    step: Float[np.ndarray, " records"] | np.ndarray
    learning_rate: Float[np.ndarray, " rates"]
    product: Float[np.ndarray, "rates starts records"]
    limit: float


def sharpness_curves(panels: Sequence[SharpnessPanel], *, label: str) -> Figure:
    """Draw each start as a thin line, medians as thick lines, and the limit dashed.

    Args:
        panels: panels, drawn two per row.
        label: label of the vertical axes.
    """
    with style():
        rows = -(-len(panels) // 2)
        figure = Figure(figsize=(13, 4.4 * rows))
        for axes, panel in zip(figure.subplots(rows, 2).flat, panels, strict=False):
            for rate, product, color in zip(
                panel.learning_rate, panel.product, CYCLE, strict=False
            ):
                axes.plot(panel.step, product.T, color=color, linewidth=0.5, alpha=0.35)
                axes.plot(panel.step, np.median(product, axis=0), color=color, label=f"{rate:g}")
            axes.axhline(panel.limit, color=BLACK, linestyle="--", label=f"limit {panel.limit:.3g}")
            high = np.nanquantile(panel.product, 0.99)
            axes.set(ylim=(0, 1.35 * max(panel.limit, high)), xlabel="step", ylabel=label)
            axes.set_title(panel.title)
            axes.legend(title="learning rate", title_fontsize=12, ncols=3, loc="upper right")
    return figure
