"""Figures and statistics of descents at the edge of stability."""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, CYCLE


def late(values: xr.DataArray, median: Callable = np.nanmedian) -> np.ndarray:
    """Return medians over the last quarter of the records, the last axis."""
    return median(values.values[..., -(values.sizes["step"] // 4) :], axis=-1)


def sharpness_curves(
    panels: Mapping[str, xr.Dataset], titles: Mapping[str, str], name: str, *, label: str
) -> Figure:
    """Draw each start as a thin line, medians as thick lines, and the limit dashed.

    Args:
        panels: Dataset of each panel, with `limit` and the variable `name`, [rates, starts, steps].
        titles: title of each panel; panels are drawn two per row.
        name: quantity to draw, such as rate times sharpness; NaN if it was not found.
        label: label of the vertical axes.
    """
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(13, 4.4 * rows))
    for axes, (case, panel) in zip(figure.subplots(rows, 2).flat, panels.items(), strict=False):
        step, products, limit = panel.step.values, panel[name].values, float(panel.limit)
        for rate, product, color in zip(panel.learning_rate.values, products, CYCLE, strict=False):
            axes.plot(step, product.T, color=color, linewidth=0.5, alpha=0.35)
            axes.plot(step, np.median(product, axis=0), color=color, label=f"{rate:g}")
        axes.axhline(limit, color=BLACK, linestyle="--", label=f"limit {limit:.3g}")
        high = np.nanquantile(products, 0.99)
        axes.set(ylim=(0, 1.35 * max(limit, high)), xlabel="step", ylabel=label)
        axes.set_title(titles[case])
        axes.legend(title="learning rate", title_fontsize=12, ncols=3, loc="upper right")
    return figure


def dots_per_start(
    rows: Mapping[str, Mapping[str, Float[np.ndarray, " starts"]]],
    labels: Mapping[str, tuple[str, str]],
) -> tuple[Figure, Axes]:
    """Draw a row per case with a dot per start for each of several models.

    Args:
        rows: values for all starts, by label of the case and by model; infinite ones are not drawn,
            but count in the medians.
        labels: label and color of each model.
    """
    figure = Figure(figsize=(10, 1.8 + (0.3 + 0.1 * len(labels)) * len(rows)))
    axes = figure.subplots()
    for height, row in enumerate(rows.values()):
        for number, (model, values) in enumerate(row.items()):
            label, color = labels[model]
            finite = values[np.isfinite(values)]
            at = height + 0.15 * (number - (len(row) - 1) / 2)
            dots = axes.plot(finite, np.full(finite.size, at), "o", color=color, alpha=0.5)
            dots[0].set_label(label if height == 0 else None)
            axes.plot([np.median(values)], [at], "|", color=BLACK, markersize=13)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set(xscale="log", title="One dot per start; bars are medians")
    figure.legend(loc="outside right upper")
    return figure, axes
