"""Figures of decays of the learning rate: paths, shares of the gain, exponents."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, style

SPLITS = {
    "second_order": "second order",
    "line": "line, vectors at branch point",
    "end_line": "line, vectors after decay",
}


def valleys(
    dataset: xr.Dataset, interventions: Sequence[Mapping[str, Float[np.ndarray, " starts"]]]
) -> Figure:
    """Draw one row per data set: decays of one start, and shares for all starts.

    Args:
        dataset: results of the experiment.
        interventions: for each data set, the share of the gain or of the fall for each start, by
            label.
    """
    names = dataset.attrs["data_sets"]
    with style():
        figure = Figure(figsize=(15, 4.4 * len(names)))
        panels = figure.subplots(len(names), 3, squeeze=False, width_ratios=(4, 3, 4))
        for number, ((left, middle, right), name, shares) in enumerate(
            zip(panels, names, interventions, strict=True)
        ):
            part = dataset.isel(data=number)
            left.plot(part.record, part.trunk_cost, color=GREY, label="constant rate")
            for index, first in enumerate(part.branch_step.values):
                label = "decay to 0" if index == 0 else None
                costs = part.branch_cost.isel(branch_step=index)
                left.plot(first + part.decay_record, costs, color=BLUE, label=label)
            left.set(yscale="log", xlabel="step", ylabel="cost", title=f"{name}: one start")
            left.legend()
            fall = (part.begin - part.end).sum("branch_step")
            for (split, label), color in zip(SPLITS.items(), CYCLE, strict=False):
                share = -part[split].sum("branch_step").cumsum("direction") / fall
                values = share.transpose("start", "direction").values
                k = np.arange(1, values.shape[1] + 1)
                middle.plot(k, np.nanmean(values, axis=0), color=color, label=label)
                middle.fill_between(
                    k,
                    np.nanmin(values, axis=0),
                    np.nanmax(values, axis=0),
                    color=color,
                    alpha=0.15,
                    linewidth=0,
                )
            middle.axhline(1, color=BLACK, linestyle=":", linewidth=1)
            middle.set(xlabel="number k of directions", ylabel="share of the fall")
            middle.set_title("Split of the fall")
            middle.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0, 0.97))
            for height, values in enumerate(shares.values()):
                right.plot(values, np.full(len(values), height), "o", color=ORANGE, alpha=0.5)
                right.plot(np.nanmean(values), height, "|", color=BLACK, markersize=14)
            right.axvline(0, color=GREY, linestyle=":")
            right.axvline(1, color=BLACK, linestyle=":", linewidth=1)
            right.xaxis.set_major_locator(MultipleLocator(0.5))
            right.set_yticks(range(len(shares)), list(shares))
            right.invert_yaxis()
            right.set(xlabel="share of the full decay", title="Interventions")
    return figure


def exponents(
    exponent: Float[np.ndarray, " exponents"], cost: Float[np.ndarray, " exponents"]
) -> Figure:
    """Draw the cost with tuned peak rate against the exponent of the decay."""
    with style():
        figure = Figure(figsize=(8, 4.6))
        axes = figure.subplots()
        axes.plot(exponent, cost, "o-", color=BLUE)
        axes.set_xscale("symlog", linthresh=0.125)  # shows the exponent 0
        axes.set_xticks(exponent, [f"{p:g}" for p in exponent], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set(xlabel="exponent p of the decay $(1 - z/N)^p$", ylabel="cost after the decay")
        axes.set_title("Digits, best of the peak rates for each exponent")
    return figure
