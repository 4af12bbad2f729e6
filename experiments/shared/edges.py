"""Sharpness along descents at the edge of stability: its figure, and its values at the end."""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared.trees import datasets
from gdjax.plots.style import BLACK, CYCLE, style


def late(values: xr.DataArray, median: Callable = np.nanmedian) -> np.ndarray:
    """Return medians over the last quarter of the records, the last axis."""
    return median(values.values[..., -(values.sizes["step"] // 4) :], axis=-1)


def sharpness_curves(
    tree: xr.DataTree, titles: Mapping[str, str], name: str, *, label: str
) -> Figure:
    """Draw each start as a thin line, medians as thick lines, and the limit dashed.

    Args:
        tree: Dataset of each panel, with `limit` and the variable `name`, [rates, starts, steps].
        titles: title of each panel; panels are drawn two per row.
        name: quantity to draw, such as rate times sharpness; NaN if it was not found.
        label: label of the vertical axes.
    """
    with style():
        rows = -(-len(datasets(tree)) // 2)
        figure = Figure(figsize=(13, 4.4 * rows))
        for axes, (case, panel) in zip(
            figure.subplots(rows, 2).flat, datasets(tree).items(), strict=False
        ):
            step, products, limit = panel.step.values, panel[name].values, float(panel.limit)
            for rate, product, color in zip(
                panel.learning_rate.values, products, CYCLE, strict=False
            ):
                axes.plot(step, product.T, color=color, linewidth=0.5, alpha=0.35)
                axes.plot(step, np.median(product, axis=0), color=color, label=f"{rate:g}")
            axes.axhline(limit, color=BLACK, linestyle="--", label=f"limit {limit:.3g}")
            high = np.nanquantile(products, 0.99)
            axes.set(ylim=(0, 1.35 * max(limit, high)), xlabel="step", ylabel=label)
            axes.set_title(titles[case])
            axes.legend(title="learning rate", title_fontsize=12, ncols=3, loc="upper right")
    return figure
