"""Figures of decays of the learning rate: paths, shares of the gain, exponents."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, style


class Valley(NamedTuple):
    """Costs along one trunk and its decays, and shares for all starts on a data set.

    Args:
        name: name of the data set.
        step: steps of the trunk.
        cost: cost of the trunk at these steps.
        branch_steps: steps at which the decays begin.
        decay_step: steps since the beginning of a decay.
        decays: cost along each decay.
        by_direction: share of the fall in the first k directions, k from 1, for each start, by
            label of the split.
        shares: share of the gain or the fall for each start, by label of the intervention.
    """

    name: str
    step: Float[np.ndarray, " records"]
    cost: Float[np.ndarray, " records"]
    branch_steps: Float[np.ndarray, " branches"]
    decay_step: Float[np.ndarray, " decay_records"]
    decays: Float[np.ndarray, "branches decay_records"]
    by_direction: Mapping[str, Float[np.ndarray, "starts k"]]
    shares: Mapping[str, Float[np.ndarray, " starts"]]


def valleys(rows: Sequence[Valley]) -> Figure:
    """Draw one row per data set: decays of one start, and shares for all starts."""
    with style():
        figure = Figure(figsize=(15, 4.4 * len(rows)))
        panels = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(4, 3, 4))
        for (left, middle, right), row in zip(panels, rows, strict=True):
            left.plot(row.step, row.cost, color=GREY, label="constant rate")
            for index, (first, costs) in enumerate(zip(row.branch_steps, row.decays, strict=True)):
                label = "decay to 0" if index == 0 else None
                left.plot(first + row.decay_step, costs, color=BLUE, label=label)
            left.set(yscale="log", xlabel="step", ylabel="cost", title=f"{row.name}: one start")
            left.legend()
            for (label, values), color in zip(row.by_direction.items(), CYCLE, strict=False):
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
            for height, values in enumerate(row.shares.values()):
                right.plot(values, np.full(len(values), height), "o", color=ORANGE, alpha=0.5)
                right.plot(np.nanmean(values), height, "|", color=BLACK, markersize=14)
            right.axvline(0, color=GREY, linestyle=":")
            right.axvline(1, color=BLACK, linestyle=":", linewidth=1)
            right.xaxis.set_major_locator(MultipleLocator(0.5))
            right.set_yticks(range(len(row.shares)), list(row.shares))
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
