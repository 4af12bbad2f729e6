"""Figure of the bounds on the rate of a step on an accelerator."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import BLUE, GREY, style


def bounds(dataset: xr.Dataset) -> Figure:
    """Draw both upper bounds on the share of the peak rate against the batch size."""
    with style():
        figure = Figure(figsize=(7, 4.4))
        axes = figure.subplots()
        size = dataset.batch_size
        axes.plot(size, dataset.weights_share, "--", color=GREY, label="transfers of weights only")
        axes.plot(size, dataset.share, "o-", color=BLUE, label="all transfers of the program")
        axes.set(xscale="log", ylim=(0, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel="samples per step", ylabel="upper bound on the share\nof the peak rate")
        axes.set_title(f"Bounds from the memory bandwidth of an {dataset.accelerator}")
        axes.legend()
    return figure
