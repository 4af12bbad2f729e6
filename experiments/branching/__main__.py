"""Does a change of one weight determine in which valley a descent ends?

    w'_t = w_t + sigma e_i for one weight i;   both descents continue with the same mini-batches

    floor = largest barrier between a descent and its repetition with pixels in reversed order
    other = median barrier between descents from independent starts of the same kind

    python -m experiments.branching           (about 4 min of processor time)

Expected: a branch ends in another valley after an early change, and not after a late one
(published: arXiv 2506.13234, for ResNets on CIFAR, where the valley is determined within the first
few percent of training). This is refuted if no branch at step 0 ends in another valley, or if at
least as many branches do so at the last step as at the first.
"""

from itertools import product

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared import command
from gdjax.plots.style import CYCLE, style
from gdjax.statistics import share

from .model import Config, barriers_of_starts

SPREAD = 0.3  # half of the distance between the first and the last column of a layer
OTHER_VALLEY = 0.5  # threshold, in units of the barrier between independent starts
THRESHOLDS = (0.01, 0.1, 0.25, OTHER_VALLEY, 1.0)  # thresholds of the counts, in these units


def relative(dataset: xr.Dataset) -> xr.DataArray:
    """Return the barriers divided by the median barrier between independent starts."""
    return dataset.barrier / dataset.independent.median("pair")


def in_another_valley(dataset: xr.Dataset) -> xr.DataArray:
    """Return whether each branch ends in another valley."""
    return (relative(dataset) >= OTHER_VALLEY) & (dataset.barrier > dataset.floor.max("trunk"))


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts of branches in another valley, barriers, and reference barriers."""
    summary: dict = {
        "steps": dataset.attrs["steps"],
        "starts_of_each_kind": dataset.sizes["trunk"],
        "changes_per_layer_step_and_size": dataset.sizes["trunk"] * dataset.sizes["change"],
        "lit_share_of_pixels": float(dataset.lit_share[0]),
    }
    for kind in dataset.initializer.values:
        one = dataset.sel(initializer=kind)
        summary |= {
            f"{kind}_cost": float(one.trunk_cost.median()),
            f"{kind}_independent": _with_range(one.independent),
            f"{kind}_floor": float(one.floor.max()),
        }
        branches = xr.Dataset({"ratio": relative(one), "another": in_another_valley(one)})
        for size, step in product(dataset.perturbation.values, dataset.branch_step.values):
            at = branches.sel(perturbation=size, branch_step=step)
            starts = int(at.another.any(["layer", "change"]).sum())
            summary[f"{kind}_{size:g}_at_{step}"] = {
                **_distribution(at),
                "share_of_starts_with_another_valley": share(starts, dataset.sizes["trunk"])[:3],
                **{f"layer_{k}": _distribution(at.sel(layer=k)) for k in dataset.layer.values},
            }
    return summary


def _with_range(values):
    return [float(values.quantile(q)) for q in (0.5, 0.0, 1.0)]


def _distribution(branches):
    ratios = branches.ratio
    return {
        "another_valley": int(branches.another.sum()),
        "median_and_range": _with_range(ratios),
        "at_least": {f"{limit:g}": int((ratios >= limit).sum()) for limit in THRESHOLDS},
    }


def run(config: Config) -> xr.Dataset:
    """Return the barriers between branches and their trunks, and both references."""
    parts = [barriers_of_starts(config, name) for name in config.initializers]
    joined = xr.concat(parts, "initializer", combine_attrs="identical")
    return joined.assign_coords(initializer=list(config.initializers))


def plot(dataset: xr.Dataset) -> dict:
    """Draw the barrier of every branch, with one panel per step and initializer.

    Each layer has a column of points for each size of the change.
    """
    ratios, another = relative(dataset), in_another_valley(dataset)
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
                axes.axhline(OTHER_VALLEY, color="0.4", linestyle="--", label="another valley")
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
    return {"branches": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
