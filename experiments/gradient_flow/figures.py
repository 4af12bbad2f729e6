"""Figures: descents and the gradient flow."""

import numpy as np
import xarray as xr

from experiments.shared.trees import datasets
from gdjax.plots.style import BLACK, CYCLE, Figure, style

from .summary import largest_distances, order

# Case, title, and the measure of progress: label, variable of descents, variable of the flow.
ROWS = (
    ("equal", "Two factors, (2 - ab)² / 2", "product ab", "product", "known"),
    ("digits", "Digit network", "cost", "cost", "flow_cost"),
)


def from_flow(tree: xr.DataTree) -> Figure:
    """Draw progress, distance from the flow, and order, with one row per problem."""
    fitted = tree.attrs["fitted"]
    with style():
        figure = Figure(figsize=(14, 4.5 * len(ROWS)))
        grid = figure.subplots(len(ROWS), 3, squeeze=False)
        for (left, middle, right), (name, title, label, progress, of_flow) in zip(
            grid, ROWS, strict=True
        ):
            case = datasets(tree)[name]
            time, rates, distances = case.time.values, case.rate.values, case.distance.values
            colors = [CYCLE[i % (len(CYCLE) - 1)] for i in range(len(rates))]
            for rate, values, distance, color in zip(
                rates, case[progress].values, distances, colors, strict=True
            ):
                left.plot(time, values, color=color)
                positive = np.where(distance > 0, distance, np.nan)
                middle.plot(time, positive, color=color, label=f"{rate:g}")
            left.plot(time, case[of_flow], "--", color=BLACK, label="gradient flow")
            left.set(xlabel="time, learning rate · steps", ylabel=label, title=title)
            left.legend()
            high, low = distances.max(), distances[distances > 0].min()
            middle.set_yscale("log")
            middle.set_ylim(top=high * (high / low) ** 0.4)  # for the legend
            middle.set(xlabel="time, learning rate · steps", ylabel="distance from the flow")
            middle.set_title("Distance from the flow")
            middle.legend(
                title="learning rate", ncols=3, loc="upper right", handlelength=1.2, columnspacing=1
            )
            largest = largest_distances(case)
            right.scatter(rates, largest, c=colors, s=60, zorder=3)
            ends = np.array([rates.min() / 1.3, rates.max() * 1.3])
            small = np.argmin(rates)
            line = largest[small] * ends / rates[small]
            right.plot(ends, line, "--", color=BLACK, label="first order: slope 1")
            right.set(xscale="log", yscale="log", xlabel="learning rate")
            right.set_ylabel("largest distance from the flow")
            right.set_title(f"Fitted order {order(case, fitted):.3f} ({fitted} smallest rates)")
            right.legend(loc="upper left")
    return figure
