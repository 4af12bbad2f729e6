"""Figure of the success and cost of learning-rate finders."""

import numpy as np
import xarray as xr

from gdjax.plots.style import BLACK, BLUE, GREEN, ORANGE, VERMILLION, Figure, label_log_axis, style

from .summary import METHODS, bootstrap, evaluate_recommendations

COLORS = (BLUE, GREEN, ORANGE, VERMILLION)


def shares_and_costs(dataset: xr.Dataset) -> Figure:
    """Draw success rates by number of evaluations, and ratios to the best rate."""
    results = evaluate_recommendations(dataset)
    with style():
        figure = Figure(figsize=(13, 5.2))
        left, right = figure.subplots(1, 2)
        edges = np.arange(-8.25, 8.5, 0.5)
        for i, (color, (method, label)) in enumerate(zip(COLORS, METHODS.items(), strict=True)):
            found = results.sel(finder=method)
            share, low, high = bootstrap(found.success)
            left.errorbar(
                # The factor separates points of equal cost.
                float(dataset.evaluations.sel(finder=method).median()) * 1.03 ** (i - 1.5),
                share,
                [[share - low], [high - share]],
                fmt="o",
                color=color,
                capsize=4,
                label=label,
            )
            ratios = found.ratio.values[np.isfinite(found.ratio.values)]
            counts, _ = np.histogram(np.clip(ratios, -8, 8), edges)
            right.stairs(np.cumsum(counts) / found.ratio.size, edges, color=color, label=label)
        left.set_xscale("log")
        label_log_axis(left.xaxis, digits="35", form="{:,.0f}".format)
        left.set(ylim=(0, 1), xlabel="number of cost evaluations")
        left.set_ylabel("share within a factor of 2 of the best rate")
        left.legend(loc="best")
        right.axvspan(-1, 1, color=BLACK, alpha=0.08, linewidth=0)
        right.set(ylim=(0, 1), xlabel="log2 (recommended rate / best rate)")
        right.set_ylabel("cumulative share of recommendations")
        figure.suptitle("Recommended learning rates")
    return figure
