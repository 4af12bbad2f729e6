"""Figure of the predicted time of a step on an accelerator."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from gdjax.plots.style import BLUE, GREY, style


def times(dataset: xr.Dataset) -> Figure:
    """Draw the range of the time of a step for each program, and that of the program by hand."""
    with style():
        figure = Figure(figsize=(7, 6))
        axes = figure.subplots()
        rows = np.arange(dataset.sizes["case"])
        for name, color, shift, label in (
            ("microseconds", BLUE, -0.15, "gdjax"),
            ("microseconds_by_hand", GREY, 0.15, "by hand"),
        ):
            low, high = dataset[name].values.T
            axes.hlines(rows + shift, low, high, color=color, lw=3, label=label)
        names = ("order", "batch_size", "networks", "optimizer")
        columns = (dataset[name].values.tolist() for name in names)
        axes.set_yticks(
            rows,
            [
                f"{order}{f' {size}' if size else ''}, {networks:,} networks, {optimizer}"
                for order, size, networks, optimizer in zip(*columns, strict=True)
            ],
        )
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("predicted time of a step (microseconds)")
        axes.set_xticks([30, 50, 100, 200, 300])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(f"Predicted times on an {dataset.device.upper()}")
        axes.legend()
    return figure
