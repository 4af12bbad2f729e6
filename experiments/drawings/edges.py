"""Figures of sharpness at the edge of stability."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, CYCLE, GREY, style


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
            axes.set_ylim(0, 1.35 * max(panel.limit, high))
            axes.set_xlabel("step")
            axes.set_ylabel(label)
            axes.set_title(panel.title)
            axes.legend(title="learning rate", title_fontsize=12, ncols=3, loc="upper right")
    return figure


def by_batch_size(
    batch_size: Sequence[int] | np.ndarray,
    learning_rate: Float[np.ndarray, " rates"],
    *,
    batch: Float[np.ndarray, "sizes rates starts"],
    ratios: Float[np.ndarray, "sizes rates starts"],
    full_batch: Float[np.ndarray, "sizes rates starts"],
) -> Figure:
    """Draw three kinds of sharpness at the end of descents, in units of 2 / rate.

    Each kind has one panel.

    Args:
        batch_size: numbers of samples per step.
        learning_rate: learning rates of the descents.
        batch: batch sharpness; NaN if a descent diverged.
        ratios: batch sharpness computed as the mean of the ratios of single mini-batches.
        full_batch: largest eigenvalue of the Hessian of the full-batch cost.
    """
    names = {
        "Batch sharpness": batch,
        "Batch sharpness, mean of ratios": ratios,
        "Sharpness of the full-batch cost": full_batch,
    }
    with style():
        figure = Figure(figsize=(15, 5))
        for axes, (title, values) in zip(
            figure.subplots(1, 3, sharey=True), names.items(), strict=True
        ):
            for size, size_values, color in zip(batch_size, values, CYCLE, strict=False):
                measured = np.isfinite(size_values).any(axis=1)
                middle = np.nanmedian(size_values[measured], axis=1)
                axes.plot(learning_rate[measured], middle, color=color, label=f"{size}")
                across = np.broadcast_to(learning_rate[:, None], size_values.shape)
                axes.plot(across.ravel(), size_values.ravel(), ".", color=color, alpha=0.4)
            axes.axhline(1, color=GREY, linestyle="--")
            axes.set_xscale("log")
            axes.set_ylim(0, 1.5)
            axes.set_xlabel("learning rate")
            axes.set_title(title)
        figure.axes[0].set_ylabel("in units of 2 / learning rate,\nlast quarter of the steps")
        figure.axes[2].legend(title="samples per step", title_fontsize=12, loc="upper left")
    return figure
