"""Figures of branching descents: barriers after a change of one weight."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gdjax.plots.style import CYCLE, style

SPREAD = 0.3  # half of the distance between the first and the last column of a layer


def distributions(ratios: xr.DataArray, another: xr.DataArray, *, threshold: float) -> Figure:
    """Draw the barrier of every branch, with one panel per step and initializer.

    Each layer has a column of points for each size of the change.

    Args:
        ratios: barriers divided by the median barrier between independent starts.
        another: whether each branch ends in another valley.
        threshold: smallest ratio of a branch that ends in another valley.
    """
    kinds, steps, layers = (ratios[dim].values for dim in ("initializer", "branch_step", "layer"))
    sizes = ratios.perturbation.values
    offsets = np.linspace(-SPREAD, SPREAD, len(sizes)) if len(sizes) > 1 else [0.0]
    with style():
        figure = Figure(figsize=(2.6 * len(steps) + 1, 2.8 * len(kinds) + 0.6))
        panels = figure.subplots(len(kinds), len(steps), sharex=True, sharey=True, squeeze=False)
        for row, kind in zip(panels, kinds, strict=True):
            for axes, step in zip(row, steps, strict=True):
                at = ratios.sel(initializer=kind, branch_step=step)
                for number, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
                    for layer in layers:
                        values = np.sort(at.sel(perturbation=size, layer=layer).values.ravel())
                        across = layer + offset + np.linspace(-0.1, 0.1, len(values))
                        axes.plot(
                            across,
                            values,
                            ".",
                            color=CYCLE[number % len(CYCLE)],
                            label=f"by {size:g}" if layer == layers[0] else None,
                        )
                axes.axhline(threshold, color="0.4", linestyle="--", label="another valley")
                axes.axhline(1.0, color="0.7", linestyle=":", label="independent starts")
                axes.set_yscale("symlog", linthresh=0.01)
                axes.set(ylim=(-0.002, 3 * max(1.0, float(ratios.max()))), xticks=layers)
                axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
                leads = another.sel(initializer=kind, branch_step=step)
                axes.set_title(f"step {step:,}: {int(leads.sum())} of {leads.size}", loc="left")
            row[0].set_ylabel(
                f"{str(kind).replace('_', '-')} starts\nbarrier relative to\nindependent starts"
            )
        for axes in panels[-1]:
            axes.set_xlabel("layer of the changed weight")
        panels[0, -1].legend(fontsize="x-small", loc="center right")
        figure.suptitle(
            f"{int(another.sum())} of {another.size:,} changes of one weight "
            "lead into another valley"
        )
    return figure
